"""What a Dagster instance must provide before results are entrusted to it."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from sort_assets.config.settings import ENGINE_VARIABLE, POSTGRES_VARIABLE, read_environment
from sort_assets.errors import InstanceError
from sort_assets.platform.execution.executor import GPU_POOL

if TYPE_CHECKING:
    from dagster._serdes import ConfigurableClassData  # what an instance's reference consists of, without a public name

SETTINGS = "dagster.yaml"
_TEMPORARY_HOME = ".tmp_dagster_home_"


def refuse_temporary_instance(instance: dg.DagsterInstance) -> None:
    """Refuse an instance whose history is lost when its process ends.

    Raises
    ------
    InstanceError
        When `DAGSTER_HOME` was not set, so that Dagster made a temporary instance.
    """
    if instance.is_ephemeral or Path(instance.root_directory).name.startswith(_TEMPORARY_HOME):
        raise InstanceError(
            "This Dagster instance is temporary: everything it knows is lost when it stops.",
            remedy="Run in the folder that `sort-assets init` or `make install` set up, whose .env file sets "
            "DAGSTER_HOME, or set it to an absolute path.",
        )


def refuse_other_engine(instance: dg.DagsterInstance) -> None:
    """Refuse an instance with which runs would go elsewhere than the environment says.

    Raises
    ------
    InstanceError
        When a person's `dagster.yaml` names other classes than ours.
    """
    lacking = _missing_for_engine(instance)
    if lacking:
        raise InstanceError(
            f"The {SETTINGS} of '{instance.root_directory}' lacks what the environment asks for: {'; '.join(lacking)}.",
            remedy=f"Replace it by sort_assets' {SETTINGS}, or add its entries `storage`, `run_launcher` and "
            f"`compute_logs`; or unset {ENGINE_VARIABLE} and {POSTGRES_VARIABLE}.",
        )


def _missing_for_engine(instance: dg.DagsterInstance) -> list[str]:
    """The entries of sort_assets' `dagster.yaml` that an instance lacks for the engine, each with its consequence."""
    environment, reference = read_environment(), instance.get_ref()
    missing = []
    if environment.postgres_url is not None and _is(reference.storage_data, "DagsterSqliteStorage"):
        missing.append(f"it has no `storage` of sort_assets, so that {POSTGRES_VARIABLE} is not used")
    if environment.runs_are_slurm_jobs and _is(reference.run_launcher_data, "DefaultRunLauncher"):
        missing.append("it has no `run_launcher` of sort_assets, so that all runs would start on this host")
    if environment.engine != "local" and _is(reference.compute_logs_data, "LocalComputeLogManager"):
        missing.append("it has no `compute_logs` of sort_assets, so that the output of steps would stay on other hosts")
    return missing


def _is(part: "ConfigurableClassData | None", class_name: str) -> bool:
    return part is not None and part.class_name == class_name


def missing_settings(instance: dg.DagsterInstance) -> list[str]:
    """The settings of sort_assets' `dagster.yaml` that an instance lacks, each with its consequence."""
    missing = _missing_for_engine(instance)
    limited = {info.name for info in instance.event_log_storage.get_pool_limits()}
    if GPU_POOL not in limited and instance.global_op_concurrency_default_limit is None:
        missing.append(f"the pool '{GPU_POOL}' has no limit, so sorts of several runs would start at once")
    if not instance.run_monitoring_enabled:
        missing.append("run_monitoring is off, so runs that hang while starting or stopping stay so")
    if not instance.run_monitoring_settings.get("free_slots_after_run_end_seconds"):
        missing.append("free_slots_after_run_end_seconds is not set, so a killed run would keep its GPU slot for ever")
    return missing
