"""What is known of everything that ever lay below the recordings root: one SQLite file in the store.

It answers, for each file or folder that may be a recording, whether it is new, complete, unchanged, registered, or why
not, so that a look at 50,000 known recordings opens none of them. Results do not depend on it: when it is lost, all
recordings are looked at once more.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sort_assets.errors import SortAssetsError, StorageError
from sort_assets.platform.arrivals.catalog_entry import CatalogEntry, CatalogPartition, State
from sort_assets.platform.store.locks import exclusive_lock

CATALOG_NAME = "@recordings.sqlite"
_LOCK_NAME = "@recordings.lock"
_LAYOUT = 1
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


class RecordingCatalog:
    """The file, opened when it is used and created when it is missing.

    Any number of processes may use it. Each method is one transaction; who changes what he has read holds `exclusive`.

    Parameters
    ----------
    store : Path
        The store's root.
    read_only : bool
        Whether nothing is to be written; where the file is missing, nothing is known.
    """

    def __init__(self, store: Path, *, read_only: bool = False) -> None:
        self.file = store / CATALOG_NAME
        self._read_only = read_only

    @contextmanager
    def exclusive(self, *, wait: bool = True) -> Iterator[None]:
        """Nobody else registers or forgets recordings meanwhile.

        Raises
        ------
        Locked
            When somebody does, and `wait` is off.
        """
        with exclusive_lock(self.file.with_name(_LOCK_NAME), wait=wait, make_folder=True):
            yield

    def all(self) -> dict[str, CatalogEntry]:
        """Everything known, by path."""
        with self._open() as connection:
            return {
                known.path: known for known in map(_known, connection.execute(f"SELECT {_COLUMNS} FROM recordings"))
            }

    def get(self, path: str) -> CatalogEntry | None:
        """What is known of one path."""
        with self._open() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM recordings WHERE path = ?", [os.fsencode(path)]
            ).fetchone()
        return _known(row) if row else None

    def counts(self) -> dict[State, int]:
        """How many are in each state."""
        with self._open() as connection:
            rows = connection.execute("SELECT state, COUNT(*) FROM recordings GROUP BY state")
            return {State(state): int(count) for state, count in rows}

    def with_problems(self, limit: int | None = None) -> list[CatalogEntry]:
        """Those with a problem and those that are gone, by path; what was forgotten is left out."""
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM recordings WHERE (problem IS NOT NULL OR vanished IS NOT NULL) AND state <> ?"
                " ORDER BY path LIMIT ?",
                [State.FORGOTTEN.value, -1 if limit is None else limit],
            )
            return [*map(_known, rows)]

    def missing_with_fingerprint(self, fingerprint: str) -> list[str]:
        """Paths of the recordings that are gone and had this content, by path."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT path FROM recordings WHERE vanished IS NOT NULL AND fingerprint = ? ORDER BY path",
                [fingerprint],
            )
            return [os.fsdecode(path) for (path,) in rows]

    def bind_to_instance(self, instance: str) -> bool:
        """Note for which Dagster instance this is known; returns whether it was another one until now.

        What was registered there is no partition here: it is going to arrive once more.
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
        """Paths of the recordings whose content has changed since some time, by path."""
        with self._open() as connection:
            rows = connection.execute("SELECT path FROM recordings WHERE changed >= ? ORDER BY path", [since])
            return [os.fsdecode(path) for (path,) in rows]

    def put(self, *known: CatalogEntry) -> None:
        """Remember, in place of what was known of the same paths."""
        with self._open() as connection:
            connection.executemany(
                f"REPLACE INTO recordings ({_COLUMNS}) VALUES ({_marks(_COLUMNS)})", map(_row, known)
            )

    def remove(self, *paths: str) -> None:
        """Know nothing more of some paths and of their partitions."""
        encoded = [[os.fsencode(path)] for path in paths]
        with self._open() as connection:
            connection.executemany("DELETE FROM recordings WHERE path = ?", encoded)
            connection.executemany("DELETE FROM partitions WHERE path = ?", encoded)

    def partitions(self, paths: Iterable[str] | None = None) -> list[CatalogPartition]:
        """The partitions of some recordings, or of all."""
        with self._open() as connection:
            if paths is None:
                return [*map(_partition, connection.execute(f"SELECT {_PARTITION_COLUMNS} FROM partitions"))]
            select = f"SELECT {_PARTITION_COLUMNS} FROM partitions WHERE path = ? ORDER BY key"
            return [
                _partition(row) for path in paths for row in connection.execute(select, [os.fsencode(path)]).fetchall()
            ]

    def put_partitions(self, *partitions: CatalogPartition) -> None:
        """Remember, in place of what was known of the same keys."""
        with self._open() as connection:
            connection.executemany(
                f"REPLACE INTO partitions ({_PARTITION_COLUMNS}) VALUES ({_marks(_PARTITION_COLUMNS)})",
                map(_partition_row, partitions),
            )

    def remove_partitions(self, *keys: str) -> None:
        """Know nothing more of some partitions."""
        with self._open() as connection:
            connection.executemany("DELETE FROM partitions WHERE key = ?", [[key] for key in keys])

    def pending_runs(self, limit: int) -> list[CatalogPartition]:
        """Partitions for which a run is wanted and not yet asked for, those that wait longest first."""
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT {_PARTITION_COLUMNS} FROM partitions JOIN recordings USING (path)"
                " WHERE run_key IS NOT NULL AND requested IS NULL AND state = ? AND vanished IS NULL"
                " ORDER BY recordings.checked, key LIMIT ?",
                [State.REGISTERED.value, limit],
            )
            return [*map(_partition, rows)]

    def num_pending_runs(self) -> int:
        """For how many partitions a run is wanted and not yet asked for."""
        with self._open() as connection:
            (count,) = connection.execute(
                "SELECT COUNT(*) FROM partitions JOIN recordings USING (path)"
                " WHERE run_key IS NOT NULL AND requested IS NULL AND state = ? AND vanished IS NULL",
                [State.REGISTERED.value],
            ).fetchone()
            return int(count)

    def request_run(self, key: str, run_key: str, assets: tuple[str, ...] | None = None) -> bool:
        """Ask the next look at the folder for a run; returns whether the partition is known."""
        with self._open() as connection:
            changed = connection.execute(
                "UPDATE partitions SET run_key = ?, run_assets = ?, requested = NULL WHERE key = ?",
                [run_key, None if assets is None else json.dumps(assets), key],
            )
            return changed.rowcount > 0

    def mark_requested(self, keys: Iterable[str], tick: int) -> None:
        """Note which look asks for the runs that are wanted for these partitions."""
        with self._open() as connection:
            connection.executemany("UPDATE partitions SET requested = ? WHERE key = ?", [[tick, key] for key in keys])

    def begin_tick(self, arrived: int) -> int:
        """Begin a look at the folder; returns its number.

        Parameters
        ----------
        arrived : int
            Number of the last look whose requests have certainly arrived; they are done with. Those of later ones may
            have been lost, and are made again.
        """
        with self._open() as connection:
            connection.execute(
                "UPDATE partitions SET run_key = NULL, run_assets = NULL, requested = NULL WHERE requested <= ?",
                [arrived],
            )
            connection.execute("UPDATE partitions SET requested = NULL WHERE requested IS NOT NULL")
            tick = max(arrived, int(_note(connection, "tick") or 0)) + 1
            _set_note(connection, "tick", str(tick))
            return tick

    def note(self, name: str) -> str | None:
        """A single fact about all of it."""
        with self._open() as connection:
            return _note(connection, name)

    def set_note(self, name: str, value: str) -> None:
        """Keep a single fact about all of it."""
        with self._open() as connection:
            _set_note(connection, name, value)

    def _connect(self) -> sqlite3.Connection:
        if not self._read_only:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            return sqlite3.connect(self.file, timeout=_BUSY_TIMEOUT_S)
        # One of no size is about to be made by somebody else.
        if self.file.exists() and self.file.stat().st_size > 0:
            return sqlite3.connect(f"{self.file.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)
        return sqlite3.connect(":memory:")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connect()) as connection, connection:
                (layout,) = connection.execute("PRAGMA user_version").fetchone()
                if layout > _LAYOUT:
                    raise StorageError(
                        f"'{self.file}' was written by a newer sort_assets.",
                        remedy="Update this installation, or remove the file: recordings are then looked at once more.",
                    )
                if layout < _LAYOUT:
                    connection.executescript(f"{_TABLES} PRAGMA user_version = {_LAYOUT};")
                yield connection
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, SortAssetsError):
                raise
            raise StorageError(
                f"'{self.file}' can't be used: {error}.",
                remedy="Check that the store's disk is mounted, writable and not full. If the file is damaged, remove "
                "it: recordings are then looked at once more, and what was forgotten has to be forgotten again.",
            ) from error


_COLUMNS = "path, state, stamp, since, settled, checked, settings, fingerprint, problem, changed, vanished"
_PARTITION_COLUMNS = "key, path, versions, run_key, run_assets, requested, forgotten"


def _marks(columns: str) -> str:
    return ", ".join("?" for _ in columns.split(","))


def _known(row: tuple[Any, ...]) -> CatalogEntry:
    path, state, stamp, since, settled, checked, settings, fingerprint, problem, changed, vanished = row
    error = None if problem is None else SortAssetsError.from_dict(json.loads(problem))
    return CatalogEntry(
        *(
            os.fsdecode(path),
            State(state),
            stamp,
            since,
            settled,
            checked,
            settings,
            fingerprint,
            error,
            changed,
            vanished,
        )
    )


def _row(known: CatalogEntry) -> tuple[Any, ...]:
    problem = None if known.problem is None else json.dumps(known.problem.to_dict())
    return (
        *(os.fsencode(known.path), known.state.value, known.stamp, known.since, known.read_stamp, known.checked_at),
        *(known.settings, known.fingerprint, problem, known.changed_at, known.missing_since),
    )


def _partition(row: tuple[Any, ...]) -> CatalogPartition:
    key, path, versions, run_key, run_assets, requested, forgotten = row
    assets = None if run_assets is None else tuple(json.loads(run_assets))
    return CatalogPartition(key, os.fsdecode(path), json.loads(versions), run_key, assets, requested, bool(forgotten))


def _partition_row(partition: CatalogPartition) -> tuple[Any, ...]:
    assets = None if partition.run_assets is None else json.dumps(partition.run_assets)
    return (
        *(partition.key, os.fsencode(partition.path), json.dumps(dict(partition.versions), sort_keys=True)),
        *(partition.run_key, assets, partition.requested, partition.forgotten),
    )


def _note(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM notes WHERE name = ?", [name]).fetchone()
    return str(row[0]) if row else None


def _set_note(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("REPLACE INTO notes (name, value) VALUES (?, ?)", [name, value])
