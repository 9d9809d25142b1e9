"""Carrying out a plan: writing the catalogue, adding partitions, reporting to Dagster."""

import time
from collections.abc import Callable, Iterable

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.actions import (
    Action,
    Drop,
    EndWalk,
    Exclude,
    Ignore,
    IgnoreFolder,
    Keep,
    MarkForeign,
    MarkMissing,
    Read,
    Reappear,
    Refuse,
    Register,
    Update,
    Wait,
)
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, State
from sort_assets.platform.arrivals.observations import RAW, report_missing
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.registration import Registration, remember_problem, wanted_problems
from sort_assets.platform.arrivals.tick import ScanResult
from sort_assets.recordings.formats.reading import not_allowed
from sort_assets.recordings.key import RecordingKey

_ENTRIES_PER_WRITE = 500
_MISSING_PER_SCAN = 100
"""The most recordings that one scan reports as missing; each takes several events in Dagster."""


class PlanApplier:
    """Carries out the actions of a plan, and notes in a `ScanResult` what happened.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    catalog : RecordingCatalog
        The caller holds its lock, `RecordingCatalog.exclusive`.
    result : ScanResult
    clock : callable
        The time of day in seconds since 1970.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        roots: Roots,
        catalog: RecordingCatalog,
        result: ScanResult,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._instance, self._roots, self._catalog = instance, roots, catalog
        self._result, self._clock = result, clock
        self._registration = Registration(instance, roots, catalog, clock)
        self._entries: list[CatalogEntry] = []
        self._dropped: list[str] = []
        self._num_missing = 0

    def apply(self, actions: Iterable[Action]) -> list[Read]:
        """Carry out actions one after the other; returns the recordings whose headers are to be read."""
        to_read: list[Read] = []
        try:
            for action in actions:
                if isinstance(action, Read):
                    to_read.append(action)
                else:
                    self._apply(action)
        finally:
            self._write()
        return to_read

    def _apply(self, action: Action) -> None:
        result = self._result
        match action:
            case Keep() | IgnoreFolder():
                pass
            case Update(entry) | Ignore(entry) | Exclude(entry):
                self._put(entry)
            case MarkForeign(entry, why):
                self._mark_foreign(entry, why)
            case Wait(entry):
                self._put(entry)
                result.waiting += 1
                result.complete_at += [] if action.complete_at is None else [action.complete_at]
            case Register():
                self._register(action)
            case Refuse(entry, problem):
                self._remember_problem(entry, problem, was_read=action.was_read)
            case Reappear(path):
                result.changes.append(f"{path} is there again.")
            case MarkMissing(entry):
                self._mark_missing(entry)
            case Drop(path):
                self._dropped.append(path)
            case EndWalk(stopped_at):
                self._write()
                self._catalog.set_walk_position(stopped_at or ())
                result.finished = stopped_at is None

    def _mark_foreign(self, entry: CatalogEntry, why: str) -> None:
        before = self._catalog.get(entry.path)
        if why and (before is None or before.state is not State.FOREIGN):
            self._result.changes.append(f"{entry.path} is not registered: {why}")
        self._put(entry)

    def _put(self, entry: CatalogEntry) -> None:
        self._entries.append(entry)
        if len(self._entries) >= _ENTRIES_PER_WRITE:
            self._write()

    def _write(self) -> None:
        if self._entries:
            self._catalog.put(*self._entries)
            self._entries.clear()
        if self._dropped:
            self._catalog.remove(*self._dropped)
            self._dropped.clear()

    def _register(self, register: Register) -> None:
        entry, fingerprint = register.entry, register.header.fingerprint
        try:
            registered = self._registration.register_streams(register, start=True)
        except FileNotFoundError:
            return  # removed meanwhile, which the next scan notices
        except SortAssetsError as problem:
            self._remember_problem(entry, problem, was_read=True)
        except OSError as error:
            self._remember_problem(entry, not_allowed(self._roots.recordings / entry.path, error), was_read=True)
        else:
            self._warn_of_streams(register)
            new = [one.key for one in registered if one.new]
            self._result.registered += new
            if entry.fingerprint != fingerprint:
                self._result.warnings += [f"{one.key}: {one.clock}" for one in registered if one.clock is not None]
                self._result.changes += [f"{entry.path}: {sentence}" for sentence in register.header.left_out]
            for path_before in self._catalog.missing_with_fingerprint(fingerprint) if new else ():
                self._result.changes.append(
                    f"{entry.path} has the content of {path_before}, which is gone: it was moved or renamed. The "
                    f"results of {path_before} stay under its key."
                )
            if entry.fingerprint not in (None, fingerprint):
                self._result.changes.append(f"{entry.path} has changed; what was made of it is stale.")

    def _warn_of_streams(self, register: Register) -> None:
        path, known = register.entry.path, register.entry.stream_problems
        for name, problem in wanted_problems(path, register.header, self._catalog.partitions([path])).items():
            if name not in known or known[name].to_dict() != problem.to_dict():
                key = RecordingKey(path, name)
                self._result.warnings.append(f"{key}: {type(problem).__name__}: {problem}")

    def _remember_problem(self, entry: CatalogEntry, problem: SortAssetsError, *, was_read: bool) -> None:
        if remember_problem(self._catalog, entry, problem, was_read=was_read, now=self._clock()):
            self._result.warnings.append(f"{entry.path}: {type(problem).__name__}: {problem}")

    def _mark_missing(self, entry: CatalogEntry) -> None:
        if self._num_missing >= _MISSING_PER_SCAN:
            return  # the next scan finds it missing again
        self._num_missing += 1
        self._catalog.put(entry)
        self._result.warnings.append(f"{entry.path} is no longer there. Its results are kept.")
        for partition in self._catalog.partitions([entry.path]):
            path = self._roots.recordings / entry.path
            report_missing(self._instance, partition.key, path, partition.versions.get(RAW))
