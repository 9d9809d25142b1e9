"""Deciding when the summary over all recordings is made again: when results have changed, and then come to rest."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import dagster as dg
from pydantic import BaseModel, Field, ValidationError

from sort_assets.platform.pipeline.catalog import SUMMARIZED
from sort_assets.platform.pipeline.jobs import UNFINISHED, summarize_units

_FAILED_RUNS = "failed runs"
_FAILURE: Final = dg.DagsterEventType.RUN_FAILURE
_FAILURES_LOOKED_AT = 10
_SENSOR_TAG = "dagster/sensor_name"


@dataclass(frozen=True)
class SummaryTiming:
    """When a changed summary is made again.

    Attributes
    ----------
    quiet_s : float
        So long after the last change, so that a batch of recordings makes it once.
    longest_s : float
        At the latest so long after the first change, while results keep coming all night.
    """

    quiet_s: float = 60.0
    longest_s: float = 900.0


class SummaryState(BaseModel):
    """What the sensor remembers from tick to tick, as its cursor.

    Attributes
    ----------
    covered : dict
        By what is watched, its newest event when a summary was last asked for; nothing for what had none.
    seen : dict
        The same when the sensor last looked.
    first_change, last_change : float or None
        When changes that no summary covers were first and last noticed, in seconds since 1970.
    """

    covered: dict[str, int] = Field(default_factory=dict)
    seen: dict[str, int] = Field(default_factory=dict)
    first_change: float | None = None
    last_change: float | None = None

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "SummaryState":
        """What a cursor says; nothing for one that is not of this sensor: all results are then summarized once."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()


@dataclass(frozen=True)
class SummaryTick:
    """What a tick came to.

    Attributes
    ----------
    state : SummaryState
        For the next tick.
    request : dg.RunRequest or None
    said : str
        In words.
    """

    state: SummaryState
    request: dg.RunRequest | None
    said: str


def look(
    instance: dg.DagsterInstance,
    state: SummaryState,
    *,
    sensor: str,
    timing: SummaryTiming = SummaryTiming(),
    clock: Callable[[], float] = time.time,
) -> SummaryTick:
    """Find out whether results have changed, and ask for a summary when it is time.

    It reads the newest event of each watched asset, however many recordings there are. A run that fails is not asked
    for again before the next change: it is told like every failed run.

    Parameters
    ----------
    instance : DagsterInstance
    state : SummaryState
        Of the tick before.
    sensor : str
        Name of the sensor that asks; while a run is unfinished that it asked for, it asks for no other.
    timing : SummaryTiming
    clock : callable
        The time in seconds since 1970.
    """
    now, newest = clock(), _newest_events(instance, state)
    if newest == state.covered:
        return SummaryTick(SummaryState(covered=newest, seen=newest), None, "The summary covers all results.")
    first = now if state.first_change is None else min(state.first_change, now)
    last = now if state.last_change is None or newest != state.seen else min(state.last_change, now)
    waiting = SummaryState(covered=state.covered, seen=newest, first_change=first, last_change=last)
    if now - last < timing.quiet_s and now - first < timing.longest_s:
        return SummaryTick(waiting, None, "Results have changed; the summary waits until no others follow.")
    if _is_unfinished(instance, sensor):
        return SummaryTick(waiting, None, "Results have changed; the last summary is not finished yet.")
    return SummaryTick(
        SummaryState(covered=newest, seen=newest),
        # The same when Dagster evaluates a tick once more, of which it lost the end.
        dg.RunRequest(run_key=f"{first:.3f}-{max(newest.values(), default=0)}"),
        "Results have changed, and the summary is made again.",
    )


def _newest_events(instance: dg.DagsterInstance, state: SummaryState) -> dict[str, int]:
    """The number of the newest event of each watched asset, and of the newest failure of a run."""
    newest = {}
    for asset in SUMMARIZED:
        for record in instance.fetch_materializations(dg.AssetKey(asset), limit=1).records:
            newest[asset] = record.storage_id
    failures = instance.fetch_run_status_changes(_FAILURE, limit=_FAILURES_LOOKED_AT).records
    # A summary that fails must not ask for the next one, which would fail too.
    others = [one.storage_id for one in failures if one.event_log_entry.job_name != summarize_units.name]
    if others or (failures and _FAILED_RUNS in state.seen):
        newest[_FAILED_RUNS] = max(others, default=state.seen.get(_FAILED_RUNS, 0))
    return newest


def _is_unfinished(instance: dg.DagsterInstance, sensor: str) -> bool:
    wanted = dg.RunsFilter(tags={_SENSOR_TAG: sensor}, statuses=[*UNFINISHED])
    return bool(instance.get_runs(wanted, limit=1))
