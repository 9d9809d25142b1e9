"""What a Dagster instance consists of on this host: its storage, its run launcher, and the place of what steps print.

`dagster.yaml` names the three classes, without configuration and without an address. None of them is ever instantiated:
each gives what the environment of the host asks for, of Dagster's own classes where nothing else is asked for.
"""

import importlib
import importlib.util
from abc import abstractmethod
from typing import Any, cast

from dagster._config.config_schema import UserConfigSchema

# Without public names, though every package that extends an instance is made of them (dagster-postgres, dagster-aws).
from dagster._core.launcher import RunLauncher
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from sort_assets.config.settings import (
    DAGSTER_HOME_VARIABLE,
    POSTGRES_VARIABLE,
    STORE_VARIABLE,
    Environment,
    absolute_folder,
    read_environment,
)
from sort_assets.errors import InstanceError
from sort_assets.platform.engines.event_batches import SqliteStorage, hand_over_together
from sort_assets.platform.execution.local_run_launcher import LocalRunLauncher
from sort_assets.platform.execution.sqlite_storage import keep_engines, keep_migrations
from sort_assets.platform.store.layout import COMPUTE_LOGS

_LOGS_IN_HOME = "storage"


class _ChosenByEnvironment(ConfigurableClass):
    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ARG003 - there is none
    ) -> Any:
        """What the environment asks for."""
        return cls.chosen(read_environment(), inst_data)

    @classmethod
    @abstractmethod
    def chosen(cls, environment: Environment, inst_data: ConfigurableClassData | None) -> Any:
        """What an environment asks for."""


class InstanceStorage(_ChosenByEnvironment, DagsterStorage):
    """Where the instance keeps what it knows: PostgreSQL where the environment names one, else SQLite in the home."""

    @classmethod
    def chosen(cls, environment: Environment, inst_data: ConfigurableClassData | None) -> DagsterStorage:
        """The storage.

        Raises
        ------
        InstanceError
            When there is neither a database nor a home, or the package for PostgreSQL is not installed.
        DatabaseError
            When the database can't be used.
        """
        hand_over_together()
        if environment.postgres_url is None:
            home = absolute_folder(DAGSTER_HOME_VARIABLE, environment.dagster_home)
            keep_engines()
            keep_migrations()
            return SqliteStorage.from_local(str(home), inst_data)
        if any(importlib.util.find_spec(package) is None for package in ("dagster_postgres", "psycopg2")):
            raise InstanceError(
                f"{POSTGRES_VARIABLE} is set, and the packages for PostgreSQL are not installed.",
                remedy="Install them where sort_assets is installed (`pip install 'sort-assets[postgres]'`), or unset "
                f"{POSTGRES_VARIABLE} to use SQLite.",
            )
        from sort_assets.platform.engines.postgres_storage import PostgresStorage

        return PostgresStorage(environment.postgres_url, inst_data)


class EngineRunLauncher(_ChosenByEnvironment, RunLauncher):
    """Where run workers start: in jobs of Slurm or Kubernetes where runs are such jobs, or beside the code server."""

    @classmethod
    def chosen(cls, environment: Environment, inst_data: ConfigurableClassData | None) -> RunLauncher:
        """The launcher."""
        if environment.engine == "kubernetes":
            from sort_assets.platform.engines.kubernetes.run_launcher import kubernetes_run_launcher

            return kubernetes_run_launcher(inst_data)
        if not environment.runs_are_slurm_jobs:
            return LocalRunLauncher(inst_data)
        slurm = importlib.import_module("sort_assets.platform.engines.slurm.run_launcher")
        return cast(RunLauncher, slurm.SlurmRunLauncher(inst_data))


class EngineComputeLogs(_ChosenByEnvironment, ComputeLogManager):
    """Where the output of steps is kept: in the home, or below the store when steps run on other hosts."""

    @classmethod
    def chosen(cls, environment: Environment, inst_data: ConfigurableClassData | None) -> ComputeLogManager:
        """Dagster's own manager, for the folder.

        Raises
        ------
        InstanceError
            When the variable of the home is not set or, with an engine, that of the store.
        """
        if environment.engine == "local":
            folder = absolute_folder(DAGSTER_HOME_VARIABLE, environment.dagster_home) / _LOGS_IN_HOME
        else:
            folder = absolute_folder(STORE_VARIABLE, environment.store) / COMPUTE_LOGS
        return LocalComputeLogManager(str(folder), inst_data=inst_data)
