"""A code location for tests of the queue: a job that does nothing, as a job of sort_assets and as one of seconds."""

import dagster as dg

from sort_assets.platform.execution.run_queue import AT_ONCE_TAG


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job(executor_def=dg.in_process_executor)
def patient() -> None:
    """Waits for its turn."""
    nothing()


@dg.job(executor_def=dg.in_process_executor, tags={AT_ONCE_TAG: "true"})
def at_once() -> None:
    """Does not wait."""
    nothing()


defs = dg.Definitions(jobs=[patient, at_once])
