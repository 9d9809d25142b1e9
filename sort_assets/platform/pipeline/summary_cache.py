"""Summaries of recordings, kept in the home from one reading to the next: of thousands few have changed.

A kept summary counts only while the store looks as it did when the summary was made: inode, size and time of change of
each folder and file that it was read from. Whoever publishes, removes or edits a result, on whatever host, the file
system notes it there; so nobody has to tell this cache, and what a killed writer or a person left is read anew. What
changed a moment ago is not kept: a second change might look the same.
"""

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

import sort_assets
from sort_assets.config.settings import read_environment
from sort_assets.machine.file_system import is_local
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.recording_results import SORTING, RecordingSummary, recording_summary
from sort_assets.platform.store.layout import CURRENT, FAILED, FAILURE_NAME, MANIFEST_NAME
from sort_assets.platform.store.store import Store

FILE_NAME = "summaries.sqlite"
_TIMEOUT_S = 5.0
_CALM_S = 10.0
"""Age from which on a time of change is certain to differ from that of the next change."""
_TABLE = """
CREATE TABLE IF NOT EXISTS summaries (
    store TEXT, recording TEXT, code TEXT NOT NULL, paths TEXT NOT NULL, look TEXT NOT NULL, summary TEXT NOT NULL,
    PRIMARY KEY (store, recording)
) WITHOUT ROWID
"""
_PACKAGE = Path(sort_assets.__file__).parent
_SEPARATOR = "\n"

_log = logging.getLogger(__name__)


def units_summary(store: Store) -> dict[str, RecordingSummary]:
    """The results of every recording that has a sorting or a failure on record, by key.

    Parameters
    ----------
    store : Store
    """
    summaries = recording_summaries(store, store.recordings())
    return {key: summary for key, summary in summaries.items() if _is_sorted_or_failed(store, key, summary)}


def recording_summaries(store: Store, recordings: Iterable[str]) -> dict[str, RecordingSummary]:
    """The results of recordings, as `recording_summary` gives them, by key and in the same order.

    Parameters
    ----------
    store : Store
    recordings : iterable of str
        Their keys.
    """
    recordings = list(recordings)
    home = read_environment().dagster_home
    if home is None or not home.is_dir() or not is_local(home):  # SQLite wants a disk of this machine
        return {key: recording_summary(store, key) for key in recordings}
    file = home / FILE_NAME
    try:
        return _with_cache(file, store, recordings)
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):  # damaged, not only locked or read-only
            file.unlink(missing_ok=True)
        _log.warning("'%s' can't be used (%s); all manifests are read once more.", file, error)
        return {key: recording_summary(store, key) for key in recordings}


def _with_cache(file: Path, store: Store, recordings: list[str]) -> dict[str, RecordingSummary]:
    adapter, code, root = _adapter(), _code(), str(store.root)
    found: dict[str, RecordingSummary] = {}
    fresh: list[tuple[str, ...]] = []
    with closing(sqlite3.connect(file, timeout=_TIMEOUT_S)) as connection:
        with connection:
            connection.execute(_TABLE)
        kept = _kept(connection, root, code, recordings)
        for key in recordings:
            folder = f"{root}/{key}"
            if (before := kept.get(key)) is not None:
                paths, look, summary = before
                if _look(folder, paths)[0] == look:
                    found[key] = adapter.validate_json(summary)
                    continue
            paths = _SEPARATOR.join(_sources(folder))
            look, changed_at = _look(folder, paths)
            found[key] = summary_now = recording_summary(store, key)
            if 0 < changed_at < time.time() - _CALM_S:
                try:
                    fresh.append((root, key, code, paths, look, adapter.dump_json(summary_now).decode()))
                except ValueError:  # a file name among its texts that is no text
                    continue
        if fresh:
            try:
                with connection:
                    connection.executemany("REPLACE INTO summaries VALUES (?, ?, ?, ?, ?, ?)", fresh)
            except sqlite3.OperationalError as error:  # locked, read-only, no space
                _log.warning("'%s' can't be written (%s); these manifests are read once more.", file, error)
    return found


def _kept(
    connection: sqlite3.Connection, root: str, code: str, recordings: Iterable[str]
) -> Mapping[str, tuple[str, str, str]]:
    select = "SELECT paths, look, summary FROM summaries WHERE store = ? AND recording = ? AND code = ?"
    rows = ((key, connection.execute(select, (root, key, code)).fetchone()) for key in recordings)
    return {key: row for key, row in rows if row is not None}


def _sources(folder: str) -> Iterator[str]:
    """What a summary of a recording's folder is read from, relative to the folder.

    What is missing in a folder is not named: when it comes, the folder changes.
    """
    yield "."
    for asset in PIPELINE:
        if not os.path.isdir(f"{folder}/{asset}"):  # noqa: PTH112 - a Path takes several times as long
            continue
        yield asset
        yield f"{asset}/{CURRENT}/{MANIFEST_NAME}"
        try:
            attempts = sorted(os.listdir(f"{folder}/{asset}/{FAILED}"))  # noqa: PTH208 - quick
        except OSError:
            continue
        yield f"{asset}/{FAILED}"
        yield from (f"{asset}/{FAILED}/{attempt}/{FAILURE_NAME}" for attempt in attempts)


def _look(folder: str, paths: str) -> tuple[str, float]:
    """How the sources look, and when the last of them changed, in seconds since 1970; 0 where there are none."""
    looks, newest = [], 0
    for path in paths.split(_SEPARATOR):
        try:
            seen = os.stat(f"{folder}/{path}")  # noqa: PTH116 - quick
        except OSError:
            looks.append("")
            continue
        looks.append(f"{seen.st_ino}:{seen.st_size}:{seen.st_ctime_ns}")
        newest = max(newest, seen.st_ctime_ns)
    return " ".join(looks), newest / 1e9


@cache
def _adapter() -> TypeAdapter[RecordingSummary]:
    return TypeAdapter(RecordingSummary)


@cache
def _code() -> str:
    """Identifies the package as it is installed: another one may make other summaries, or keep them otherwise."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(_PACKAGE.rglob("*.py")):
        seen = file.stat()
        digest.update(f"{file}:{seen.st_size}:{seen.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _is_sorted_or_failed(store: Store, recording: str, summary: RecordingSummary) -> bool:
    if summary.standing is not None or summary.overcome is not None:
        return True
    return os.path.lexists(f"{store.root}/{recording}/{SORTING}/{CURRENT}")  # also when its manifest is damaged
