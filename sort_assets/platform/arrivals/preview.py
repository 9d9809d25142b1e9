"""`sort-assets scan`: what a look at the recordings root would do and why; or doing it at once, without bounds."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from sort_assets.config.presets import DEFAULT_PRESET
from sort_assets.config.rules import RecordingSettings
from sort_assets.config.settings import Roots
from sort_assets.errors import OutsideRecordingsRootError, SortAssetsError, UnknownFormatError
from sort_assets.platform.arrivals.candidates import Candidate, Refusal, find_candidates
from sort_assets.platform.arrivals.catalog import RecordingCatalog
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, Problem, State
from sort_assets.platform.arrivals.classification import FolderRules, Outcome, Verdict, is_settled, judge
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.observations import settings_observed
from sort_assets.platform.arrivals.scan import Arrivals
from sort_assets.platform.arrivals.sensor import NAME
from sort_assets.platform.arrivals.tick import Limits, ScanResult
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.recordings.fingerprint import is_clutter
from sort_assets.recordings.formats.reading import not_allowed
from sort_assets.recordings.key import RecordingKey

_WITHOUT_BOUNDS = Limits(walk_s=1e6, read_s=1e6)
_TOGETHER_S = 5.0
"""What is complete within so many seconds is looked at together."""

NEW = "would be registered"
REGISTERED = "registered"
CHANGED = "changed"
WAITING = "not complete"
IGNORED = "ignored"
FORGOTTEN = "forgotten"
FOREIGN = "no recording"
PROBLEM = "problem"
OUTSIDE = "outside the root"
GONE = "gone"


@dataclass(frozen=True)
class Finding:
    """What would happen to something that may be a recording.

    Attributes
    ----------
    path : str
        Relative to the recordings root.
    what : str
        One of the words above.
    keys : tuple of str
        Partitions that it has, or would get.
    why : str
        In words; empty where there is nothing to add.
    problem : Problem or None
    """

    path: str
    what: str
    keys: tuple[str, ...] = ()
    why: str = ""
    problem: Problem | None = None


class Preview:
    """Says what a look at the recordings root would do; writes nothing.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    reader : HeaderReader
    tell : callable
        Told, in words, how far it has come.
    """

    def __init__(
        self, instance: dg.DagsterInstance, roots: Roots, reader: HeaderReader, tell: Callable[[str], object] = str
    ) -> None:
        self._roots, self._reader, self._tell = roots, reader, tell
        known = RecordingCatalog(roots.store, read_only=True)
        self._rows = known.all()
        self._remembered: dict[str, list[CatalogPartition]] = {}
        for partition in known.partitions():
            self._remembered.setdefault(partition.path, []).append(partition)
        self._present = set(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
        self._rules = RecordingRules(roots)
        self._ignored: list[tuple[str, Path | None]] = []

    @property
    def rules_problem(self) -> SortAssetsError | None:
        """What is wrong with the rules file; then the last good rules count."""
        return self._rules.problem

    def findings(self) -> Iterator[Finding]:
        """One for everything that may be a recording, and for each folder that a rule ignores.

        Raises
        ------
        StorageError
            When the recordings root can't be listed.
        """
        seen: set[str] = set()
        refused: list[str] = []
        for number, found in enumerate(find_candidates(self._roots.recordings, self), start=1):
            self._tell(f"{number} looked at: {found.relative}")
            yield from self._ignored_folders()
            seen.add(found.relative)
            if isinstance(found, Refusal):
                refused.append(found.relative)
                yield self._refused(found)
                continue
            try:
                yield self._finding(found)
            except SortAssetsError as error:
                yield Finding(found.relative, PROBLEM, problem=_problem(error))
            except FileNotFoundError:
                continue  # removed while we looked
            except OSError as error:
                yield Finding(found.relative, PROBLEM, problem=_problem(not_allowed(found.path, error)))
        yield from self._ignored_folders()
        for path, row in self._rows.items():
            hidden = any(path.startswith(f"{folder}/") for folder in refused)
            gone = not hidden and not os.path.lexists(self._roots.recordings / path)
            if path not in seen and row.state is State.REGISTERED and gone:
                yield Finding(path, GONE, self._keys(path), "It is no longer there; its results are kept.")

    def ignores_folder(self, relative: str, sidecar: Path | None) -> bool:
        """As `RecordingRules.ignores_folder`; it is remembered, to be told."""
        ignores = self._rules.ignores_folder(relative, sidecar)
        if ignores:
            self._ignored.append((relative, sidecar))
        return ignores

    def concatenates(self, relative: str, sidecar: Path | None) -> bool:
        """As `FolderRules.concatenates`."""
        return FolderRules(self._rules, self._rows).concatenates(relative, sidecar)

    def describes_binary(self, relative: str, sidecar: Path | None) -> bool:
        """As `RecordingRules.describes_binary`."""
        return self._rules.describes_binary(relative, sidecar)

    def _ignored_folders(self) -> Iterator[Finding]:
        while self._ignored:
            relative, sidecar = self._ignored.pop(0)
            by = self._rules.settings_of(relative, sidecar).ignored_by
            yield Finding(relative, IGNORED, why=f"The folder and all that is in it, by {by}.")

    def _refused(self, found: Refusal) -> Finding:
        row = self._rows.get(found.relative)
        if row is not None and row.state is State.FORGOTTEN:
            return Finding(found.relative, FORGOTTEN)
        outside = isinstance(found.problem, OutsideRecordingsRootError)
        return Finding(found.relative, OUTSIDE if outside else PROBLEM, problem=_problem(found.problem))

    def _finding(self, found: Candidate) -> Finding:
        now, path = time.time(), found.relative
        row = self._rows.get(path)
        if row is not None and is_settled(found, row, self._rules, now):
            return self._settled(found, row)
        verdict = judge(found, row, self._rules, now)
        if verdict.problem is not None:
            return Finding(path, PROBLEM, problem=_problem(verdict.problem))
        if verdict.outcome is Outcome.SETTLED:
            return self._settled(found, verdict.known)
        assert verdict.settings is not None
        if verdict.outcome is Outcome.IGNORED:
            return Finding(path, IGNORED, why=f"By {verdict.settings.ignored_by}.")
        if verdict.outcome is Outcome.WAITING and (why := self._waits(found, verdict, verdict.settings, now)):
            return Finding(path, WAITING, self._keys(path), why)
        return self._read(found, verdict.known, verdict.settings)

    def _settled(self, found: Candidate, row: CatalogEntry) -> Finding:
        if row.state is State.IGNORED:
            by = self._rules.settings_of(found.relative, found.sidecar).ignored_by
            return Finding(row.path, IGNORED, why=f"By {by}.")
        if row.problem is not None and row.state is not State.FORGOTTEN:
            return Finding(row.path, PROBLEM, self._keys(row.path), problem=_problem(row.problem))
        if row.state is State.REGISTERED:
            return Finding(row.path, REGISTERED, self._keys(row.path))
        return Finding(row.path, FORGOTTEN if row.state is State.FORGOTTEN else FOREIGN)

    def _waits(self, found: Candidate, verdict: Verdict, settings: RecordingSettings, now: float) -> str:
        """What it waits for; empty when it only waits to be looked at for a second time."""
        if not found.complete:
            return "A file in it has the name of a partial copy."
        if settings.arrival.marker is not None:
            return f"It waits for its marker '{settings.arrival.marker}'."
        age = now - _last_change(found.path)
        if age >= settings.arrival.quiet_s:
            return ""
        return f"It changed {max(age, 0):.0f} s ago; it is complete after {settings.arrival.quiet_s:g} s of quiet."

    def _read(self, found: Candidate, known: CatalogEntry, settings: RecordingSettings) -> Finding:
        path = found.relative
        try:
            config = settings.resolve(DEFAULT_PRESET).config.recording
            header = self._reader.read(found.path, config, streams=settings.streams)
            keys = [RecordingKey(path, stream.name) for stream in header.streams]
            for key in keys:
                settings_observed(key, found.path, settings)
        except UnknownFormatError as error:
            if config.format is None and not found.path.is_dir():
                return Finding(path, FOREIGN)
            return Finding(path, PROBLEM, problem=_problem(error))
        except SortAssetsError as error:
            return Finding(path, PROBLEM, self._keys(path), problem=_problem(error))
        forgotten = {one.key for one in self._remembered.get(path, []) if one.forgotten}
        wanted = tuple(key for key in map(str, keys) if key not in forgotten)
        if not set(wanted) <= self._present:
            return Finding(path, NEW, wanted)
        if known.fingerprint not in (None, header.fingerprint):
            return Finding(path, CHANGED, wanted, "What was made of it would be stale.")
        return Finding(path, REGISTERED, wanted)

    def _keys(self, path: str) -> tuple[str, ...]:
        remembered = (one.key for one in self._remembered.get(path, []))
        return tuple(sorted(key for key in remembered if key in self._present))


class Scan:
    """Registers all that is complete now, however long it takes.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    reader : HeaderReader
    tell : callable
        Told, in words, how far it has come.
    """

    def __init__(
        self, instance: dg.DagsterInstance, roots: Roots, reader: HeaderReader, tell: Callable[[str], object] = str
    ) -> None:
        self._tell = tell
        self._arrivals = Arrivals(instance, roots, reader, sensor=NAME, limits=_WITHOUT_BOUNDS, tell=tell)

    def run(self) -> ScanResult:
        """Look, wait until what is new could have changed and did not, and look again.

        It waits no longer than what it found at first needs; what grows meanwhile is left to the sensor. Interrupted at
        any point, it leaves nothing half done.
        """
        look = self._arrivals.register_complete()
        last = max(look.complete_at, default=0.0)
        while pending := [moment for moment in look.complete_at if moment <= last]:
            self._wait(max(moment for moment in pending if moment <= min(pending) + _TOGETHER_S), look.waiting)
            further = self._arrivals.register_complete()
            further.registered[:0] = look.registered
            further.news[:0] = look.news
            further.warnings[:0] = look.warnings
            look = further
        return look

    def _wait(self, until: float, number: int) -> None:
        while (left := until - time.time()) > 0:
            self._tell(f"Waiting {left:.0f} s to see whether any of {number} still grows; Ctrl-C does no harm")
            time.sleep(min(left, 1.0))


def _last_change(path: Path) -> float:
    """When a file, or any file in a folder, was last written to or put there; in seconds since 1970."""
    files = [path]
    if path.is_dir():
        files += [Path(folder, name) for folder, _, names in os.walk(path) for name in names if not is_clutter(name)]
    stats = [file.lstat() for file in files]
    return max(max(stat.st_mtime, stat.st_ctime) for stat in stats)


def _problem(error: SortAssetsError) -> Problem:
    return Problem(type(error).__name__, error.message, error.remedy)
