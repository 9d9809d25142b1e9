"""Where a Dagster instance keeps what it knows: PostgreSQL where the environment names one, else SQLite in the home.

`dagster.yaml` names the class here, and no address: every host reads its own environment.
"""

import importlib.util
from typing import Any

from dagster._config.config_schema import UserConfigSchema

# Without public names, though every storage for a Dagster instance is made of them (dagster-postgres, dagster-mysql).
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from sort_assets.config.settings import DAGSTER_HOME_VARIABLE, POSTGRES_VARIABLE, absolute_folder, read_environment
from sort_assets.errors import InstanceError
from sort_assets.platform.execution.sqlite_storage import keep_engines, keep_migrations


class InstanceStorage(DagsterStorage, ConfigurableClass):
    """Never instantiated: `from_config_value` gives the storage that the environment asks for."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ARG003
    ) -> DagsterStorage:
        """The storage that the environment asks for.

        Raises
        ------
        InstanceError
            When there is neither a database nor a home, or the package for PostgreSQL is not installed.
        DatabaseError
            When the database can't be used.
        """
        environment = read_environment()
        if environment.postgres_url is None:
            home = absolute_folder(DAGSTER_HOME_VARIABLE, environment.dagster_home)
            keep_engines()
            keep_migrations()
            return DagsterSqliteStorage.from_local(str(home), inst_data)
        if any(importlib.util.find_spec(package) is None for package in ("dagster_postgres", "psycopg2")):
            raise InstanceError(
                f"{POSTGRES_VARIABLE} is set, and the packages for PostgreSQL are not installed.",
                remedy="Install them where sort_assets is installed (`pip install 'sort-assets[postgres]'`), or unset "
                f"{POSTGRES_VARIABLE} to use SQLite.",
            )
        from sort_assets.platform.engines.postgres_storage import PostgresStorage

        return PostgresStorage(environment.postgres_url, inst_data)
