"""What a recording's own files say of the session and its subject."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from sort_assets.errors import SortAssetsError
from sort_assets.recordings.formats.reading import natural_order, open_hdf5, readable
from sort_assets.recordings.formats.table import find_format, folder_members

_NWB_GENERAL = {
    name: name
    for name in (
        "session_id",
        "experimenter",
        "experiment_description",
        "lab",
        "institution",
        "keywords",
        "notes",
        "data_collection",
        "pharmacology",
        "protocol",
        "related_publications",
        "slices",
        "surgery",
        "virus",
    )
} | {"stimulus_notes": "stimulus"}
_NWB_SUBJECT = (
    "subject_id",
    "species",
    "strain",
    "genotype",
    "sex",
    "age",
    "date_of_birth",
    "weight",
    "description",
)
_SOFTWARE_TIME = re.compile(r"Software Time \(milliseconds since midnight Jan 1st 1970 UTC\)\s*:\s*(?P<ms>\d+)")
_INTAN_STAMP = re.compile(r"_(?P<stamp>\d{6}_\d{6})(?=_|\.|$)")
_NO_TIME_ZONE = "it states no time zone, so that of this computer is taken"


@dataclass(frozen=True)
class SourceFacts:
    """What the files say, as they say it: nothing is checked yet.

    Attributes
    ----------
    session, subject : mapping of str to Any
        By the names of `SessionFacts` and `SubjectFacts`, without the start of the session.
    start_time : datetime or None
        Start of the session, with a time zone.
    start_words : str
        Where the start time comes from.
    clock_zero : datetime or None
        When the clock of the file's times was 0, where the file says so.
    """

    session: Mapping[str, Any] = field(default_factory=dict)
    subject: Mapping[str, Any] = field(default_factory=dict)
    start_time: datetime | None = None
    start_words: str = ""
    clock_zero: datetime | None = None


def read_source_facts(path: Path, format_name: str = "") -> tuple[SourceFacts, str]:
    """Read what the files say; of a folder of files that are one recording, what the first says.

    Parameters
    ----------
    path : Path
        The recording's file or folder.
    format_name : str
        Name of its format, one of `FORMATS`, or "" to recognise it; other formats say nothing.

    Returns
    -------
    facts : SourceFacts
        Empty where nothing could be read.
    problem : str
        Why it could not be read; empty when it could, or when nothing is there.
    """
    if not path.exists():
        return SourceFacts(), ""
    try:
        first, recognised = (path, format_name) if format_name and path.is_file() else _first_file(path)
        reader = _READERS.get(format_name or recognised)
        if reader is None:
            return SourceFacts(), ""
        with readable(first):
            return reader(first), ""
    except (SortAssetsError, OSError) as error:
        return SourceFacts(), str(error)


def _first_file(path: Path) -> tuple[Path, str]:
    """The recording itself, or the first of those in a folder, and the name of its format."""
    recognised = find_format(path)
    if recognised is not None:
        return path, recognised.name
    members = folder_members(path) if path.is_dir() else []
    return (members[0][0], members[0][1].name) if members else (path, "")


@contextmanager
def _open_nwb(path: Path) -> Iterator[Any]:
    if path.is_dir():
        from sort_assets.recordings.formats.nwb_zarr import open_zarr_nwb

        yield open_zarr_nwb(path)
    else:
        with open_hdf5(path) as file:
            yield file


def _nwb(path: Path) -> SourceFacts:
    with _open_nwb(path) as file:
        general = file.get("general", {})
        session = {"session_description": _value(file, "session_description")}
        session |= {name: _value(general, stored) for name, stored in _NWB_GENERAL.items()}
        stored_subject = general.get("subject", {})
        subject = {name: _value(stored_subject, name) for name in _NWB_SUBJECT}
        if "age" in stored_subject:
            subject["age__reference"] = _plain(stored_subject["age"].attrs.get("reference"))
        start, reference = _value(file, "session_start_time"), _value(file, "timestamps_reference_time")
    if subject["date_of_birth"] is not None:
        subject["date_of_birth"] = datetime.fromisoformat(subject["date_of_birth"]).date()
    words, start_time = "", None
    if start is not None:
        start_time = datetime.fromisoformat(start)
        words = "source file" if start_time.tzinfo else f"what the source file says; {_NO_TIME_ZONE}"
        start_time = _aware(start_time)
    return SourceFacts(
        session={name: value for name, value in session.items() if value not in (None, "", ())},
        subject={name: value for name, value in subject.items() if value not in (None, "", ())},
        start_time=start_time,
        start_words=words,
        clock_zero=start_time if reference is None else _aware(datetime.fromisoformat(reference)),
    )


def _value(group: Any, name: str) -> Any:
    """A text, or several, of a dataset of HDF5 or an array of zarr; None when there is none."""
    import h5py

    from sort_assets.recordings.formats.nwb_zarr import plain_value

    stored = group.get(name)
    if stored is None:
        return None
    return _plain(stored[()]) if isinstance(stored, h5py.Dataset) else _plain(plain_value(group, name))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8").strip()
    if isinstance(value, np.ndarray):
        return tuple(_plain(each) for each in value.ravel())
    return value


def _maxwell(path: Path) -> SourceFacts:
    with open_hdf5(path) as file:
        wells = file.get("wells", {})
        starts = [
            int(np.ravel(recording["start_time"][()])[0])
            for well in wells.values()
            for recording in well.values()
            if "start_time" in recording
        ]
    if not starts:
        return SourceFacts()
    return SourceFacts(start_time=datetime.fromtimestamp(min(starts) / 1000, tz=UTC), start_words="source file")


def _spikeglx(path: Path) -> SourceFacts:
    from sort_assets.recordings.formats.spikeglx_probe import read_meta

    meta_path = _first_below(path, "*.ap*.meta")
    if meta_path is None:
        return SourceFacts()
    meta = read_meta(meta_path)
    notes = str(meta.get("userNotes", "")).strip()
    created = meta.get("fileCreateTime")
    return SourceFacts(
        session={"notes": notes} if notes else {},
        start_time=None if created is None else _aware(datetime.fromisoformat(created)),
        start_words=f"fileCreateTime in '{meta_path.name}'; {_NO_TIME_ZONE}",
    )


def _open_ephys(path: Path) -> SourceFacts:
    structure = _first_below(path, "structure.oebin")
    if structure is None:
        return SourceFacts()
    messages = structure.with_name("sync_messages.txt")
    if messages.is_file():
        stated = _SOFTWARE_TIME.search(messages.read_text(encoding="utf-8", errors="replace"))
        if stated is not None:
            start_time = datetime.fromtimestamp(int(stated["ms"]) / 1000, tz=UTC)
            return SourceFacts(start_time=start_time, start_words="software time in sync_messages.txt")
    # In the folder of the record node, which holds folders of experiments, which hold those of recordings.
    experiment = structure.parents[1]
    number = experiment.name.removeprefix("experiment")
    settings = experiment.with_name("settings.xml" if number == "1" else f"settings_{number}.xml")
    date = ElementTree.parse(settings).findtext("INFO/DATE") if settings.is_file() else None
    if not date:
        return SourceFacts()
    return SourceFacts(
        start_time=_aware(datetime.strptime(date.strip(), "%d %b %Y %H:%M:%S")),
        start_words=f"date in {settings.name}; {_NO_TIME_ZONE}",
    )


def _intan(path: Path) -> SourceFacts:
    """Intan's files hold no time; its software ends their names with one, unless it is told not to."""
    stamp = _INTAN_STAMP.search(path.name)
    if stamp is None:
        return SourceFacts()
    return SourceFacts(
        start_time=_aware(datetime.strptime(stamp["stamp"], "%y%m%d_%H%M%S")),
        start_words=f"the name '{path.name}', as Intan's software writes it; {_NO_TIME_ZONE}",
    )


def _first_below(path: Path, pattern: str) -> Path | None:
    found = sorted(path.rglob(pattern), key=lambda each: natural_order(str(each.relative_to(path))))
    return found[0] if found else None


def _aware(time: datetime) -> datetime:
    """The time with its zone, or with that of this computer."""
    return time if time.tzinfo is not None else time.astimezone()


_READERS: Mapping[str, Callable[[Path], SourceFacts]] = {
    "nwb": _nwb,
    "maxwell": _maxwell,
    "spikeglx": _spikeglx,
    "open_ephys": _open_ephys,
    "intan": _intan,
}
