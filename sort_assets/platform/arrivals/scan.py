"""One look at the recordings root: what is new, complete, changed or gone, and which runs are wanted for it.

A look is bounded in time. What does not fit into it waits for the next one, and the walk through the folder goes on
where it stopped. Killed at any point, the next look repeats what was not remembered, which does no harm.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from sort_assets.config.presets import DEFAULT_PRESET
from sort_assets.config.rules import RULES_FILE, RecordingSettings
from sort_assets.config.settings import Roots
from sort_assets.errors import (
    MissingRecordingError,
    SortAssetsError,
    StorageError,
    UnknownFormatError,
    UnreadableRecordingError,
)
from sort_assets.platform.arrivals.candidates import Candidate, Checkpoint, Position, Refusal, find_candidates, stamp_of
from sort_assets.platform.arrivals.catalog import RecordingCatalog
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.platform.arrivals.classification import FolderRules, Outcome, is_settled, judge
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.observations import RAW, report_missing
from sort_assets.platform.arrivals.registration import Registration, instance_id, remember_problem
from sort_assets.platform.arrivals.tick import Limits, ScanResult
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RULES_PROBLEM, RecordingRules
from sort_assets.recordings.formats.reading import not_allowed

_WALKED_TO = "walked_to"
_PUT_AT_ONCE = 500
_VANISHED_AT_ONCE = 100
_TOLD_EVERY = 500
_AS_USUAL = Limits()


@dataclass(frozen=True)
class _Due:
    """A recording that is complete and has to be read."""

    candidate: Candidate
    settings: RecordingSettings
    known: CatalogEntry


class Arrivals:
    """Looks at the recordings root.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    reader : HeaderReader
        Reads new recordings.
    sensor : str
        Name of the sensor that asks for the runs; its unfinished runs are counted.
    limits : Limits
    clock : callable
        The time of day in seconds since 1970.
    tell : callable
        Told, in words, how far a look has come.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        roots: Roots,
        reader: HeaderReader,
        *,
        sensor: str,
        limits: Limits = _AS_USUAL,
        clock: Callable[[], float] = time.time,
        tell: Callable[[str], object] = str,
    ) -> None:
        self._instance, self._roots, self._reader = instance, roots, reader
        self._sensor, self._limits, self._clock, self._tell_progress = sensor, limits, clock, tell
        self._known = RecordingCatalog(roots.store)
        self._registration = Registration(instance, roots, self._known, clock)

    def look(self, arrived: int) -> ScanResult:
        """Look at the folder.

        Parameters
        ----------
        arrived : int
            Number of the last look whose requests have arrived.

        Raises
        ------
        Locked
            When somebody else registers or forgets recordings this moment.
        StorageError
            When the recordings root, or the store, can't be used.
        """
        with self._known.exclusive(wait=False):
            self._known.bind_to_instance(instance_id(self._instance))
            look = ScanResult(self._known.begin_tick(arrived))
            self._go_through(look, after=tuple(json.loads(self._known.note(_WALKED_TO) or "[]")))
            self._ask_for_runs(look)
        return look

    def register_complete(self) -> ScanResult:
        """Look at the folder from its beginning, and leave the runs that are wanted to the sensor's next look.

        Raises
        ------
        StorageError
            When the recordings root, or the store, can't be used.
        """
        with self._known.exclusive():
            self._known.bind_to_instance(instance_id(self._instance))
            look = ScanResult(tick=0)
            self._go_through(look, after=())
        return look

    def _go_through(self, look: ScanResult, *, after: Position) -> None:
        began = time.monotonic()
        rules = RecordingRules(self._roots)
        rows = self._known.all()
        self._tell_of_rules(rules, look)
        if rules.problem is not None and not rules.in_force:
            look.finished = False
            return
        due = self._walk(rules, rows, look, after, began + self._limits.walk_s)
        self._settle(due, look, began + self._limits.read_s)

    def _tell_of_rules(self, rules: RecordingRules, look: ScanResult) -> None:
        rules.keep()
        problem = "" if rules.problem is None else str(rules.problem)
        if problem == (self._known.note(RULES_PROBLEM) or ""):
            return
        self._known.set_note(RULES_PROBLEM, problem)
        if problem:
            until = "the last good rules are in force" if rules.in_force else "no recording is registered"
            look.warnings.append(f"{problem} Until then {until}.")
        else:
            look.news.append("The rules file is valid again.")

    def _walk(
        self, rules: RecordingRules, rows: dict[str, CatalogEntry], look: ScanResult, after: Position, deadline: float
    ) -> list[_Due]:
        """Go through the folder; returns what has to be read."""
        due: list[_Due] = []
        seen: set[str] = set()
        refused: list[str] = []
        updates: list[CatalogEntry] = []
        walked_to: Position | None = None
        judge_folders = FolderRules(rules, rows)
        for found in find_candidates(self._roots.recordings, judge_folders, after=after, with_checkpoints=True):
            if not isinstance(found, Checkpoint):
                seen.add(found.relative)
            row = None if isinstance(found, Checkpoint) else rows.get(found.relative)
            if isinstance(found, Refusal):
                refused.append(found.relative)
                self._refuse(found, row, look)
                continue
            if isinstance(found, Candidate):
                try:
                    if row is None or not is_settled(found, row, rules, self._clock()):
                        self._examine(found, row, rules, look, due, updates)
                except (OSError, ValueError) as error:  # it costs this recording alone
                    self._refuse(Refusal(found.position, _odd(found, error)), row, look)
            if len(seen) % _TOLD_EVERY == 0:
                self._tell_progress(f"{len(seen)} looked at")
            if len(updates) >= _PUT_AT_ONCE:
                self._known.put(*updates)
                updates.clear()
            if time.monotonic() > deadline:
                walked_to, look.finished = found.position, False
                break
        self._known.put(*updates)
        gone = [row for path, row in rows.items() if path not in seen and _between(after, path, walked_to)]
        self._let_go(gone, refused, look)
        self._known.set_note(_WALKED_TO, json.dumps(walked_to or ()))
        return due

    def _examine(
        self,
        found: Candidate,
        row: CatalogEntry | None,
        rules: RecordingRules,
        look: ScanResult,
        due: list[_Due],
        updates: list[CatalogEntry],
    ) -> None:
        """Look closer at a recording that is new, has changed, or of which something else is said."""
        if row is not None and row.missing_since is not None:
            look.news.append(f"{row.path} is there again.")
        verdict = judge(found, row, rules, self._clock())
        if verdict.problem is not None:
            self._tell(verdict.known, verdict.problem, look, was_read=False)
        elif verdict.outcome is Outcome.DUE and verdict.settings is not None:
            due.append(_Due(found, verdict.settings, verdict.known))
        else:
            updates.append(verdict.known)
        if verdict.outcome is Outcome.WAITING:
            look.waiting += 1
            look.complete_at += [] if verdict.complete_at is None else [verdict.complete_at]

    def _settle(self, due: list[_Due], look: ScanResult, deadline: float) -> None:
        """Read what is complete and register it, those that wait longest first, as long as there is time."""
        if due and not self._reader.prepare(max(0.0, deadline - time.monotonic())):
            look.left = len(due)
            return
        for index, one in enumerate(sorted(due, key=lambda one: one.known.since)):
            if time.monotonic() > deadline:
                look.left = len(due) - index
                return
            self._tell_progress(f"Reading {index + 1} of {len(due)}: {one.known.path}")
            self._settle_one(one, look)

    def _settle_one(self, one: _Due, look: ScanResult) -> None:
        known, path = one.known, one.candidate.path
        try:
            config = one.settings.resolve(DEFAULT_PRESET).config.recording
            header = self._reader.read(path, config, streams=one.settings.streams)
            stamp = stamp_of(path)
            if stamp != one.candidate.stamp:  # somebody wrote to it while it was read
                look.waiting += 1
                self._known.put(replace(known, stamp=stamp, since=self._clock()))
                return
            registered = self._registration.settle(known, one.settings, header, start=True)
        except UnknownFormatError as problem:
            if config.format is not None or path.is_dir():
                self._tell(known, problem, look)
            else:
                self._known.put(replace(known, state=State.FOREIGN, read_stamp=known.stamp, checked_at=self._clock()))
        except (MissingRecordingError, FileNotFoundError):
            return  # gone since the walk; the next one will notice
        except SortAssetsError as problem:
            self._tell(known, problem, look)
        except OSError as error:
            self._tell(known, not_allowed(path, error), look)
        else:
            new = [one.key for one in registered if one.new]
            look.registered += new
            for path_before in self._known.missing_with_fingerprint(header.fingerprint) if new else ():
                look.news.append(
                    f"{known.path} has the content of {path_before}, which is gone: it was moved or renamed. The "
                    f"results of {path_before} stay under its key."
                )
            if known.fingerprint is not None and known.fingerprint != header.fingerprint:
                look.news.append(f"{known.path} has changed; what was made of it is stale.")

    def _refuse(self, found: Refusal, row: CatalogEntry | None, look: ScanResult) -> None:
        known = row or CatalogEntry(found.relative, State.PROBLEM, since=self._clock())
        if known.state is not State.FORGOTTEN:
            self._tell(known, found.problem, look, was_read=False)

    def _tell(self, known: CatalogEntry, problem: SortAssetsError, look: ScanResult, *, was_read: bool = True) -> None:
        if remember_problem(self._known, known, problem, was_read=was_read, now=self._clock()):
            look.warnings.append(f"{known.path}: {type(problem).__name__}: {problem}")

    def _let_go(self, gone: list[CatalogEntry], refused: list[str], look: ScanResult) -> None:
        """What is no longer found is gone, unless it is only out of sight."""
        root, unknown, emptied, told = self._roots.recordings, [], set[str](), 0
        for known in gone:
            hidden = any(known.path.startswith(f"{folder}/") for folder in (*refused, *emptied))
            if hidden or known.missing_since is not None or known.state is State.FORGOTTEN:
                continue
            if known.state not in (State.REGISTERED, State.IGNORED):
                unknown.append(known.path)
            elif os.path.lexists(root / known.path):
                if known.state is State.REGISTERED:
                    # Skipped since: a rule says so. It is looked at anew when it is found again.
                    self._known.put(replace(known, state=State.IGNORED, settings=""))
            elif known.state is State.IGNORED:
                unknown.append(known.path)
            elif _is_empty(root):
                raise StorageError(
                    f"The recordings root '{root}' is empty, though recordings of it are registered.",
                    remedy="Mount the disk or share that holds them. If they are gone for good, `sort-assets forget` "
                    "them.",
                )
            elif _is_empty(root / (top := known.path.split("/")[0])):
                emptied.add(top)
                self._refuse(Refusal((top,), _emptied(root / top)), self._known.get(top), look)
            elif told < _VANISHED_AT_ONCE:
                told += 1
                self._tell_that_it_is_gone(known, look)
        self._known.remove(*(path for path in unknown if path not in emptied))

    def _tell_that_it_is_gone(self, known: CatalogEntry, look: ScanResult) -> None:
        self._known.put(replace(known, missing_since=self._clock()))
        look.warnings.append(f"{known.path} is no longer there. Its results are kept.")
        for partition in self._known.partitions([known.path]):
            path = self._roots.recordings / known.path
            report_missing(self._instance, partition.key, path, partition.versions.get(RAW))

    def _ask_for_runs(self, look: ScanResult) -> None:
        unfinished = self._instance.get_runs_count(
            dg.RunsFilter(tags={"dagster/sensor_name": self._sensor}, statuses=[*UNFINISHED])
        )
        room = min(self._limits.requests, self._limits.unfinished_runs - unfinished)
        for partition in self._known.pending_runs(max(0, room)):
            if self._instance.has_dynamic_partition(RECORDINGS_PARTITIONS, partition.key):
                look.requests.append(partition)
            else:  # removed by somebody since
                self._known.remove_partitions(partition.key)
        self._known.mark_requested([partition.key for partition in look.requests], look.tick)


def _is_empty(folder: Path) -> bool:
    """Whether a folder is there and holds nothing, as that of a disk that is not mounted."""
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


def _odd(found: Candidate, error: OSError | ValueError) -> SortAssetsError:
    if isinstance(error, SortAssetsError):
        return error
    return UnreadableRecordingError(
        f"'{found.location}' can't be looked at: {type(error).__name__}: {error}.",
        remedy="Rename it, or ignore it with a rule.",
    )


def _between(after: Position, path: str, walked_to: Position | None) -> bool:
    place = tuple(path.split("/"))
    return place > after and (walked_to is None or place <= walked_to)
