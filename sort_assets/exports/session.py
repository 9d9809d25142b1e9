"""What is known of session and subject: what the lab states, over what the recording's own files say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from sort_assets.config.section import Section
from sort_assets.config.session_facts import SessionFacts, SubjectFacts
from sort_assets.exports.source_facts import SourceFacts, read_source_facts
from sort_assets.recordings.files_in_time import file_of_part
from sort_assets.recordings.opening import Boundary

STATED = "stated in sort_assets.yaml"
SOURCE = "source file"
NOT_KNOWN = "not known"

_ASKED_FOR = {
    "session.session_description": "What was done in the session",
    "session.experimenter": "Experimenter",
    "session.experiment_description": "What the experiment is about",
    "session.lab": "Lab",
    "session.institution": "Institution",
    "session.keywords": "Keywords",
    "subject.subject_id": "Name of the subject",
    "subject.species": "Species",
    "subject.sex": "Sex",
}
"""Facts that archives such as DANDI, and NWB's inspector, ask for."""
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""Before this, NWB's inspector takes a start for one that was made up."""

_CLOCKS_DIFFER = 1e-3
"""More than any clock runs slower than its stated rate."""

_Form = TypeVar("_Form", bound=Section)


class StatedFacts(Protocol):
    """What a lab states; `RecordingSettings` is one."""

    @property
    def session(self) -> SessionFacts: ...

    @property
    def subject(self) -> SubjectFacts: ...


@dataclass(frozen=True)
class Facts:
    """What is known of session and subject, and where each fact comes from.

    Attributes
    ----------
    session : SessionFacts
    subject : SubjectFacts
    start_time : datetime
        Start of the session, with a time zone; where nothing knows it, when the file was last written, and `origins`
        and `absent` say so.
    origins : mapping of str to str
        Of every fact, "session.lab" for example: `STATED`, `SOURCE` (with what in it), or `NOT_KNOWN`.
    absent : tuple of str
        What is not known, one sentence each.
    clock_zero : datetime or None
        When the file's clock was 0, where the file says so.
    first_sample_time : datetime or None
        When the first sample was taken, as far as known.
    """

    session: SessionFacts
    subject: SubjectFacts
    start_time: datetime
    origins: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    clock_zero: datetime | None = None
    first_sample_time: datetime | None = None

    def reference_time(self, start_time_s: float) -> datetime | None:
        """When the delivered times are 0; None when not known.

        Parameters
        ----------
        start_time_s : float
            The first sample's time in the delivered times, which are those of the file's clock.
        """
        if self.clock_zero is not None:
            return self.clock_zero
        first_sample = self.first_sample_time
        return None if first_sample is None else first_sample - timedelta(seconds=start_time_s)


def session_facts(
    raw_path: Path,
    format: str,  # noqa: A002
    stated: StatedFacts,
    *,
    cut_s: float = 0.0,
    begins_in: tuple[str, float] | None = None,
) -> Facts:
    """What is known of a recording's session and subject.

    Parameters
    ----------
    raw_path : Path
        The raw recording's file or folder; it need no longer be there.
    format : str
        Name of its format, one of `FORMATS`; "" recognises it.
    stated : StatedFacts
        What rules and sidecar state, which goes before what the file says.
    cut_s : float
        Seconds that were left out at the beginning (`recording.start_s`).
    begins_in : tuple of (str, float) or None
        Where the first file of several was left out: the file in which the first sample is, and how many seconds into
        it. When that sample was taken is then what this file says; the session began with the first file.
    """
    source, problem = read_source_facts(raw_path, format)
    session, session_origins, refused = _merged("session", stated.session, source.session)
    subject, subject_origins, refused_of_subject = _merged("subject", stated.subject, source.subject)
    origins = session_origins | subject_origins
    absent = [f"{words}: not known." for name, words in _ASKED_FOR.items() if origins[name] == NOT_KNOWN]
    if subject.age is None and subject.date_of_birth is None:
        absent.append("Age and date of birth: not known.")
    absent += refused + refused_of_subject
    if problem:
        absent.append(f"What the source file says of the session: it could not be read. {problem}")
    start_time, origins["session.session_start_time"], doubt = _start_time(raw_path, stated.session, source)
    absent += doubt
    is_stated = stated.session.session_start_time is not None
    clock_zero = source.clock_zero if not is_stated else start_time if source.clock_zero is not None else None
    first_sample_time: datetime | None = start_time + timedelta(seconds=cut_s)
    if begins_in is not None:
        name, into_s = begins_in
        own, _ = read_source_facts(raw_path / name, format)
        if own.start_time is not None:
            clock_zero, first_sample_time = own.clock_zero, own.start_time + timedelta(seconds=into_s)
    return Facts(
        session=session.model_copy(update={"session_start_time": start_time}),
        subject=subject,
        start_time=start_time,
        origins=origins,
        absent=tuple(absent),
        clock_zero=clock_zero,
        first_sample_time=first_sample_time,
    )


def facts_of_files(
    raw_path: Path,
    format: str,  # noqa: A002
    stated: StatedFacts,
    files: Sequence[Boundary],
    *,
    cut_s: float = 0.0,
    begins_in: tuple[str, float] | None = None,
) -> dict[str, Facts]:
    """What is known of each file of a concatenated recording, by its name.

    Start of the session and all else are those of the first file; when the others began is what they say themselves.
    Parts of one file or session that follow each other on its clock have the reference time of its first part.
    """
    whole = session_facts(raw_path, format, stated, cut_s=cut_s, begins_in=begins_in)
    facts = {files[0].name: whole}
    for before, piece in pairwise(files):
        earlier = facts[before.name]
        elapsed_s = piece.start_time_s - before.start_time_s
        if file_of_part(piece.name) == file_of_part(before.name) and elapsed_s > 0:
            began_at = earlier.first_sample_time
            later = None if began_at is None else began_at + timedelta(seconds=elapsed_s)
            facts[piece.name] = replace(earlier, first_sample_time=later)
            continue
        own = raw_path / file_of_part(piece.name)
        source, _ = read_source_facts(own, format)
        began = replace(whole, clock_zero=source.clock_zero, first_sample_time=source.start_time)
        if source.start_time is None:
            words = "When this file began within the session: not known; session_start_time is that of the first file."
            began = replace(began, absent=(*began.absent, words))
        facts[piece.name] = began
    return facts


def left_out_s(start_s: float, began_s: float | None, first_sample_s: float) -> float:
    """Seconds from the raw recording's first sample to the first one that was sorted.

    Parameters
    ----------
    start_s : float
        Seconds of samples that were left out at the beginning (`recording.start_s`).
    began_s : float or None
        Time of the raw recording's first sample on its clock; None when not known.
    first_sample_s : float
        Time of the first one that was sorted, on the same clock. With gaps, more time has passed than `start_s`; the
        clock shows less where another file has begun, with a clock of its own, and then `start_s` counts.
    """
    if start_s == 0 or began_s is None:
        return start_s
    elapsed_s = first_sample_s - began_s
    return elapsed_s if elapsed_s > start_s * (1 - _CLOCKS_DIFFER) else start_s


def _merged(part: str, stated: _Form, source: Mapping[str, Any]) -> tuple[_Form, dict[str, str], list[str]]:
    """The facts, the origin of each, and what the source says but no archive would take."""
    form = type(stated)
    values = stated.model_dump(exclude_none=True)
    origins = {f"{part}.{name}": STATED if name in values else NOT_KNOWN for name in form.model_fields}
    refused = []
    for name, value in source.items():
        if name in values or value is None:
            continue
        try:
            values[name] = getattr(form.model_validate({name: value}), name)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            refused.append(f"{part}.{name}: the source file says '{value}', which is left out: {reason}.")
            continue
        origins[f"{part}.{name}"] = SOURCE
    return form.model_validate(values), origins, refused


def _start_time(raw_path: Path, stated: SessionFacts, source: SourceFacts) -> tuple[datetime, str, list[str]]:
    """Start of the session, where it comes from, and what is to be said about that."""
    if stated.session_start_time is not None:
        return stated.session_start_time, STATED, []
    if source.start_time is not None and source.start_time > _EARLIEST:
        if source.start_words == SOURCE:
            return source.start_time, SOURCE, []
        return (
            source.start_time,
            f"{SOURCE}: {source.start_words}",
            [f"Start of the session, for certain: {source.start_time.isoformat()} is from {source.start_words}."],
        )
    written = _last_written(raw_path)
    if written is None:
        return _NEVER, NOT_KNOWN, ["Start of the session: not known, and the raw file is gone; 1970 stands for it."]
    return (
        written,
        NOT_KNOWN,
        [f"Start of the session: not known; {written.isoformat()}, when the raw file was last written, stands for it."],
    )


def _last_written(path: Path) -> datetime | None:
    """When a file, or the oldest file of a folder, was last written; None when there is none."""
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    times = [each.stat().st_mtime for each in files if each.is_file()]
    return datetime.fromtimestamp(int(min(times)), tz=UTC) if times else None
