"""The events that plan a run are written in one transaction.

With each run, Dagster (1.13.27) notes every asset and check that it is going to make, some thirty events. With
`DAGSTER_EVENT_BATCH_SIZE` it hands them over together (`store_event_batch`); its storages write one after the other all
the same, three transactions for each. That takes most of the time in which a run is created.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

# Without public names, though every storage for a Dagster instance is made of them (dagster-postgres, dagster-mysql).
from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, _event_logs_directory
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection

_BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
_AT_MOST = "1000"
_PLANNING = {DagsterEventType.ASSET_MATERIALIZATION_PLANNED, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}

if TYPE_CHECKING:
    from dagster._core.storage.event_log import SqlEventLogStorage as _SqlStorage
else:
    _SqlStorage = object


def hand_over_together() -> None:
    """Let Dagster hand over in one batch what belongs together, in this process and its children.

    Whoever sets the variable to 0 turns that off.
    """
    os.environ.setdefault(_BATCH_SIZE, _AT_MOST)


class InOneTransaction(_SqlStorage):
    """Added to a Dagster event log in a database: a plan is written as its single events are, and committed once.

    Where that fails nothing of it is written, and Dagster writes its events one by one.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        self._of_thread = threading.local()
        super().__init__(*given, **named)  # type: ignore[no-untyped-call]

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Write events of one run: those that plan it in one transaction, others as Dagster does."""
        if not {event.dagster_event_type for event in events} <= _PLANNING:
            super().store_event_batch(events)
            return
        with ExitStack() as until_commit:
            self._of_thread.batch = _Batch(until_commit)
            try:
                for event in events:
                    super().store_event(event)
            finally:
                del self._of_thread.batch

    @contextmanager
    def _connect(self, *database: str) -> Iterator[Connection]:
        batch: _Batch | None = getattr(self._of_thread, "batch", None)
        if batch is None:
            with super()._connect(*database) as connection:  # type: ignore[misc]
                yield connection
            return
        if database not in batch.connections:
            batch.add(database, batch.until_commit.enter_context(super()._connect(*database)))  # type: ignore[misc]
        yield batch.connections[database]


class _Batch:
    """The connections of one batch, each in a transaction, which ends with the batch."""

    def __init__(self, until_commit: ExitStack) -> None:
        self.until_commit = until_commit
        self.connections: dict[tuple[str, ...], Connection] = {}

    def add(self, database: tuple[str, ...], connection: Connection) -> None:
        if not connection.in_transaction():  # of PostgreSQL, where each statement is a transaction otherwise
            connection = connection.execution_options(isolation_level="READ COMMITTED")
            self.until_commit.enter_context(connection.begin())
        self.connections[database] = connection


class _SqliteEventLog(InOneTransaction, SqliteEventLogStorage):
    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        # A batch writes the file of its run and that of all runs, for which Dagster's lock lets no thread in twice.
        self._db_lock = threading.RLock()  # type: ignore[assignment]


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite files, with batches."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = _SqliteEventLog(_event_logs_directory(base_dir))
