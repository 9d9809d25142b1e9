"""Dagster's migrations of its databases, read once by each process instead of three times by each that it opens.

Whoever opens an instance in SQLite compares the version of each database with the newest migration. For that, alembic
imports 89 files each time (Dagster 1.13.27): nine tenths of the time in which an instance is opened, in every step and
every tick of a sensor.
"""

import functools
from typing import Any

_OF_DAGSTER = "dagster:_core/storage/alembic"


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
