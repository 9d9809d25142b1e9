"""What becomes of a file or folder that may be a recording: decided here, done by a look at the recordings root.

Nothing is read or written to decide, except for a sidecar that nobody has read yet.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from sort_assets.config.rules import RecordingSettings
from sort_assets.errors import SortAssetsError, StalledIoError, StorageError
from sort_assets.platform.arrivals.candidates import Candidate
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.platform.arrivals.observations import settings_hash
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.recordings.probe_files import find_probe_file

_TRY_AGAIN_S = {True: 600.0, False: 3600.0}
"""Seconds until what could not be read is tried again: where the disk or share may be the reason, and otherwise."""


class Outcome(StrEnum):
    """What is to be done with a candidate."""

    SETTLED = "settled"
    """Nothing: `CatalogEntry.state` says what it is."""
    IGNORED = "ignored"
    """Nothing, since a rule says so."""
    WAITING = "waiting"
    """It is not complete."""
    DUE = "due"
    """It is complete and has to be read."""
    REFUSED = "refused"
    """`Verdict.problem` keeps it from being read."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of a candidate.

    Attributes
    ----------
    outcome : Outcome
    known : CatalogEntry
        What is known of it, with what was seen now.
    settings : RecordingSettings or None
        What is said of it; None where that is not needed, or can't be read.
    problem : SortAssetsError or None
    complete_at : float or None
        Of one that waits for quiet, when it is complete if nothing changes; in seconds since 1970.
    """

    outcome: Outcome
    known: CatalogEntry
    settings: RecordingSettings | None = None
    problem: SortAssetsError | None = None
    complete_at: float | None = None


@dataclass(frozen=True)
class FolderRules:
    """What the walk must know: what rules and sidecars say, and which folders are recordings already.

    A person may have registered a folder of files as one recording, with no rule that says so.
    """

    rules: RecordingRules
    rows: Mapping[str, CatalogEntry]

    def ignores_folder(self, relative: str, sidecar: Path | None) -> bool:
        """Whether nothing in a folder is a recording."""
        return self.rules.ignores_folder(relative, sidecar)

    def concatenates(self, relative: str, sidecar: Path | None) -> bool:
        """Whether a folder is one recording, its files concatenated."""
        row = self.rows.get(relative)
        is_one = row is not None and row.state in (State.REGISTERED, State.FORGOTTEN)
        return is_one or self.rules.concatenates(relative, sidecar)

    def describes_binary(self, relative: str, sidecar: Path | None) -> bool:
        """Whether a file is a plain binary that is described."""
        return self.rules.describes_binary(relative, sidecar)


def is_settled(found: Candidate, row: CatalogEntry, rules: RecordingRules, now: float) -> bool:
    """Whether nothing has to be done about a known candidate, decided without a look at its rules."""
    if row.state is State.FORGOTTEN:
        return True
    if row.stamp != found.stamp or row.missing_since is not None or not _same_sources(row, rules, found):
        return False
    if row.state is State.IGNORED:
        return True
    if row.read_stamp != found.stamp:
        return False
    # A time of checking that lies in the future is that of a clock that went wrong.
    return row.problem is None or 0 <= now - row.checked_at < _TRY_AGAIN_S[_may_pass(row.problem)]


def judge(found: Candidate, row: CatalogEntry | None, rules: RecordingRules, now: float) -> Verdict:
    """Decide about a candidate that is new, has changed, or of which something else is said.

    Parameters
    ----------
    found : Candidate
    row : CatalogEntry or None
        What was known of it.
    rules : RecordingRules
    now : float
        In seconds since 1970.
    """
    known = replace(row or CatalogEntry(found.relative, State.WAITING, since=now), missing_since=None)
    unchanged = row is not None and row.stamp == found.stamp
    if not unchanged or now < known.since:
        known = replace(known, stamp=found.stamp, since=now)
    try:
        settings = rules.settings_of(found.relative, found.sidecar)
    except SortAssetsError as problem:
        return Verdict(Outcome.REFUSED, known, problem=problem)
    said = _said(found, settings, rules)
    same_said = known.settings.partition(" ")[2] == said
    known = replace(known, settings=f"{_source(rules, found)} {said}")
    if settings.ignore:
        return Verdict(Outcome.IGNORED, replace(known, state=State.IGNORED), settings)
    if known.state is State.IGNORED:
        # As if it arrived now: rules that are empty for a moment, while they are saved, start nothing.
        known = replace(known, state=State.WAITING, since=now, read_stamp=None)
    if unchanged and same_said and known.read_stamp == found.stamp and known.problem is None:
        return Verdict(Outcome.SETTLED, known, settings)
    complete_at = known.since + settings.arrival.quiet_s
    # What is seen for the first time is looked at once more, however long ago it says that it was written.
    quiet = settings.arrival.quiet_s == 0 or (unchanged and now >= complete_at)
    if found.complete and _is_complete(found, settings, known, quiet=quiet):
        return Verdict(Outcome.DUE, known, settings)
    waiting = known if known.state is State.REGISTERED else replace(known, state=State.WAITING)
    waits_for_quiet = found.complete and settings.arrival.marker is None
    return Verdict(Outcome.WAITING, waiting, settings, complete_at=complete_at if waits_for_quiet else None)


def _is_complete(found: Candidate, settings: RecordingSettings, known: CatalogEntry, *, quiet: bool) -> bool:
    if known.read_stamp == found.stamp:
        return True  # it was complete before
    marker = settings.arrival.marker
    if marker is None:
        return quiet
    inside, beside = found.path / marker, found.path.with_name(found.path.name + marker)
    try:
        return (inside if found.path.is_dir() else beside).exists()
    except OSError:  # no file can have such a name
        return False


def _source(rules: RecordingRules, found: Candidate) -> str:
    return _short_hash(rules.version, found.sidecar_stamp)


@lru_cache(maxsize=4096)
def _short_hash(*parts: str) -> str:
    """Paths among the parts may have bytes that no text can hold."""
    return hashlib.blake2b(os.fsencode("\0".join(parts)), digest_size=8).hexdigest()


def _said(found: Candidate, settings: RecordingSettings, rules: RecordingRules) -> str:
    said = settings_hash(settings)
    probe_file = _probe_file(found, settings)
    if probe_file is None:
        return said
    return f"{said} {json.dumps([rules.file_stamp(probe_file), str(probe_file)])}"


def _probe_file(found: Candidate, settings: RecordingSettings) -> Path | None:
    """The probe file that is named for a recording; None where there is none. What is wrong is told when it is read."""
    named = [(layer.overrides.get("recording") or {}).get("probe_file") for layer in settings.layers]
    last = next((name for name in reversed(named) if name), None)
    try:
        return None if last is None else find_probe_file(found.path, last)
    except SortAssetsError:
        return None


def _same_sources(row: CatalogEntry, rules: RecordingRules, found: Candidate) -> bool:
    source, _, said = row.settings.partition(" ")
    if source != _source(rules, found):
        return False
    probe = said.partition(" ")[2]
    if not probe:
        return True
    stamp, probe_file = json.loads(probe)
    return bool(stamp == rules.file_stamp(Path(probe_file)))


def _may_pass(problem: SortAssetsError) -> bool:
    return isinstance(problem, StorageError | StalledIoError)
