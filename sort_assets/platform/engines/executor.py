"""The executor of runs, by the engine that `SORT_ASSETS_ENGINE` names.

Whatever executes the steps, a run's worker holds the lock by which others detect its death (`LockedRunExecutor`), where
no launcher of the engine asks for that.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.config.settings import ENGINE_VARIABLE, read_environment
from sort_assets.errors import InstanceError
from sort_assets.platform.execution.executor import LockedRunExecutor, local_executor

if TYPE_CHECKING:
    # The types in the signature of dg.Executor have no public names.
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan


def chosen_executor() -> dg.ExecutorDefinition:
    """The executor of the engine that the environment names; without one, that of this machine, as ever.

    Raises
    ------
    InstanceError
        When the engine is not known, or its packages are not installed.
    """
    # Before the environment is validated, which would make every import of the definitions slower.
    if os.environ.get(ENGINE_VARIABLE, "") in ("", "local"):
        return local_executor
    engine = read_environment().engine
    try:
        if engine == "ray":
            from sort_assets.platform.engines.ray.executor import ray_executor

            return locked(ray_executor)
        if engine == "kubernetes":
            from sort_assets.platform.engines.kubernetes.executor import kubernetes_executor

            return locked(kubernetes_executor)
        if engine == "slurm":
            from sort_assets.platform.engines.slurm.run_worker import run_worker_executor

            return run_worker_executor
    except ImportError as missing:
        raise InstanceError(
            f"{ENGINE_VARIABLE} is '{engine}', and a package that this engine needs is not installed: {missing}.",
            remedy=f"Install it, on every host: pip install 'sort-assets[{engine}]'.",
        ) from missing
    return local_executor


def engine_sensors() -> list[dg.SensorDefinition]:
    """The sensors that the engine needs which the environment names: one that follows jobs, with Slurm."""
    if os.environ.get(ENGINE_VARIABLE) != "slurm":
        return []
    from sort_assets.platform.engines.slurm.run_watch import slurm_jobs

    return [slurm_jobs]


class _RemoteStepsExecutor(LockedRunExecutor):
    """Executes a run whose steps an engine starts elsewhere, and frees the run's pool slots at its end."""

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the steps."""
        try:
            yield from super().execute(plan_context, execution_plan)
        finally:
            # A canceled run does not wait for the end of its steps, and would keep the slots that they hold. The engine
            # itself gives a device to one step only.
            plan_context.instance.event_log_storage.free_concurrency_slots_for_run(plan_context.run_id)


def locked(inner: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
    """The same executor, whose run workers hold the lock by which others detect their death, and free their slots.

    Parameters
    ----------
    inner : dg.ExecutorDefinition
        Executes the steps of a run; its configuration stays what it is.
    """

    def create(context: dg.InitExecutorContext) -> dg.Executor:
        assert inner.executor_creation_fn is not None
        return _RemoteStepsExecutor(inner.executor_creation_fn(context))

    return dg.ExecutorDefinition(
        name=f"locked_{inner.name}",
        config_schema=inner.config_schema.as_field(),
        requirements=dg.multiple_process_executor_requirements(),
        executor_creation_fn=create,
        description=inner.description,
    )
