"""Runs that Dagster has started again by itself, and the runs before them."""

import dagster as dg

# Without a public name.
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG


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
