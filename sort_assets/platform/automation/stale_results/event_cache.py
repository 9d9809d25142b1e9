"""A cache of the events of results, kept for the next process.

Dagster's daemon starts its code server anew every minute, and reading an event takes a millisecond. When the cache is
lost, or belongs to another instance, all events are read once more.
"""

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg

FILE_NAME = "staleness.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS events (asset TEXT, id INTEGER, event TEXT NOT NULL, PRIMARY KEY (asset, id)) WITHOUT ROWID
"""
_ROWS_KEPT = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadEvent:
    """What is needed of an event, a materialization or an observation.

    Attributes
    ----------
    time : float
        In seconds since 1970.
    version, code_version : str or None
        The data version, and the version of the code that made it.
    made_from : Mapping[str, int or None]
        By upstream asset, the number of the event of what was read; None where there was none.
    """

    time: float
    version: str | None
    code_version: str | None
    made_from: Mapping[str, int | None]


class EventCache:
    """Events by asset and number, in a file.

    Parameters
    ----------
    file : Path
        Created when an event is added.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def of_instance(cls, instance: dg.DagsterInstance) -> "EventCache":
        """The cache of an instance, in its home."""
        return cls(Path(instance.root_directory) / FILE_NAME)

    def load(self, instance: dg.DagsterInstance) -> dict[str, dict[int, ReadEvent]]:
        """All events; none when they belong to another instance, whose numbers mean something else."""
        events: dict[str, dict[int, ReadEvent]] = {}
        if not self._file.exists():
            return events
        try:
            with self._open() as connection:
                for asset, number, text in connection.execute("SELECT asset, id, event FROM events"):
                    events.setdefault(asset, {})[number] = ReadEvent(**json.loads(text))
        except (sqlite3.Error, ValueError, TypeError) as error:
            _log.warning("'%s' can't be read (%s); all events are read once more.", self._file, error)
            self._file.unlink()
            return {}
        num_rows = sum(map(len, events.values()))
        if 0 < num_rows <= _ROWS_KEPT and all(_is_of(instance, *one) for one in events.items()):
            return events
        self._file.unlink(missing_ok=True)
        return {}

    def add(self, asset: str, events: Mapping[int, ReadEvent]) -> None:
        """Add events of an asset."""
        rows = [(asset, number, json.dumps(asdict(event))) for number, event in events.items()]
        try:
            with self._open() as connection:
                connection.executemany("REPLACE INTO events (asset, id, event) VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            _log.warning("'%s' can't be written (%s); the next process reads these events again.", self._file, error)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=20.0)) as connection, connection:
            connection.execute(_TABLES)
            yield connection


def _is_of(instance: dg.DagsterInstance, asset: str, events: Mapping[int, ReadEvent]) -> bool:
    """Whether an instance has the newest of these events, with the same time."""
    number = max(events)
    wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), storage_ids=[number])
    for fetch in (instance.fetch_materializations, instance.fetch_observations):
        for record in fetch(wanted, limit=1).records:
            return record.timestamp == events[number].time
    return False
