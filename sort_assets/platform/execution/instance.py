"""What a Dagster instance must provide before results are entrusted to it."""

from pathlib import Path

import dagster as dg

from sort_assets.errors import InstanceError
from sort_assets.platform.execution.executor import GPU_POOL

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


def missing_settings(instance: dg.DagsterInstance) -> list[str]:
    """The settings of sort_assets' `dagster.yaml` that an instance lacks, each with its consequence."""
    missing = []
    limited = {info.name for info in instance.event_log_storage.get_pool_limits()}
    if GPU_POOL not in limited and instance.global_op_concurrency_default_limit is None:
        missing.append(f"the pool '{GPU_POOL}' has no limit, so sorts of several runs would start at once")
    if not instance.run_monitoring_enabled:
        missing.append("run_monitoring is off, so runs that hang while starting or stopping stay so")
    if not instance.run_monitoring_settings.get("free_slots_after_run_end_seconds"):
        missing.append("free_slots_after_run_end_seconds is not set, so a killed run would keep its GPU slot for ever")
    return missing
