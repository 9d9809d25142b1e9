"""Deciding what is to be done about one candidate: is it known, ignored, complete, or still being written?

Nothing is read or written to decide, except for a sidecar that was not read before.
"""

import glob
import hashlib
import json
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sort_assets.config.rules import RecordingSettings
from sort_assets.errors import SortAssetsError, StalledIoError, StorageError
from sort_assets.platform.arrivals.actions import Ignore, Keep, Read, Refuse, Update, Wait
from sort_assets.platform.arrivals.candidates import Candidate
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.platform.arrivals.catalog_rows import CatalogEntries
from sort_assets.platform.arrivals.observations import settings_hash
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.recordings.probe_files import STREAM_FIELD, find_probe_file

_RETRY_STORAGE_S = 600.0
"""Time until a recording is read again that could not be read because of its disk or share."""
_RETRY_CONTENT_S = 3600.0
"""Time until a recording is read again that could not be read for any other reason."""


def classify_candidate(
    candidate: Candidate, entry: CatalogEntry | None, rules: RecordingRules, now: float
) -> Keep | Update | Ignore | Wait | Read | Refuse:
    """Decide what is to be done about a candidate.

    Parameters
    ----------
    candidate : Candidate
    entry : CatalogEntry or None
        What the catalogue has of it.
    rules : RecordingRules
    now : float
        In seconds since 1970.
    """
    if entry is not None and _is_up_to_date(candidate, entry, rules, now):
        return Keep(entry, candidate.sidecar)
    seen = replace(entry or CatalogEntry(candidate.relative, State.WAITING, since=now), missing_since=None)
    same_files = entry is not None and entry.stamp == candidate.stamp
    if not same_files or now < seen.since:
        seen = replace(seen, stamp=candidate.stamp, since=now)
    try:
        settings = rules.settings_of(candidate.relative, candidate.sidecar)
    except SortAssetsError as problem:
        return Refuse(seen, problem)
    declared = _declared(candidate, settings, rules)
    same_settings = seen.settings.partition(" ")[2] == declared
    seen = replace(seen, settings=f"{_source(rules, candidate)} {declared}")
    if settings.ignore:
        return Ignore(replace(seen, state=State.IGNORED), settings.ignored_by)
    if seen.state is State.IGNORED:
        # As if it arrived now: rules that are empty for a moment, while they are saved, start nothing.
        seen = replace(seen, state=State.WAITING, since=now, read_stamp=None)
    if same_files and same_settings and seen.read_stamp == candidate.stamp and not seen.problems:
        return Update(seen)
    complete_at = seen.since + settings.arrival.quiet_s
    # A candidate that is new is seen a second time before it counts as quiet, however old its files say they are.
    is_quiet = settings.arrival.quiet_s == 0 or (same_files and now >= complete_at)
    if candidate.complete and _is_complete(candidate, settings, seen, is_quiet=is_quiet):
        return Read(seen, candidate, settings)
    if seen.state is not State.REGISTERED:
        seen = replace(seen, state=State.WAITING)
    waits_for_quiet = candidate.complete and settings.arrival.marker is None
    return Wait(seen, candidate, settings, complete_at if waits_for_quiet else None)


class SettledRecordings:
    """Finds out at a glance that there is nothing to do about a recording; what it does not cover is classified.

    Parameters
    ----------
    rules : RecordingRules
    entries : CatalogEntries

    Attributes
    ----------
    paths : set of str
        Those of the candidates that it has covered.
    """

    def __init__(self, rules: RecordingRules, entries: CatalogEntries) -> None:
        self._rules, self._entries = rules, entries
        self._same_sources: dict[tuple[str, str], bool] = {}
        self.paths: set[str] = set()

    def cover(self, candidate: Candidate) -> bool:
        """Whether `classify_candidate` would keep a candidate that is no missing one."""
        path = candidate.relative
        settings = self._entries.settings_if_settled(path, candidate.stamp, is_folder=candidate.is_folder)
        if settings is None:
            return False
        sources = settings, candidate.sidecar_stamp
        same = self._same_sources.get(sources)
        if same is None:
            same = self._same_sources[sources] = _same_sources(settings, self._rules, candidate)
        if same:
            self.paths.add(path)
        return same


def _is_up_to_date(candidate: Candidate, entry: CatalogEntry, rules: RecordingRules, now: float) -> bool:
    """Whether neither the files nor what is declared about them has changed, decided without resolving any rules."""
    if entry.state is State.FORGOTTEN:
        return True
    if (
        entry.stamp != candidate.stamp
        or entry.missing_since is not None
        or not _same_sources(entry.settings, rules, candidate)
    ):
        return False
    if entry.state is State.IGNORED:
        return True
    if entry.read_stamp != candidate.stamp:
        return False
    if not entry.problems:
        return True
    may_pass = any(isinstance(problem, StorageError | StalledIoError) for problem in entry.problems)
    # A time of checking that lies in the future was written while the clock was wrong.
    return 0 <= now - entry.checked_at < (_RETRY_STORAGE_S if may_pass else _RETRY_CONTENT_S)


def _is_complete(candidate: Candidate, settings: RecordingSettings, seen: CatalogEntry, *, is_quiet: bool) -> bool:
    if seen.read_stamp == candidate.stamp:
        return True  # it was complete before
    marker = settings.arrival.marker
    if marker is None:
        return is_quiet
    path = candidate.path
    try:
        return (path / marker if path.is_dir() else path.with_name(path.name + marker)).exists()
    except OSError:  # no file can have such a name
        return False


def _source(rules: RecordingRules, candidate: Candidate) -> str:
    """Identifies the rules file and the sidecar that a candidate's settings come from."""
    return _short_hash(rules.version, candidate.sidecar_stamp)


@lru_cache(maxsize=4096)
def _short_hash(*parts: str) -> str:
    """Paths among the parts may have bytes that no text can hold."""
    return hashlib.blake2b(os.fsencode("\0".join(parts)), digest_size=8).hexdigest()


def _declared(candidate: Candidate, settings: RecordingSettings, rules: RecordingRules) -> str:
    """Identifies the settings of a candidate, and the content of the probe file that they name."""
    declared = settings_hash(settings)
    files = _probe_files(candidate, settings)
    if not files:
        return declared
    stamps = [[rules.file_stamp(file), str(file)] for file in files]
    return f"{declared} {json.dumps(stamps[0] if len(stamps) == 1 else stamps)}"


def _probe_files(candidate: Candidate, settings: RecordingSettings) -> list[Path]:
    """The probe files that the settings name; none where they are not there. Reading one says what is wrong with it."""
    named = [(layer.overrides.get("recording") or {}).get("probe_file") for layer in settings.layers]
    last = next((name for name in reversed(named) if name), None)
    try:
        if last is None or STREAM_FIELD not in last:
            return [] if last is None else [find_probe_file(candidate.path, last)]
    except SortAssetsError:
        return []
    pattern = "*".join(map(glob.escape, last.split(STREAM_FIELD)))
    folders = [candidate.path, *candidate.path.parents] if candidate.path.is_dir() else candidate.path.parents
    # Not Path.glob, which takes no absolute pattern.
    return sorted({folder / found for folder in folders for found in glob.iglob(pattern, root_dir=folder)})  # noqa: PTH207


def _same_sources(settings: str, rules: RecordingRules, candidate: Candidate) -> bool:
    source, _, declared = settings.partition(" ")
    if source != _source(rules, candidate):
        return False
    probe = declared.partition(" ")[2]
    if not probe:
        return True
    stamps = json.loads(probe)
    pairs = stamps if isinstance(stamps[0], list) else [stamps]
    return all(stamp == rules.file_stamp(Path(file)) for stamp, file in pairs)
