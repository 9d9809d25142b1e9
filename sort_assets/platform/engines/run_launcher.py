"""Where run workers start: in jobs of Slurm or Kubernetes where the environment says so, or beside the code server."""

import importlib
from typing import Any, cast

import dagster as dg
from dagster._config.config_schema import UserConfigSchema

# Without a public name, though every run launcher is made of it.
from dagster._core.launcher import RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from sort_assets.config.settings import read_environment


class EngineRunLauncher(RunLauncher, ConfigurableClass):
    """Never instantiated: `from_config_value` gives the launcher of the engine that the environment names."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ARG003
    ) -> RunLauncher:
        """The launcher of Slurm or Kubernetes where runs are their jobs; else Dagster's own."""
        environment = read_environment()
        if environment.engine == "kubernetes":
            from sort_assets.platform.engines.kubernetes.run_launcher import kubernetes_run_launcher

            return kubernetes_run_launcher(inst_data)
        if not environment.runs_are_slurm_jobs:
            return dg.DefaultRunLauncher(inst_data)
        slurm = importlib.import_module("sort_assets.platform.engines.slurm.run_launcher")
        return cast(RunLauncher, slurm.SlurmRunLauncher(inst_data))
