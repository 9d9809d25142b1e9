"""A Dagster instance in PostgreSQL that survives a restart of the server."""

import functools
import inspect
import logging
import time
from collections.abc import Callable
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

from sort_assets.errors import DatabaseError
from sort_assets.platform.engines.event_batches import InOneTransaction
from sort_assets.platform.engines.postgres_connection import prepare_address
from sort_assets.platform.execution.database_wait import database_wait_s

_READING = ("get_", "has_", "fetch_", "check_", "all_", "can_read_")
_WRITING_WHAT_MAY_BE_WRITTEN_TWICE = {
    # An event that was written although the answer was lost stands in the log twice, which does no harm.
    *("store_event", "store_event_batch"),
    *("claim_concurrency_slot", "free_concurrency_slot_for_step", "free_concurrency_slots_for_run"),
    *("set_concurrency_slots", "initialize_concurrency_limit_to_default"),
    *("add_dynamic_partitions", "delete_dynamic_partition", "update_asset_cached_status_data"),
    *("handle_run_event", "add_run_tags", "add_daemon_heartbeat", "set_cursor_values"),
    *("add_snapshot", "add_job_snapshot", "add_execution_plan_snapshot", "update_backfill"),
    *("update_instigator_state", "update_tick"),
}
_TRIES = 5
_DISK_FULL = "53100"
_PAUSE_S = 2.0
_LOG = logging.getLogger(__name__)


class _EventLog(InOneTransaction, PostgresEventLogStorage):
    pass


class PostgresStorage(DagsterStorage, ConfigurableClass):
    """The storage of an instance in a PostgreSQL database.

    Parameters
    ----------
    secret : SecretStr
        The address of the database, with user and password.
    inst_data : ConfigurableClassData or None
        What `dagster.yaml` says of it; it travels to other hosts, and names no address.
    """

    def __init__(self, secret: SecretStr, inst_data: ConfigurableClassData | None = None) -> None:
        address = prepare_address(secret)
        self._inst_data = inst_data
        self._runs: RunStorage = _asking_again(PostgresRunStorage)(address)
        self._events: EventLogStorage = _asking_again(_EventLog)(address)
        self._schedules: ScheduleStorage = _asking_again(PostgresScheduleStorage)(address)
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What `dagster.yaml` says of it."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "PostgresStorage":
        """Only `InstanceStorage` makes one."""
        raise NotImplementedError

    @property
    def event_log_storage(self) -> EventLogStorage:
        """Events, materializations, partitions and pools."""
        return self._events

    @property
    def run_storage(self) -> RunStorage:
        """Runs and heartbeats."""
        return self._runs

    @property
    def schedule_storage(self) -> ScheduleStorage:
        """Sensors, schedules and their ticks."""
        return self._schedules

    # Of instances whose settings name the parts one by one, which ours don't.
    @property
    def event_storage_data(self) -> None:
        """Nothing."""
        return

    @property
    def run_storage_data(self) -> None:
        """Nothing."""
        return

    @property
    def schedule_storage_data(self) -> None:
        """Nothing."""
        return


@functools.cache
def _asking_again(storage: type) -> Any:
    """The class whose methods ask again after the server has cut the connection, where twice does no harm."""
    methods = {
        name: _asked_again(method)
        for name, method in inspect.getmembers(storage, inspect.isfunction)
        if name.startswith(_READING) or name in _WRITING_WHAT_MAY_BE_WRITTEN_TWICE
    }
    return type(storage)(storage.__name__, (storage,), {"__module__": __name__, **methods})


def _asked_again(ask: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(ask)
    def asked(*args: Any, **kwargs: Any) -> Any:
        began, cut = time.monotonic(), 0
        while True:
            try:
                return ask(*args, **kwargs)
            except DBAPIError as error:
                if error.connection_invalidated and cut < _TRIES:
                    cut += 1  # the next connection waits until the server is back
                elif getattr(error.orig, "pgcode", None) == _DISK_FULL:
                    _wait_for_space(time.monotonic() - began)
                else:
                    raise

    return asked


def _wait_for_space(waited_s: float) -> None:
    """Wait for a moment; the statement that had no room has written nothing.

    Raises
    ------
    DatabaseError
        When the disk has been full for too long.
    """
    if waited_s + _PAUSE_S > database_wait_s():
        raise DatabaseError(
            f"The disk of the PostgreSQL server has been full for {waited_s:.0f} s, so that nothing can be recorded.",
            remedy="Free space on the disk of its data folder (`SHOW data_directory`); "
            "`sort-assets gc --logs-older-than DAYS` removes logs of old runs. "
            "Then launch what failed again with `sort-assets retry-failed`.",
        ) from None
    _LOG.warning("The disk of the PostgreSQL server is full; waiting for space.")
    time.sleep(_PAUSE_S)
