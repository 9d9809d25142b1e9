"""Scanning the recordings root: make a plan, carry it out, read what is complete, and request the runs it needs.

A tick of the sensor is bounded in time. What does not fit into it is left to the next one, and the walk through the
folder continues where it stopped. After a crash at any point, the next scan repeats what was not remembered, which does
no harm.
"""

import time
from collections.abc import Callable

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.platform.arrivals.actions import Read
from sort_assets.platform.arrivals.apply import PlanApplier
from sort_assets.platform.arrivals.candidates import Position
from sort_assets.platform.arrivals.classification import SettledRecordings
from sort_assets.platform.arrivals.header_reader import HeaderReader
from sort_assets.platform.arrivals.plan import plan, plan_registration
from sort_assets.platform.arrivals.recording_catalog import RecordingCatalog
from sort_assets.platform.arrivals.registration import instance_id
from sort_assets.platform.arrivals.tick import Limits, ScanResult
from sort_assets.platform.pipeline.jobs import UNFINISHED
from sort_assets.platform.pipeline.partitions import RECORDINGS_PARTITIONS
from sort_assets.platform.pipeline.recording_rules import RULES_PROBLEM, RecordingRules
from sort_assets.recordings.formats.spikeglx_runs import run_rank

_TICK_LIMITS = Limits()
WITHOUT_LIMITS = Limits(walk_s=1e6, read_s=1e6)
"""For commands, which may take as long as they need."""
_TOGETHER_S = 5.0
"""Recordings that become complete within so many seconds are registered by one scan."""


class RecordingScanner:
    """Scans the recordings root and registers what is complete.

    Parameters
    ----------
    instance : DagsterInstance
    roots : Roots
    reader : HeaderReader
        Reads new recordings.
    sensor : str
        Name of the sensor that requests the runs; its unfinished runs are counted.
    limits : Limits
    clock : callable
        The time of day in seconds since 1970.
    on_progress : callable
        Called with a sentence about how far a scan has come.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        roots: Roots,
        reader: HeaderReader,
        *,
        sensor: str,
        limits: Limits = _TICK_LIMITS,
        clock: Callable[[], float] = time.time,
        on_progress: Callable[[str], object] = str,
    ) -> None:
        self._instance, self._roots, self._reader = instance, roots, reader
        self._sensor, self._limits, self._clock, self._on_progress = sensor, limits, clock, on_progress
        self._catalog = RecordingCatalog(roots.store)

    def tick(self, delivered: int) -> ScanResult:
        """Scan from where the tick before stopped, and request runs.

        Parameters
        ----------
        delivered : int
            Number of the last tick whose run requests Dagster has certainly received.

        Raises
        ------
        Locked
            When another process registers or forgets recordings at this moment.
        StorageError
            When the recordings root, or the store, can't be used.
        """
        with self._catalog.exclusive(wait=False):
            self._catalog.bind_to_instance(instance_id(self._instance))
            result = ScanResult(self._catalog.begin_tick(delivered))
            self._scan(result, after=self._catalog.walk_position())
            self._request_runs(result)
        return result

    def scan(self) -> ScanResult:
        """Scan from the beginning, and leave the runs that are wanted to the sensor's next tick.

        Raises
        ------
        StorageError
            When the recordings root, or the store, can't be used.
        """
        with self._catalog.exclusive():
            self._catalog.bind_to_instance(instance_id(self._instance))
            result = ScanResult(tick=0)
            self._scan(result, after=())
        return result

    def scan_until_quiet(self) -> ScanResult:
        """Scan, wait until what is new has been quiet for long enough, and scan again.

        It waits no longer than what the first scan found needs; what grows meanwhile is left to the sensor. Interrupted
        at any point, it leaves nothing half done.
        """
        result = self.scan()
        last = max(result.complete_at, default=0.0)
        while pending := [moment for moment in result.complete_at if moment <= last]:
            self._wait(max(moment for moment in pending if moment <= min(pending) + _TOGETHER_S), result.waiting)
            further = self.scan()
            further.registered[:0] = result.registered
            further.changes[:0] = result.changes
            further.warnings[:0] = result.warnings
            result = further
        return result

    def _scan(self, result: ScanResult, *, after: Position) -> None:
        began = time.monotonic()
        rules = RecordingRules(self._roots)
        self._keep_rules(rules, result)
        entries = self._catalog.all()
        actions = plan(
            self._roots.recordings,
            rules,
            entries,
            after=after,
            deadline=began + self._limits.walk_s,
            settled=SettledRecordings(rules, entries),
            clock=self._clock,
            on_progress=self._on_progress,
        )
        applier = PlanApplier(self._instance, self._roots, self._catalog, result, self._clock)
        self._register_complete(applier.apply(actions), applier, result, began + self._limits.read_s)

    def _keep_rules(self, rules: RecordingRules, result: ScanResult) -> None:
        """Keep good rules as the last good ones, and say once when they have a problem."""
        rules.keep()
        problem = "" if rules.problem is None else str(rules.problem)
        if problem == (self._catalog.note(RULES_PROBLEM) or ""):
            return
        self._catalog.set_note(RULES_PROBLEM, problem)
        if problem:
            until = "the last good rules are in force" if rules.in_force else "no recording is registered"
            result.warnings.append(f"{problem} Until then {until}.")
        else:
            result.changes.append("The rules file is valid again.")

    def _register_complete(
        self, complete: list[Read], applier: PlanApplier, result: ScanResult, deadline: float
    ) -> None:
        """Read and register what is complete, as long as there is time.

        What CatGT made of a run comes before the run, so that it is known; else what has waited longest comes first.
        """
        if complete and not self._reader.prepare(max(0.0, deadline - time.monotonic())):
            result.unread = len(complete)
            return
        for index, read in enumerate(sorted(complete, key=_order_of_reading)):
            if time.monotonic() > deadline:
                result.unread = len(complete) - index
                return
            self._on_progress(f"Reading {index + 1} of {len(complete)}: {read.entry.path}")
            action = plan_registration(read, self._roots.recordings, self._reader, self._catalog, self._clock)
            applier.apply([] if action is None else [action])

    def _request_runs(self, result: ScanResult) -> None:
        unfinished = self._instance.get_runs_count(
            dg.RunsFilter(tags={"dagster/sensor_name": self._sensor}, statuses=[*UNFINISHED])
        )
        room = min(self._limits.requests, self._limits.unfinished_runs - unfinished)
        for partition in self._catalog.pending_runs(max(0, room)):
            if self._instance.has_dynamic_partition(RECORDINGS_PARTITIONS, partition.key):
                result.requests.append(partition)
            else:  # somebody has removed it since, in the UI for example
                self._catalog.remove_partitions(partition.key)
        self._catalog.mark_requested([partition.key for partition in result.requests], result.tick)

    def _wait(self, until: float, number: int) -> None:
        while (left := until - time.time()) > 0:
            self._on_progress(f"Waiting {left:.0f} s to see whether any of {number} still grows; Ctrl-C does no harm")
            time.sleep(min(left, 1.0))


def _order_of_reading(read: Read) -> tuple[int, float]:
    return -run_rank(read.candidate.path.name), read.entry.since
