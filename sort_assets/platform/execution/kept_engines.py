"""SQLAlchemy's engines of Dagster's SQLite files, kept by a process instead of made for each query.

An engine remembers how it has compiled each statement. Dagster (1.13.27) makes one per query, so that every event of a
step and every look of the daemon compiles its statements again: a fifth of the time of an event, two fifths of that of
a small query. The engines hold no connection, so that processes that are forked may use them.
"""

import functools
from typing import Any

_MOST = 32
"""Each run has a file of its own; of those that are asked for in turn, that many are kept."""


@functools.cache
def keep_engines() -> None:
    """Let Dagster's SQLite storage keep its engines in this process, and in what is forked from it."""
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage
    from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
    from sqlalchemy import Engine, NullPool, create_engine

    @functools.lru_cache(_MOST)
    def kept(url: str, connect_args: tuple[tuple[str, Any], ...]) -> Engine:
        return create_engine(url, poolclass=NullPool, connect_args=dict(connect_args))

    def create_or_keep(url: str, **given: Any) -> Engine:
        if given.get("poolclass") is not NullPool or not set(given) <= {"poolclass", "connect_args"}:
            return create_engine(url, **given)
        return kept(url, tuple(sorted(given.get("connect_args", {}).items())))

    for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        module.create_engine = create_or_keep  # type: ignore[attr-defined]
