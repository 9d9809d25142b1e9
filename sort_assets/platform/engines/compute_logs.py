"""Where the output of steps is kept: in the home, or below the store when steps run on other hosts."""

from pathlib import Path
from typing import Any

from dagster._config.config_schema import UserConfigSchema

# Without public names, though every manager of logs is made of them (dagster-aws, dagster-gcp).
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from sort_assets.config.settings import (
    DAGSTER_HOME_VARIABLE,
    STORE_VARIABLE,
    Environment,
    absolute_folder,
    read_environment,
)
from sort_assets.platform.store.layout import COMPUTE_LOGS

_IN_HOME = "storage"


class EngineComputeLogs(ComputeLogManager, ConfigurableClass):
    """Never instantiated: `from_config_value` gives Dagster's own for the right folder."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ARG003
    ) -> ComputeLogManager:
        """Dagster's own for the folder of this host."""
        return LocalComputeLogManager(str(compute_logs_folder(read_environment())), inst_data=inst_data)


def compute_logs_folder(environment: Environment) -> Path:
    """The folder of the output of steps.

    Raises
    ------
    InstanceError
        When the variable of the home is not set or, with an engine, that of the store.
    """
    if environment.engine == "local":
        return absolute_folder(DAGSTER_HOME_VARIABLE, environment.dagster_home) / _IN_HOME
    return absolute_folder(STORE_VARIABLE, environment.store) / COMPUTE_LOGS
