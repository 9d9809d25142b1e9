"""The queue of runs: what a person launches goes before backfills and automation.

`dagster.yaml` names `PeopleFirstRunCoordinator`, so every process of Dagster imports this module: it stays light.
"""

from collections.abc import Mapping

import dagster as dg

PRIORITY_TAG = "dagster/priority"
AUTOMATION_PRIORITY = -5
"""Of runs that a sensor, a schedule or an automation condition requests. A person's run has Dagster's default, 0."""
BACKFILL_PRIORITY = -10
"""Of runs of a backfill, which are many: today's recordings, which a sensor finds, need not wait for all old ones."""
AT_ONCE_TAG = "sort_assets/at_once"
"""Of a run of seconds, like the digest's: it is not queued behind sorts that take all night."""

_BACKFILL_TAG = "dagster/backfill"
_AUTOMATION_TAGS = (
    "dagster/sensor_name",
    "dagster/schedule_name",
    "dagster/from_automation_condition",
    "dagster/auto_materialize",
    "dagster/auto_observe",
)
_PARENT_TAG = "dagster/parent_run_id"
_RETRY_TAG = "dagster/retry_number"


class PeopleFirstRunCoordinator(dg.QueuedRunCoordinator):
    """Dagster's queue, in which runs that nobody launched by hand have a lower priority.

    The priority decides which run leaves the queue next, and which step gets the next slot of a pool. It is written as
    the run's tag `dagster/priority`, unless that was set. Settings are those of `dagster.QueuedRunCoordinator`.
    """

    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        """Give the run its priority, and put it into the queue, unless it carries `AT_ONCE_TAG`."""
        run = context.dagster_run
        if AT_ONCE_TAG in run.tags and run.status == dg.DagsterRunStatus.NOT_STARTED:
            return self._instance.launch_run(run.run_id, context.workspace)
        parent = self._instance.get_run_by_id(run.tags[_PARENT_TAG]) if _PARENT_TAG in run.tags else None
        priority = priority_to_set(run.tags, parent.tags if parent else {})
        if priority is not None and run.status == dg.DagsterRunStatus.NOT_STARTED:
            self._instance.add_run_tags(run.run_id, {PRIORITY_TAG: str(priority)})
        return super().submit_run(context)


def priority_to_set(tags: Mapping[str, str], parent_tags: Mapping[str, str]) -> int | None:
    """The priority that a run is to have; None to leave it as it is.

    Parameters
    ----------
    tags : Mapping[str, str]
        Of the run.
    parent_tags : Mapping[str, str]
        Of the run that it executes again; empty where there is none. A person who executes a run again inherits its
        tags: those of the sensor that requested it, and its priority.
    """
    inherited = {} if _RETRY_TAG in tags else parent_tags  # Dagster's own retries stay what they were
    own = {name: value for name, value in tags.items() if inherited.get(name) != value}
    if PRIORITY_TAG in own:
        return None
    given = _priority_of_origin(own)
    if PRIORITY_TAG not in tags:
        return given
    # Inherited: what somebody chose is kept, what only followed from the parent's origin is not.
    return (given or 0) if inherited[PRIORITY_TAG] == str(_priority_of_origin(inherited)) else None


def _priority_of_origin(tags: Mapping[str, str]) -> int | None:
    if _BACKFILL_TAG in tags:
        return BACKFILL_PRIORITY
    return AUTOMATION_PRIORITY if any(tag in tags for tag in _AUTOMATION_TAGS) else None
