"""The executor whose steps are jobs of Ray. dagster-ray is imported by run workers only, since that takes a second."""

import importlib.util

import dagster as dg
from dagster._core.execution.retries import RetryMode, get_retries_config

# Without a public name, though every executor of this kind is made of it (dagster-k8s, dagster-docker, dagster-ray).
from dagster._core.executor.step_delegating import StepDelegatingExecutor

from sort_assets.config.settings import ENGINE_VARIABLE, read_environment
from sort_assets.errors import InstanceError

_HEALTH_CHECK_S = 10


@dg.executor(
    name="ray",
    config_schema={"retries": get_retries_config()},
    requirements=dg.multiple_process_executor_requirements(),
)
def ray_executor(init_context: dg.InitExecutorContext) -> dg.Executor:
    """Executes each step as a job of the Ray that `SORT_ASSETS_RAY_ADDRESS` names."""
    if any(importlib.util.find_spec(package) is None for package in ("ray", "dagster_ray")):
        raise InstanceError(
            f"{ENGINE_VARIABLE} is 'ray', and the packages for Ray are not installed.",
            remedy="Install them on the control host and on every node: pip install 'sort-assets[ray]'.",
        )
    from sort_assets.platform.engines.ray.step_handler import RayJobHandler

    return StepDelegatingExecutor(
        RayJobHandler(read_environment().ray_address),
        retries=RetryMode.from_config(init_context.executor_config["retries"]),  # type: ignore[arg-type]
        check_step_health_interval_seconds=_HEALTH_CHECK_S,
        should_verify_step=True,
    )
