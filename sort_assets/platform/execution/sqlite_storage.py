"""What Dagster (1.13.27) makes anew whenever it asks its SQLite files, kept by a process and by what is forked from it.

Engines: one of SQLAlchemy remembers how it has compiled each statement. Dagster makes one per query, so that every
event of a step and every look of the daemon compiles its statements again: a fifth of the time of an event, two fifths
of that of a small query. Engines hold no connection, so that processes that are forked may use them.

Migrations: whoever opens an instance compares the version of each of its databases with the newest migration. For that,
alembic imports 89 files three times: nine tenths of the time in which an instance is opened, in every step and every
tick of a sensor.
"""

import functools
from typing import Any

_MOST = 32
"""Each run has a file of its own; of those that are asked for in turn, that many are kept."""
_OF_DAGSTER = "dagster:_core/storage/alembic"


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


@functools.cache
def keep_migrations() -> None:
    """Let this process, and what is forked from it, keep those that it has read."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    read = ScriptDirectory.from_config
    kept: dict[str, ScriptDirectory] = {}

    def from_config(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location")
        if location != _OF_DAGSTER:
            return read(config)
        if location not in kept:
            kept[location] = read(config)
        return kept[location]

    ScriptDirectory.from_config = from_config  # type: ignore[method-assign]


def read_migrations() -> None:
    """Read them now, for what will be forked from this process."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    keep_migrations()
    config: Any = Config()
    config.set_main_option("script_location", _OF_DAGSTER)
    ScriptDirectory.from_config(config).as_revision_number("head")
