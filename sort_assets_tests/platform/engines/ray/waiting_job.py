"""A Dagster job of one step that only waits: for tests of how steps are started and watched, not of what they do."""

import time
from pathlib import Path

import dagster as dg

from sort_assets.platform.engines.executor import locked
from sort_assets.platform.engines.ray.executor import ray_executor


@dg.op(config_schema={"until": str})
def waiting(context: dg.OpExecutionContext) -> None:
    """Wait until a file is there."""
    while not Path(context.op_config["until"]).exists():
        time.sleep(0.1)


@dg.job(executor_def=locked(ray_executor))
def waiting_job() -> None:
    """One step."""
    waiting()


def make_waiting_job() -> dg.JobDefinition:
    """For Dagster, which makes it again in the step's process."""
    return waiting_job
