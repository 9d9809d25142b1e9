"""The worker of a run that is a job: its steps are processes on the node, and it ends when its run is over.

The lock by which a dead run worker is noticed on one machine lies in the Dagster home, which is not on the nodes. It is
not needed: Slurm knows whether a job lives. But a node that was cut off from Slurm, and not from the store, goes on
with a run that has been failed meanwhile, and may be tried again elsewhere.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.config.settings import read_environment
from sort_assets.platform.engines.slurm.step_executor import GpuStepJobsExecutor
from sort_assets.platform.execution.executor import LockedRunExecutor
from sort_assets.platform.execution.fork_server import PRELOADED_MODULES
from sort_assets.platform.execution.pool_polling import paused_pool_polling
from sort_assets.platform.execution.remote_steps import GIVEN_UP, in_slurm_job, run_is_over_in

if TYPE_CHECKING:
    # The types in the signature of dg.Executor have no public names.
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan

_POLL_S = 10.0


class _RunWorkerExecutor(LockedRunExecutor):
    """Executes the steps of a run as processes; in a job, it watches the run instead of holding a lock in the home."""

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the steps."""
        if not in_slurm_job():  # `dagster asset materialize` on the control host
            yield from super().execute(plan_context, execution_plan)
            return
        with _ending_with_run(plan_context.instance, plan_context.run_id), paused_pool_polling():
            yield from self._inner.execute(plan_context, execution_plan)


@contextmanager
def _ending_with_run(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """End this process soon after its run is over for the instance; its steps end with it."""
    ended = threading.Event()
    is_over = run_is_over_in(instance)

    def watch() -> None:
        while not ended.wait(_POLL_S):
            try:
                over = is_over(run_id)
            except Exception:
                continue  # the database is away: what is finished meanwhile may still count
            if over is not False and not ended.is_set():
                print(f"Run {run_id} is over, or was deleted: this process ends.", flush=True)
                os._exit(GIVEN_UP)

    threading.Thread(target=watch, name="run-watch", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _create(init_context: dg.InitExecutorContext) -> dg.Executor:
    create = dg.multiprocess_executor.executor_creation_fn
    assert create is not None
    inner = create(init_context)
    if read_environment().slurm_jobs != "runs":
        inner = GpuStepJobsExecutor(inner)
    return _RunWorkerExecutor(inner)


run_worker_executor = dg.ExecutorDefinition(
    name="processes_of_a_job",
    config_schema=dg.multiprocess_executor.config_schema.as_field(),
    requirements=dg.multiple_process_executor_requirements(),
    executor_creation_fn=_create,
    description="Executes each step in a process of its own, on the node of the run's Slurm job.",
).configured({"start_method": {"forkserver": {"preload_modules": PRELOADED_MODULES}}})
