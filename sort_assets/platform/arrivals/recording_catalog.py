"""The recording catalogue: everything that was ever found below the recordings root, in one SQLite file of the home.

SQLite wants a disk of one machine, and only the sensors and commands of the control host use the catalogue: so it lies
beside Dagster's own files. Steps, which may run on other hosts, do not need it. Earlier versions kept it in the store;
that one is copied once, and stays as it is for those who still use it.

For each file or folder that may be a recording it says whether it is complete, unchanged, registered, or why not, so
that a scan of 50,000 known recordings opens none of them. Results do not depend on it: when it is lost, all recordings
are read once more.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sort_assets.config.settings import read_environment
from sort_assets.errors import SortAssetsError, StorageError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.arrivals.catalog_rows import (
    ENTRY_COLUMNS,
    PARTITION_COLUMNS,
    CatalogEntries,
    marks,
    partition_of,
    read_entries,
    row_of_entry,
    row_of_partition,
)
from sort_assets.platform.store.files import sync
from sort_assets.platform.store.locks import exclusive_lock

CATALOG_NAME = "recordings.sqlite"
_LOCK_NAME = "recordings.lock"
NAME_IN_STORE = "@recordings.sqlite"
"""Of earlier versions, and where there is no Dagster home."""
_LOCK_IN_STORE = "@recordings.lock"
_MOVE_LOCK = "recordings.move.lock"
_LAYOUT = 2
_WALK_POSITION = "walked_to"
_BUSY_TIMEOUT_S = 20.0
_TABLES = """
CREATE TABLE IF NOT EXISTS recordings (
    path BLOB PRIMARY KEY,  -- relative to the recordings root, as the file system's bytes
    state TEXT NOT NULL,
    stamp TEXT NOT NULL,
    since REAL NOT NULL,
    settled TEXT,
    checked REAL NOT NULL,
    settings TEXT NOT NULL,
    fingerprint TEXT,
    problem TEXT,
    changed REAL,
    vanished REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS partitions (
    key TEXT PRIMARY KEY,
    path BLOB NOT NULL,
    versions TEXT NOT NULL,
    run_key TEXT,
    run_assets TEXT,
    requested INTEGER,
    forgotten INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS partitions_by_path ON partitions (path);
CREATE INDEX IF NOT EXISTS partitions_wanted ON partitions (run_key) WHERE run_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_STREAM_PROBLEMS = (
    "TABLE IF NOT EXISTS stream_problems (path BLOB, stream TEXT, problem TEXT NOT NULL, PRIMARY KEY (path, stream))"
    " WITHOUT ROWID;"
)
"""Since layout 2."""


class RecordingCatalog:
    """The catalogue's file, opened by each method and created when it is missing.

    Any number of processes may use it. Each method is one transaction; a caller that changes what it has read before
    holds the lock of `exclusive` meanwhile.

    Parameters
    ----------
    store : Path
        The store's root, where earlier versions kept the catalogue.
    home : Path or None
        The Dagster home, where it is kept; None asks the environment.
    read_only : bool
        Whether nothing is to be written; where the file is missing, the catalogue is empty.
    """

    def __init__(self, store: Path, *, home: Path | None = None, read_only: bool = False) -> None:
        home = home or read_environment().dagster_home
        self._in_store = store / NAME_IN_STORE
        self.file = self._in_store if home is None else home / CATALOG_NAME
        self._read_only = read_only

    @contextmanager
    def exclusive(self, *, wait: bool = True) -> Iterator[None]:
        """Hold the lock without which nobody registers or forgets recordings.

        Raises
        ------
        Locked
            When another process holds it, and `wait` is off.
        """
        name = _LOCK_IN_STORE if self.file == self._in_store else _LOCK_NAME
        with exclusive_lock(self.file.with_name(name), wait=wait, make_folder=True):
            yield

    def all(self) -> CatalogEntries:
        """All entries, by path."""
        with self._open() as connection:
            return read_entries(connection, connection.execute(f"SELECT {ENTRY_COLUMNS} FROM recordings"))

    def get(self, path: str) -> CatalogEntry | None:
        """The entry of a path."""
        with self._open() as connection:
            rows = connection.execute(f"SELECT {ENTRY_COLUMNS} FROM recordings WHERE path = ?", [os.fsencode(path)])
            return read_entries(connection, rows).get(path)

    def counts(self) -> dict[State, int]:
        """The number of entries by state."""
        with self._open() as connection:
            rows = connection.execute("SELECT state, COUNT(*) FROM recordings GROUP BY state")
            return {State(state): int(count) for state, count in rows}

    def with_problems(self, limit: int | None = None) -> list[CatalogEntry]:
        """Entries with a problem, of a stream perhaps, and missing ones, by path; without those a person forgot."""
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {ENTRY_COLUMNS} FROM recordings WHERE state <> ?"
                " AND (problem IS NOT NULL OR vanished IS NOT NULL OR path IN (SELECT path FROM stream_problems))"
                " ORDER BY path LIMIT ?",
                [State.FORGOTTEN.value, -1 if limit is None else limit],
            )
            return [*read_entries(connection, rows).values()]

    def num_stream_problems(self) -> int:
        """The number of streams that can't be registered, though others of their recordings are."""
        with self._open() as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM stream_problems").fetchone()
            return int(count)

    def unregistered(self) -> list[CatalogEntry]:
        """Entries of what may be a recording and is no partition, by path; files known to be none are left out."""
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {ENTRY_COLUMNS} FROM recordings WHERE state NOT IN (?, ?) ORDER BY path",
                [State.REGISTERED.value, State.FOREIGN.value],
            )
            return [*read_entries(connection, rows).values()]

    def registered_paths(self) -> list[str]:
        """The paths of all that is registered."""
        with self._open() as connection:
            rows = connection.execute("SELECT path FROM recordings WHERE state = ?", [State.REGISTERED.value])
            return [os.fsdecode(path) for (path,) in rows]

    def seen_since(self, since: float) -> list[CatalogEntry]:
        """Entries that arrived, grew, were read or refused, or were found missing since a time, by path.

        Without files that are no recordings, and what rules or people say to leave alone.

        Parameters
        ----------
        since : float
            In seconds since 1970.
        """
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {ENTRY_COLUMNS} FROM recordings WHERE state IN (?, ?, ?)"
                " AND (since >= ? OR checked >= ? OR vanished >= ?) ORDER BY path",
                [State.WAITING.value, State.REGISTERED.value, State.PROBLEM.value, *(3 * [since])],
            )
            return [*read_entries(connection, rows).values()]

    def missing_with_fingerprint(self, fingerprint: str) -> list[str]:
        """Paths of the missing recordings that had this content, in order."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT path FROM recordings WHERE vanished IS NOT NULL AND fingerprint = ? ORDER BY path",
                [fingerprint],
            )
            return [os.fsdecode(path) for (path,) in rows]

    def bind_to_instance(self, instance: str) -> bool:
        """Note the Dagster instance that the catalogue belongs to; returns whether it was another one until now.

        What was registered in another instance is no partition of this one, so it arrives once more.
        """
        with self._open() as connection:
            before = _note(connection, "instance")
            _set_note(connection, "instance", instance)
            if before in (None, instance):
                return False
            connection.execute(
                "UPDATE recordings SET settled = NULL, state = ? WHERE state = ?",
                [State.WAITING.value, State.REGISTERED.value],
            )
            connection.execute("DELETE FROM partitions WHERE NOT forgotten")
            return True

    def changed_since(self, since: float) -> list[str]:
        """Paths of the recordings whose content has changed since a time, in order."""
        with self._open() as connection:
            rows = connection.execute("SELECT path FROM recordings WHERE changed >= ? ORDER BY path", [since])
            return [os.fsdecode(path) for (path,) in rows]

    def put(self, *entries: CatalogEntry) -> None:
        """Write entries, in place of those of the same paths."""
        with self._open() as connection:
            connection.executemany(
                f"REPLACE INTO recordings ({ENTRY_COLUMNS}) VALUES ({marks(ENTRY_COLUMNS)})", map(row_of_entry, entries)
            )
            connection.executemany(
                "DELETE FROM stream_problems WHERE path = ?", [[os.fsencode(entry.path)] for entry in entries]
            )
            connection.executemany(
                "INSERT INTO stream_problems VALUES (?, ?, ?)",
                [
                    (os.fsencode(entry.path), stream, json.dumps(problem.to_dict()))
                    for entry in entries
                    for stream, problem in entry.stream_problems.items()
                ],
            )

    def remove(self, *paths: str) -> None:
        """Remove the entries of some paths, and their partitions."""
        encoded = [[os.fsencode(path)] for path in paths]
        with self._open() as connection:
            connection.executemany("DELETE FROM recordings WHERE path = ?", encoded)
            connection.executemany("DELETE FROM stream_problems WHERE path = ?", encoded)
            connection.executemany("DELETE FROM partitions WHERE path = ?", encoded)

    def partitions(self, paths: Iterable[str] | None = None) -> list[CatalogPartition]:
        """The partitions of some recordings, or of all."""
        with self._open() as connection:
            if paths is None:
                return [*map(partition_of, connection.execute(f"SELECT {PARTITION_COLUMNS} FROM partitions"))]
            select = f"SELECT {PARTITION_COLUMNS} FROM partitions WHERE path = ? ORDER BY key"
            encoded = map(os.fsencode, paths)
            return [partition_of(row) for path in encoded for row in connection.execute(select, [path]).fetchall()]

    def put_partitions(self, *partitions: CatalogPartition) -> None:
        """Write partitions, in place of those of the same keys."""
        with self._open() as connection:
            connection.executemany(
                f"REPLACE INTO partitions ({PARTITION_COLUMNS}) VALUES ({marks(PARTITION_COLUMNS)})",
                map(row_of_partition, partitions),
            )

    def remove_partitions(self, *keys: str) -> None:
        """Remove partitions from the catalogue."""
        with self._open() as connection:
            connection.executemany("DELETE FROM partitions WHERE key = ?", [[key] for key in keys])

    def pending_runs(self, limit: int) -> list[CatalogPartition]:
        """Partitions that wait for a run that was not requested yet, in the order in which they were registered."""
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {PARTITION_COLUMNS} FROM partitions JOIN recordings USING (path)"
                " WHERE run_key IS NOT NULL AND requested IS NULL AND state = ? AND vanished IS NULL"
                " ORDER BY recordings.checked, key LIMIT ?",
                [State.REGISTERED.value, limit],
            )
            return [*map(partition_of, rows)]

    def num_pending_runs(self) -> int:
        """The number of partitions that wait for a run that was not requested yet."""
        with self._open() as connection:
            (count,) = connection.execute(
                "SELECT COUNT(*) FROM partitions JOIN recordings USING (path)"
                " WHERE run_key IS NOT NULL AND requested IS NULL AND state = ? AND vanished IS NULL",
                [State.REGISTERED.value],
            ).fetchone()
            return int(count)

    def request_run(self, key: str, run_key: str, assets: tuple[str, ...] | None = None) -> bool:
        """Have the sensor's next tick request a run; returns whether the catalogue has the partition."""
        with self._open() as connection:
            changed = connection.execute(
                "UPDATE partitions SET run_key = ?, run_assets = ?, requested = NULL WHERE key = ?",
                [run_key, None if assets is None else json.dumps(assets), key],
            )
            return changed.rowcount > 0

    def mark_requested(self, keys: Iterable[str], tick: int) -> None:
        """Note the tick that requests the runs of these partitions."""
        with self._open() as connection:
            connection.executemany("UPDATE partitions SET requested = ? WHERE key = ?", [[tick, key] for key in keys])

    def begin_tick(self, delivered: int) -> int:
        """Begin a tick of the sensor; returns its number.

        Parameters
        ----------
        delivered : int
            Number of the last tick whose requests Dagster has certainly received, so that they are done. Those of later
            ticks may have been lost, and are made again.
        """
        with self._open() as connection:
            connection.execute(
                "UPDATE partitions SET run_key = NULL, run_assets = NULL, requested = NULL WHERE requested <= ?",
                [delivered],
            )
            connection.execute("UPDATE partitions SET requested = NULL WHERE requested IS NOT NULL")
            tick = max(delivered, int(_note(connection, "tick") or 0)) + 1
            _set_note(connection, "tick", str(tick))
            return tick

    def walk_position(self) -> tuple[str, ...]:
        """Where the next walk through the recordings root continues; empty for its beginning."""
        return tuple(json.loads(self.note(_WALK_POSITION) or "[]"))

    def set_walk_position(self, position: tuple[str, ...]) -> None:
        """Keep where the next walk through the recordings root continues."""
        self.set_note(_WALK_POSITION, json.dumps(position))

    def note(self, name: str) -> str | None:
        """A named value that belongs to no single recording."""
        with self._open() as connection:
            return _note(connection, name)

    def set_note(self, name: str, value: str) -> None:
        """Keep a named value that belongs to no single recording."""
        with self._open() as connection:
            _set_note(connection, name, value)

    def _connect(self) -> sqlite3.Connection:
        if not self._read_only:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._copy_from_store()
            return sqlite3.connect(self.file, timeout=_BUSY_TIMEOUT_S)
        for file in (self.file, self._in_store):
            if not file.exists():
                continue
            connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)
            if connection.execute("PRAGMA user_version").fetchone() != (0,):
                return connection
            connection.close()  # another process is about to make its tables
        return sqlite3.connect(":memory:")

    def _copy_from_store(self) -> None:
        """Begin with the catalogue that an earlier version kept in the store: what is forgotten stays forgotten."""
        if self.file == self._in_store or self.file.exists() or not self._in_store.exists():
            return
        with exclusive_lock(self.file.with_name(_MOVE_LOCK), wait=True):
            if self.file.exists():
                return
            fresh = self.file.with_name(f"{self.file.name}.fresh")
            fresh.unlink(missing_ok=True)
            with closing(sqlite3.connect(fresh)) as after:
                try:
                    with closing(sqlite3.connect(self._in_store, timeout=_BUSY_TIMEOUT_S)) as before:
                        before.backup(after)
                except sqlite3.Error as error:
                    raise StorageError(
                        f"The recording catalogue of an earlier version, '{self._in_store}', can't be copied into the "
                        f"home: {error}.",
                        remedy="Check that both disks are mounted and writable, that the home's is not full, and that "
                        "no earlier version is running. If the file is damaged, move it elsewhere: recordings are then "
                        "read once more, and what was forgotten has to be forgotten again.",
                    ) from error
            sync(fresh)
            fresh.replace(self.file)
            sync(self.file.parent)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connect()) as connection, connection:
                (layout,) = connection.execute("PRAGMA user_version").fetchone()
                if layout > _LAYOUT:
                    raise StorageError(
                        f"'{self.file}' was written by a newer sort_assets.",
                        remedy="Update this installation; or remove the file: recordings are then read once more, "
                        "and what was forgotten has to be forgotten again.",
                    )
                if 0 < layout < _LAYOUT and self._read_only:  # what an older version wrote
                    connection.execute(f"CREATE TEMP {_STREAM_PROBLEMS}")
                elif layout < _LAYOUT:
                    connection.executescript(f"{_TABLES} CREATE {_STREAM_PROBLEMS} PRAGMA user_version = {_LAYOUT};")
                yield connection
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, SortAssetsError):
                raise
            raise StorageError(
                f"'{self.file}' can't be used: {error}.",
                remedy="Check that its disk is mounted, writable and not full. If the file is damaged, remove "
                "it: recordings are then read once more, and what was forgotten has to be forgotten again.",
            ) from error


def _note(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM notes WHERE name = ?", [name]).fetchone()
    return str(row[0]) if row else None


def _set_note(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("REPLACE INTO notes (name, value) VALUES (?, ?)", [name, value])
