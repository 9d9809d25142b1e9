"""The executor whose steps are jobs of Kubernetes. dagster-k8s is imported by run workers only."""

import dagster as dg
from dagster._core.execution.retries import RetryMode, get_retries_config

# Without a public name, though every executor of this kind is made of it (dagster-k8s, dagster-docker, dagster-ray).
from dagster._core.executor.step_delegating import StepDelegatingExecutor

from sort_assets.config.settings import ENGINE_VARIABLE
from sort_assets.errors import InstanceError


@dg.executor(
    name="kubernetes",
    config_schema={"retries": get_retries_config()},
    requirements=dg.multiple_process_executor_requirements(),
)
def kubernetes_executor(init_context: dg.InitExecutorContext) -> dg.Executor:
    """Executes each step as a job of Kubernetes, in a pod like the run's that has what the step needs."""
    from dagster_k8s import K8sRunLauncher

    from sort_assets.platform.engines.kubernetes.step_handler import KubernetesJobHandler

    launcher = init_context.instance.run_launcher
    if not isinstance(launcher, K8sRunLauncher):
        raise InstanceError(
            f"{ENGINE_VARIABLE} is 'kubernetes', and dagster.yaml has another run launcher than that of sort_assets.",
            remedy="Use sort_assets' dagster.yaml, whose run launcher follows the engine.",
        )
    return StepDelegatingExecutor(
        KubernetesJobHandler(launcher),
        retries=RetryMode.from_config(init_context.executor_config["retries"]),  # type: ignore[arg-type]
        should_verify_step=True,
    )
