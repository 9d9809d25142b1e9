"""Runs that Dagster launches again by itself, since their worker or node has died, and the runs before them."""

import dagster as dg

# Without a public name.
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG


def is_launched_again(run: dg.DagsterRun) -> bool:
    """Whether Dagster's daemon is still going to launch a failed run again, at once or when it is started."""
    return (
        run.status == dg.DagsterRunStatus.FAILURE
        and run.tags.get(WILL_RETRY_TAG) == "true"
        and AUTO_RETRY_RUN_ID_TAG not in run.tags
        and run.remote_job_origin is not None  # otherwise, it does not know what to launch
    )


def leave_to_others(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Let the daemon not launch a failed run again: somebody else does."""
    if is_launched_again(run):
        instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "false"})


def runs_before(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """The runs of which this one is the automatic retry, oldest first; none for a run that a person started.

    A person who re-executes a failed run has looked at it, and may have changed something: that run begins anew.

    Parameters
    ----------
    instance : DagsterInstance
    run : DagsterRun

    Returns
    -------
    list of str
        Their ids.
    """
    before: list[str] = []
    while run.parent_run_id is not None:
        parent = instance.get_run_by_id(run.parent_run_id)
        # Both kinds of runs name their parent; a parent names only the run that followed by itself.
        if parent is None or parent.tags.get(AUTO_RETRY_RUN_ID_TAG) != run.run_id:
            break
        before.insert(0, parent.run_id)
        run = parent
    return before
