"""What the event log tells of each run of a soak."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg

from sort_assets.platform.pipeline.io_manager import VERSION_METADATA
from sort_assets.platform.pipeline.materialization import TAKEN_FROM_METADATA
from sort_assets.platform.pipeline.partitions import PARTITION_TAG

_ENDS = {
    dg.DagsterEventType.RUN_SUCCESS: dg.DagsterRunStatus.SUCCESS,
    dg.DagsterEventType.RUN_FAILURE: dg.DagsterRunStatus.FAILURE,
    dg.DagsterEventType.RUN_CANCELED: dg.DagsterRunStatus.CANCELED,
}
_TROUBLE = {
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELING,
    dg.DagsterEventType.RUN_CANCELED,
}


@dataclass(frozen=True)
class Materialized:
    """A materialization of a run.

    Attributes
    ----------
    asset, version : str
    at : float
    after_end : bool
        Whether the run had ended before.
    taken_from : str
        The run that had published it before it was lost; empty where that is this run.
    """

    asset: str
    version: str
    at: float
    after_end: bool
    taken_from: str = ""


@dataclass
class RunStory:
    """What the event log tells of a run.

    Attributes
    ----------
    run_id, key : str
    job : str
    status : dg.DagsterRunStatus
    starts : int
        How often it started.
    ends : list of dg.DagsterRunStatus
        What each of its ends says, in their order.
    ended_at : float or None
        When it ended first.
    trouble : list of float
        When something was noticed: a retry, a failure, a cancellation.
    retries : int
        How often a step was tried again.
    materialized : list of Materialized
    follows : list of str
        The run that it was launched in place of, by Dagster's tags, that one's, and so on.
    """

    run_id: str
    key: str
    job: str
    status: dg.DagsterRunStatus
    starts: int = 0
    ends: list[dg.DagsterRunStatus] = field(default_factory=list)
    ended_at: float | None = None
    trouble: list[float] = field(default_factory=list)
    retries: int = 0
    materialized: list[Materialized] = field(default_factory=list)
    follows: list[str] = field(default_factory=list)


def read_stories(instance: dg.DagsterInstance) -> dict[str, RunStory]:
    """The stories of all runs, by run id, oldest first."""
    runs = list(reversed(instance.get_runs()))
    stories = {run.run_id: _story(instance, run) for run in runs}
    for run in runs:  # the oldest first
        if run.parent_run_id is not None:
            before = stories.get(run.parent_run_id)
            stories[run.run_id].follows = [run.parent_run_id, *(before.follows if before else [])]
    return stories


def _story(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunStory:
    story = RunStory(run.run_id, run.tags.get(PARTITION_TAG, ""), run.job_name, run.status)
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == dg.DagsterEventType.RUN_START:
            story.starts += 1
        if event.event_type in _TROUBLE:
            story.trouble.append(entry.timestamp)
        if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY:
            story.retries += 1
        if event.event_type in _ENDS:
            story.ends.append(_ENDS[event.event_type])
            story.ended_at = story.ended_at or entry.timestamp
        if event.is_step_materialization:
            story.materialized += _materialized(event, entry.timestamp, after_end=story.ended_at is not None)
    return story


def _materialized(event: dg.DagsterEvent, at: float, *, after_end: bool) -> Iterator[Materialized]:
    one = event.step_materialization_data.materialization
    version = one.metadata.get(VERSION_METADATA)
    if version is not None:
        taken_from = one.metadata.get(TAKEN_FROM_METADATA)
        by = "" if taken_from is None else str(taken_from.value)
        yield Materialized(one.asset_key.to_user_string(), str(version.value), at, after_end, by)
