"""The rows of the recording catalogue: what its tables hold of entries and partitions, and how it is read."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sort_assets.errors import SortAssetsError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State

ENTRY_COLUMNS = "path, state, stamp, since, settled, checked, settings, fingerprint, problem, changed, vanished"
PARTITION_COLUMNS = "key, path, versions, run_key, run_assets, requested, forgotten"
_STATE, _STAMP, _READ_STAMP, _SETTINGS, _PROBLEM, _MISSING_SINCE = 1, 2, 4, 6, 8, 10
"""Places among `ENTRY_COLUMNS`."""
_REGISTERED, _FOREIGN = State.REGISTERED.value, State.FOREIGN.value
_CLOCK = "@clock"
"""Beside the versions of assets, where catalogues of earlier versions have nothing: no asset is called so."""

Row = tuple[Any, ...]
StreamProblems = Mapping[str, Mapping[str, SortAssetsError]]


class CatalogEntries(Mapping[str, CatalogEntry]):
    """Entries by path. Each is made of its row when it is asked for, since a scan asks for few of thousands.

    Parameters
    ----------
    rows : iterable of tuple
        With `ENTRY_COLUMNS`.
    stream_problems : mapping
        By path and stream.
    """

    def __init__(self, rows: Iterable[Row], stream_problems: StreamProblems) -> None:
        self._rows = {os.fsdecode(row[0]): row for row in rows}
        self._stream_problems = stream_problems

    def __getitem__(self, path: str) -> CatalogEntry:
        return _entry(path, self._rows[path], self._stream_problems.get(path, {}))

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def settings_if_settled(self, path: str, stamp: str, *, is_folder: bool) -> str | None:
        """The settings with which a file or folder was read; None where there may be something to do about it.

        As long as its settings stay the same, there is nothing to do about what is registered, or a file that is no
        recording, if it was read with the stamp that it has now, without a problem. A folder that is none may be one
        that left its spikes to another recording, which may be gone by now.
        """
        row = self._rows.get(path)
        if row is None or not (row[_STAMP] == row[_READ_STAMP] == stamp):
            return None
        if row[_STATE] != _REGISTERED and (is_folder or row[_STATE] != _FOREIGN):
            return None
        if row[_PROBLEM] is not None or row[_MISSING_SINCE] is not None or path in self._stream_problems:
            return None
        settings: str = row[_SETTINGS]
        return settings


def read_entries(connection: sqlite3.Connection, rows: Iterable[Row]) -> CatalogEntries:
    """The entries of rows, with the problems of their streams."""
    problems: dict[str, dict[str, SortAssetsError]] = {}
    for path, stream, problem in connection.execute("SELECT path, stream, problem FROM stream_problems"):
        problems.setdefault(os.fsdecode(path), {})[stream] = SortAssetsError.from_dict(json.loads(problem))
    return CatalogEntries(rows, problems)


def row_of_entry(entry: CatalogEntry) -> Row:
    """The row of an entry; the problems of its streams have a table of their own."""
    problem = None if entry.problem is None else json.dumps(entry.problem.to_dict())
    return (
        *(os.fsencode(entry.path), entry.state.value, entry.stamp, entry.since, entry.read_stamp, entry.checked_at),
        *(entry.settings, entry.fingerprint, problem, entry.changed_at, entry.missing_since),
    )


def partition_of(row: Row) -> CatalogPartition:
    """The partition of a row."""
    key, path, versions, run_key, run_assets, requested, forgotten = row
    assets = None if run_assets is None else tuple(json.loads(run_assets))
    observed = json.loads(versions)
    clock = observed.pop(_CLOCK, None)
    return CatalogPartition(key, os.fsdecode(path), observed, run_key, assets, requested, bool(forgotten), clock)


def row_of_partition(partition: CatalogPartition) -> Row:
    """The row of a partition."""
    assets = None if partition.run_assets is None else json.dumps(partition.run_assets)
    observed = {**partition.versions, **({} if partition.clock is None else {_CLOCK: partition.clock})}
    return (
        *(partition.key, os.fsencode(partition.path), json.dumps(observed, sort_keys=True)),
        *(partition.run_key, assets, partition.requested, partition.forgotten),
    )


def marks(columns: str) -> str:
    """The marks that stand for the values of some columns."""
    return ", ".join("?" for _ in columns.split(","))


def _entry(path: str, row: Row, stream_problems: Mapping[str, SortAssetsError]) -> CatalogEntry:
    _, state, stamp, since, read_stamp, checked_at, settings, fingerprint, problem, changed_at, missing_since = row
    return CatalogEntry(
        path=path,
        state=State(state),
        stamp=stamp,
        since=since,
        read_stamp=read_stamp,
        checked_at=checked_at,
        settings=settings,
        fingerprint=fingerprint,
        problem=None if problem is None else SortAssetsError.from_dict(json.loads(problem)),
        changed_at=changed_at,
        missing_since=missing_since,
        stream_problems=stream_problems,
    )
