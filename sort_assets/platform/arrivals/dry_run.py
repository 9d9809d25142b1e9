"""`sort-assets scan --dry-run`: the plan of a scan as people read it; nothing is written."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import OutsideRecordingsRootError, SortAssetsError
from sort_assets.platform.arrivals.actions import (
    Action,
    Drop,
    Ignore,
    IgnoreFolder,
    Keep,
    MarkForeign,
    MarkMissing,
    Read,
    Refuse,
    Register,
    Update,
    Wait,
)
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, Problem, State
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.plan import plan, plan_registration
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.registration import wanted_problems
from sort_assets.platform.arrivals.same_run import SameRuns
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.recordings.fingerprint import is_clutter
from sort_assets.recordings.formats.spikeglx_runs import run_rank
from sort_assets.recordings.key import RecordingKey

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
_NO_POSITIONS = (
    "Nothing says where its electrodes are: it is not sorted before recording.probe_file names their positions."
)


@dataclass(frozen=True)
class PlannedRecording:
    """What a scan would do about something that may be a recording.

    Attributes
    ----------
    path : str
        Relative to the recordings root; of a stream that can't be registered beside others, its key.
    what : str
        One of the phrases above.
    keys : tuple of str
        Partitions that it has, or would get.
    why : str
        The reason, as a sentence; empty where there is nothing to add.
    problem : Problem or None
    """

    path: str
    what: str
    keys: tuple[str, ...] = ()
    why: str = ""
    problem: Problem | None = None


class DryRun:
    """Makes the plan of a scan, and says what each of its actions means.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    reader : HeaderReader
    on_progress : callable
        Called with a sentence about how far it has come.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        roots: Roots,
        reader: HeaderReader,
        on_progress: Callable[[str], object] = str,
    ) -> None:
        self._root, self._reader, self._on_progress = roots.recordings, reader, on_progress
        self._catalog = RecordingCatalog(roots.store, read_only=True)
        self._entries = self._catalog.all()
        self._partitions: dict[str, list[CatalogPartition]] = {}
        for partition in self._catalog.partitions():
            self._partitions.setdefault(partition.path, []).append(partition)
        self._present = set(instance.get_dynamic_partitions(RECORDINGS_PARTITIONS))
        self._rules = RecordingRules(roots)
        self._known: dict[str, CatalogEntry] = {}
        self._same_runs = SameRuns(self._root, {})

    @property
    def rules_problem(self) -> SortAssetsError | None:
        """What is wrong with the rules file; then the last good rules are in force."""
        return self._rules.problem

    def recordings(self) -> Iterator[PlannedRecording]:
        """What would be done about everything that may be a recording, and about each folder that is ignored.

        Raises
        ------
        StorageError
            When the recordings root can't be listed, or is empty though recordings in it are registered.
        """
        for action in self._read_all(list(plan(self._root, self._rules, self._entries, on_progress=self._on_progress))):
            planned = self._describe(action)
            if planned is not None:
                yield planned
            yield from self._describe_streams(action)

    def _read_all(self, actions: list[Action]) -> list[Action]:
        """The actions after the headers were read; what CatGT made of a run is read before the run, as in a scan."""
        entries = {action.entry.path: action.entry for action in actions if isinstance(action, Wait | Read)}
        self._known = {**self._entries, **entries}
        read = [*actions]
        for index in sorted(range(len(actions)), key=lambda index: -_rank(actions[index])):
            read[index] = self._read(actions[index])
            match read[index]:
                case Register(entry) | Refuse(entry) | MarkForeign(entry):
                    state = {Register: State.REGISTERED, Refuse: State.PROBLEM}.get(type(read[index]), State.FOREIGN)
                    self._known[entry.path] = replace(entry, state=state)
        self._same_runs = SameRuns(self._root, self._known)
        return read

    def _read(self, action: Action) -> Action:
        """The action that reading a header leads to; others stay."""
        match action:
            case Wait(entry) if _waits_for(action, time.time()) is None:  # it is only to be seen a second time
                read = Read(entry, action.candidate, action.settings)
            case Read():
                read = action
            case _:
                return action
        self._on_progress(f"Reading {read.entry.path}")
        planned = plan_registration(read, self._root, self._reader, self._catalog, entries=self._known)
        return planned or Drop(read.entry.path)

    def _describe(self, action: Action) -> PlannedRecording | None:
        """What an action means; None for one that is of no interest to people."""
        match action:
            case Keep(entry) | Update(entry):
                return self._describe_known(entry, action.sidecar if isinstance(action, Keep) else None)
            case Ignore(entry):
                return PlannedRecording(entry.path, IGNORED, why=f"By {action.by}.")
            case IgnoreFolder(path, sidecar):
                by = self._rules.settings_of(path, sidecar).ignored_by
                return PlannedRecording(path, IGNORED, why=f"The folder and all that is in it, by {by}.")
            case Wait(entry):
                why = action.why or _waits_for(action, time.time()) or "It changed while it was read."
                return PlannedRecording(entry.path, WAITING, self._keys(entry), why)
            case Refuse(entry, problem):
                what = OUTSIDE if isinstance(problem, OutsideRecordingsRootError) else PROBLEM
                keys = self._keys(entry) if action.was_read else ()
                return PlannedRecording(entry.path, what, keys, problem=Problem.from_error(problem))
            case MarkForeign(entry):
                return PlannedRecording(entry.path, FOREIGN, why=action.why)
            case Register():
                return self._describe_registration(action)
            case MarkMissing(entry):
                return self._describe_missing(entry)
            case _:
                return None

    def _describe_known(self, entry: CatalogEntry, sidecar: Path | None) -> PlannedRecording | None:
        path = entry.path
        if entry.state is State.FORGOTTEN:
            return PlannedRecording(path, FORGOTTEN)
        if entry.missing_since is not None:
            is_there = os.path.lexists(self._root / path)
            return self._describe_missing(entry) if entry.state is State.REGISTERED and not is_there else None
        if entry.state is State.IGNORED:
            return PlannedRecording(path, IGNORED, why=f"By {self._rules.settings_of(path, sidecar).ignored_by}.")
        if entry.problem is not None:
            return PlannedRecording(path, PROBLEM, self._keys(entry), problem=Problem.from_error(entry.problem))
        if entry.state is State.REGISTERED:
            return PlannedRecording(path, REGISTERED, self._keys(entry))
        return PlannedRecording(path, FOREIGN, why=self._same_runs.of(path, entry.stamp).sentence)

    def _describe_missing(self, entry: CatalogEntry) -> PlannedRecording:
        return PlannedRecording(entry.path, GONE, self._keys(entry), "It is no longer there; its results are kept.")

    def _describe_streams(self, action: Action) -> Iterator[PlannedRecording]:
        """The streams that can't be registered, though others of their recording are."""
        match action:
            case Register(entry):
                problems = wanted_problems(entry.path, action.header, self._partitions.get(entry.path, ()))
            case Keep(entry) | Update(entry) if entry.state is State.REGISTERED and entry.missing_since is None:
                problems = dict(entry.stream_problems)
            case _:
                return
        for name, problem in problems.items():
            key = str(RecordingKey(entry.path, name))
            keys = (key,) if key in self._present else ()
            yield PlannedRecording(key, PROBLEM, keys, problem=Problem.from_error(problem))

    def _describe_registration(self, register: Register) -> PlannedRecording:
        path, keys = register.entry.path, tuple(stream.key for stream in register.streams)
        if not set(keys) <= self._present:
            clocks = {stream.clock: None for stream in register.header.streams if stream.clock is not None}
            positions = [] if all(one.has_positions for one in register.header.streams) else [_NO_POSITIONS]
            return PlannedRecording(path, NEW, keys, " ".join([*register.header.left_out, *clocks, *positions]))
        if register.entry.fingerprint not in (None, register.header.fingerprint):
            return PlannedRecording(path, CHANGED, keys, "What was made of it would be stale.")
        return PlannedRecording(path, REGISTERED, keys)

    def _keys(self, entry: CatalogEntry) -> tuple[str, ...]:
        """The partitions that a recording has."""
        keys = (partition.key for partition in self._partitions.get(entry.path, []))
        return tuple(sorted(key for key in keys if key in self._present))


def _rank(action: Action) -> int:
    return run_rank(action.candidate.path.name) if isinstance(action, Wait | Read) else 0


def _waits_for(wait: Wait, now: float) -> str | None:
    """What a recording waits for, as a sentence; None when it only has to be seen a second time."""
    arrival = wait.settings.arrival
    if not wait.candidate.complete:
        return "A file in it has the name of a partial copy."
    if arrival.marker is not None:
        return f"It waits for its marker '{arrival.marker}'."
    try:
        age = now - _last_change(wait.candidate.path)
    except FileNotFoundError:
        return "It is being removed."
    if age >= arrival.quiet_s:
        return None
    return f"It changed {max(age, 0):.0f} s ago; it is complete after {arrival.quiet_s:g} s of quiet."


def _last_change(path: Path) -> float:
    """When a file, or any file in a folder, was last written or put there; in seconds since 1970."""
    files = [path]
    if path.is_dir():
        files += [Path(folder, name) for folder, _, names in os.walk(path) for name in names if not is_clutter(name)]
    stats = [file.lstat() for file in files]
    return max(max(stat.st_mtime, stat.st_ctime) for stat in stats)
