"""Planning a scan: what is to be done about everything below the recordings root.

Nothing is written. `plan` walks the folder and decides by names, sizes and times; `plan_registration` reads the header
of one recording that the plan says is to be read.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from sort_assets.config.presets import DEFAULT_PRESET
from sort_assets.config.rules import RULES_FILE
from sort_assets.errors import (
    MissingRecordingError,
    SortAssetsError,
    StorageError,
    UnknownFormatError,
    UnreadableRecordingError,
)
from sort_assets.platform.arrivals.actions import (
    Action,
    Drop,
    EndWalk,
    Exclude,
    IgnoreFolder,
    Keep,
    MarkForeign,
    MarkMissing,
    Read,
    ReadResult,
    Reappear,
    Refuse,
    Register,
    Wait,
)
from sort_assets.platform.arrivals.candidates import (
    Candidate,
    Checkpoint,
    Position,
    Refusal,
    find_candidates,
)
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.platform.arrivals.classification import SettledRecordings, classify_candidate
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.linked_files import linked_files, without_linked_streams
from sort_assets.platform.arrivals.observations import observe_streams
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.same_run import SameRun, SameRuns
from sort_assets.platform.arrivals.stamps import stamp_of
from sort_assets.platform.pipeline.recording_rules import RecordingRules
from sort_assets.recordings.formats.reading import not_allowed
from sort_assets.recordings.formats.spikeglx_runs import run_folder

_PROGRESS_EVERY = 500
"""Number of candidates after which progress is reported."""


def plan(
    root: Path,
    rules: RecordingRules,
    entries: Mapping[str, CatalogEntry],
    *,
    after: Position = (),
    deadline: float = float("inf"),
    settled: SettledRecordings | None = None,
    clock: Callable[[], float] = time.time,
    on_progress: Callable[[str], object] = str,
) -> Iterator[Action]:
    """Plan what is to be done about everything below the recordings root.

    The actions come while the folder is walked, so they may be carried out while the plan is still being made. When no
    rules are in force, nothing is planned, since nobody knows how a recording is to be treated.

    Parameters
    ----------
    root : Path
        The recordings root.
    rules : RecordingRules
    entries : Mapping[str, CatalogEntry]
        What the catalogue has, by path.
    after : tuple of str
        The position at which an earlier walk stopped.
    deadline : float
        When to stop the walk, on the clock of `time.monotonic`.
    settled : SettledRecordings or None
        Leaves out what it covers; None yields an action also for each recording about which there is nothing to do.
    clock : callable
        The time of day in seconds since 1970.
    on_progress : callable
        Called with a sentence about how far the walk has come.

    Raises
    ------
    StorageError
        When the recordings root can't be listed, or is empty though recordings in it are registered.
    """
    if rules.problem is not None and not rules.in_force:
        return
    seen: set[str] = set()
    refused: list[str] = []
    stopped_at: Position | None = None
    next_progress = _PROGRESS_EVERY
    folder_rules = FolderRules(rules, entries)
    same_runs = SameRuns(root, entries)
    leave_out, left_out = (None, set[str]()) if settled is None else (settled.cover, settled.paths)
    for found in find_candidates(root, folder_rules, after=after, leave_out=leave_out, with_checkpoints=True):
        yield from folder_rules.take_ignored()
        if (checked := len(seen) + len(left_out)) >= next_progress:
            next_progress = checked + _PROGRESS_EVERY
            on_progress(f"{checked} candidates checked, at {found.relative}")
        if not isinstance(found, Checkpoint):
            path = found.relative
            seen.add(path)
            entry = entries.get(path)
            if isinstance(found, Refusal):
                refused.append(path)
                yield _refuse(found, entry, clock())
                continue  # the walk may only stop at a candidate or checkpoint
            if entry is not None and entry.missing_since is not None:
                yield Reappear(path)
            if found.is_folder:
                entry = _again_if_alone(entry, same_runs)
            yield _plan_candidate(found, entry, rules, clock())
        if time.monotonic() > deadline:
            stopped_at = found.position
            break
    yield from folder_rules.take_ignored()
    seen |= left_out
    not_found = [entries[path] for path in entries if path not in seen and _is_between(after, path, stopped_at)]
    yield from _plan_not_found(root, not_found, refused, entries, clock)
    yield EndWalk(stopped_at)


def plan_registration(
    read: Read,
    root: Path,
    reader: HeaderReader,
    catalog: RecordingCatalog,
    clock: Callable[[], float] = time.time,
    *,
    entries: Mapping[str, CatalogEntry] | None = None,
) -> ReadResult | None:
    """Read the header of a recording, and decide what is to be done with it; None when it is gone meanwhile.

    Parameters
    ----------
    read : Read
    root : Path
        The recordings root.
    reader : HeaderReader
    catalog : RecordingCatalog
        Knows which of its streams a person has forgotten.
    clock : callable
        The time of day in seconds since 1970.
    entries : Mapping[str, CatalogEntry] or None
        What is known of other recordings, by path; None asks the catalogue.
    """
    path, entry, settings = read.candidate.path, read.entry, read.settings
    same_run = SameRun()
    if entry.state is not State.REGISTERED and path.is_dir() and run_folder(path, read.candidate.stamp) is not None:
        same_run = SameRuns(root, catalog.all() if entries is None else entries).of(entry.path, read.candidate.stamp)
        if same_run.waits_for is not None:
            return Wait(replace(entry, state=State.WAITING), read.candidate, settings, why=same_run.why_it_waits)
    try:
        config = settings.resolve(DEFAULT_PRESET).config.recording
        try:
            whole = reader.read(path, config, streams=settings.streams)
        except UnknownFormatError:
            if config.format is not None or path.is_dir():
                raise
            return MarkForeign(replace(entry, state=State.FOREIGN, read_stamp=entry.stamp, checked_at=clock()))
        stamp = stamp_of(path)
        if stamp != read.candidate.stamp:  # somebody wrote to it while it was read
            return Wait(replace(entry, stamp=stamp, since=clock()), read.candidate, settings)
        header = whole if entry.state is State.REGISTERED else without_linked_streams(whole, config, root)
        header = same_run.without_them(header)
        if not header.streams and not header.problems:
            why = (
                same_run.sentence or f"Its samples are those of {linked_files(whole)}, which is a recording of its own."
            )
            foreign = replace(entry, state=State.FOREIGN, read_stamp=entry.stamp, checked_at=clock(), problem=None)
            return MarkForeign(foreign, why)
        forgotten = {one.key for one in catalog.partitions([entry.path]) if one.forgotten}
        return Register(entry, settings, header, observe_streams(path, entry.path, header, settings, forgotten))
    except (MissingRecordingError, FileNotFoundError):
        return None
    except SortAssetsError as problem:
        return Refuse(entry, problem, was_read=True)
    except OSError as error:
        return Refuse(entry, not_allowed(path, error), was_read=True)


@dataclass(frozen=True)
class FolderRules:
    """What the walk asks about folders and plain binary files: rules, sidecars, and what is registered already.

    A person may have registered a folder of files as one recording, with no rule that says so.
    """

    rules: RecordingRules
    entries: Mapping[str, CatalogEntry]
    _ignored: list[IgnoreFolder] = field(default_factory=list)

    def ignores_folder(self, relative: str, sidecar: Path | None) -> bool:
        """Whether nothing in a folder is a recording."""
        ignores = self.rules.ignores_folder(relative, sidecar)
        if ignores:
            self._ignored.append(IgnoreFolder(relative, sidecar))
        return ignores

    def concatenates(self, relative: str, sidecar: Path | None, *, default: bool) -> bool:
        """Whether a folder is one recording, its files concatenated; not by default where its files are registered."""
        entry = self.entries.get(relative)
        is_one = entry is not None and entry.state in (State.REGISTERED, State.FORGOTTEN)
        default = default and relative not in self._folders_of_files
        return is_one or self.rules.concatenates(relative, sidecar, default=default)

    def describes_binary(self, relative: str, sidecar: Path | None) -> bool:
        """Whether a file is a plain binary that is described."""
        return self.rules.describes_binary(relative, sidecar)

    def names_reader(self, relative: str, sidecar: Path | None) -> str:
        """The reader of SpikeInterface that is said to open a file or folder; "" for none."""
        return self.rules.names_reader(relative, sidecar)

    @cached_property
    def _folders_of_files(self) -> frozenset[str]:
        """The folders that directly hold registered recordings."""
        registered = (entry for entry in self.entries.values() if entry.state is State.REGISTERED)
        return frozenset(entry.path.rpartition("/")[0] for entry in registered)

    def take_ignored(self) -> list[IgnoreFolder]:
        """The folders that were ignored since the last call."""
        taken = [*self._ignored]
        self._ignored.clear()
        return taken


def _again_if_alone(entry: CatalogEntry | None, same_runs: SameRuns) -> CatalogEntry | None:
    """An entry that left its spikes to another recording, which is gone or forgotten, as if it had not been read."""
    if entry is None or entry.state is not State.FOREIGN or entry.read_stamp is None:
        return entry
    same_run = same_runs.of(entry.path, entry.read_stamp)
    return replace(entry, read_stamp=None) if same_run.is_run and not same_run.streams else entry


def _plan_candidate(candidate: Candidate, entry: CatalogEntry | None, rules: RecordingRules, now: float) -> Action:
    try:
        return classify_candidate(candidate, entry, rules, now)
    except (OSError, ValueError) as error:  # the others are classified all the same
        if isinstance(error, SortAssetsError):
            problem: SortAssetsError = error
        else:
            problem = UnreadableRecordingError(
                f"'{candidate.location}' can't be examined: {type(error).__name__}: {error}.",
                remedy="Rename it, or ignore it with a rule.",
            )
        return _refuse(Refusal(candidate.position, problem), entry, now)


def _refuse(refusal: Refusal, entry: CatalogEntry | None, now: float) -> Keep | Refuse:
    if entry is None:
        return Refuse(CatalogEntry(refusal.relative, State.PROBLEM, since=now), refusal.problem)
    return Keep(entry) if entry.state is State.FORGOTTEN else Refuse(entry, refusal.problem)


def _plan_not_found(
    root: Path,
    not_found: Iterable[CatalogEntry],
    refused: Iterable[str],
    entries: Mapping[str, CatalogEntry],
    clock: Callable[[], float],
) -> Iterator[Action]:
    """What the walk did not find is gone, unless it is only out of sight."""
    never_registered: list[str] = []
    emptied: set[str] = set()
    for entry in not_found:
        path = entry.path
        hidden = any(path.startswith(f"{folder}/") for folder in (*refused, *emptied))
        if hidden or entry.state is State.FORGOTTEN:
            continue
        if entry.missing_since is not None:
            yield Keep(entry)
        elif entry.state not in (State.REGISTERED, State.IGNORED):
            never_registered.append(path)
        elif os.path.lexists(root / path):
            if entry.state is State.REGISTERED:
                # Without its settings, it is classified anew when the walk finds it again.
                yield Exclude(replace(entry, state=State.IGNORED, settings=""))
        elif entry.state is State.IGNORED:
            never_registered.append(path)
        elif _is_empty(root):
            raise StorageError(
                f"The recordings root '{root}' is empty, though recordings of it are registered.",
                remedy="Mount the disk or share that holds them. If they are gone for good, `sort-assets forget` them.",
            )
        elif _is_empty(root / (top := path.split("/")[0])):
            emptied.add(top)
            yield _refuse(Refusal((top,), _emptied(root / top)), entries.get(top), clock())
        else:
            yield MarkMissing(replace(entry, missing_since=clock()))
    yield from (Drop(path) for path in never_registered if path not in emptied)


def _is_empty(folder: Path) -> bool:
    """Whether a folder is there and holds nothing, like the mount point of a disk that is not mounted."""
    try:
        return folder.is_dir() and all(
            entry.name.startswith(".") or entry.name == RULES_FILE for entry in folder.iterdir()
        )
    except OSError:
        return True


def _emptied(folder: Path) -> StorageError:
    return StorageError(
        f"The folder '{folder}' is empty, though recordings in it are registered.",
        remedy="Mount the disk or share that belongs there. If the recordings are gone for good, remove the folder.",
        path=str(folder),
    )


def _is_between(after: Position, path: str, stopped_at: Position | None) -> bool:
    position = tuple(path.split("/"))
    return position > after and (stopped_at is None or position <= stopped_at)
