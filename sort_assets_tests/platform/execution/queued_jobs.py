"""A code location for tests of the queue: a job that does nothing."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job(executor_def=dg.in_process_executor)
def idle() -> None:
    """Do nothing."""
    nothing()


defs = dg.Definitions(jobs=[idle])
