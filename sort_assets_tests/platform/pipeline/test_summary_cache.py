"""A kept summary is never shown once it is not true, however the store came to differ."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sort_assets.errors import DeviceOutOfMemoryError, DiskFullError
from sort_assets.platform.pipeline import summary_cache
from sort_assets.platform.pipeline.recording_results import recording_summary
from sort_assets.platform.pipeline.summary_cache import recording_summaries
from sort_assets.platform.store.failures import failed_attempts, replace_error
from sort_assets.platform.store.store import Store
from sort_assets_tests.platform.pipeline.test_recording_results import SORTING, fail, fill, put

KEYS = ("a.nwb", "failed.nwb")


class _CountingStore(Store):
    """A store that counts the manifests that are read for summaries."""

    read = 0

    def summary(self, recording: str, asset: str) -> dict[str, Any] | None:
        self.read += 1
        return super().summary(recording, asset)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _CountingStore:
    """One recording with results, one with failures too; their summaries are kept."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setattr(summary_cache, "_CALM_S", 0.0)  # the recordings of a test are not older
    store = _CountingStore(tmp_path / "store")
    for key in KEYS:
        fill(store, key)
    fail(store, "failed.nwb", "sorting", DeviceOutOfMemoryError("Out of memory.", remedy="Take less."))
    recording_summaries(store, KEYS)
    store.read = 0
    return store


def _read_directly(store: Store) -> dict[str, Any]:
    return {key: recording_summary(store, key) for key in KEYS}


def test_what_has_not_changed_is_not_read_again(store: _CountingStore) -> None:
    found = recording_summaries(store, KEYS)

    assert store.read == 0
    assert found == _read_directly(store)
    assert found["failed.nwb"].failure == "DeviceOutOfMemoryError"


def _publish(store: Store) -> None:
    put(store, "a.nwb", "sorting", SORTING | {"num_units": 3})


def _edit(store: Store) -> None:
    manifest = store.asset_folder("a.nwb", "sorting") / "current" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_units": 10', '"num_units": 11'))


def _remove_version(store: Store) -> None:
    shutil.rmtree((store.asset_folder("a.nwb", "curated_units") / "current").resolve())


def _remove_asset(store: Store) -> None:
    shutil.rmtree(store.asset_folder("a.nwb", "unit_metrics"))


def _remove_recording(store: Store) -> None:
    shutil.rmtree(store.root / "a.nwb")


def _exchange(store: Store) -> None:
    """As a restored backup does: other folders of the same names, sizes and times."""
    folder = store.root / "a.nwb"
    shutil.copytree(folder, folder.with_name("copy"), symlinks=True)
    _edit(store)
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


def _fail(store: Store) -> None:
    fail(store, "a.nwb", "waveforms", DiskFullError("The disk is full.", remedy="Make room."))


def _correct_failure(store: Store) -> None:
    (attempt,) = failed_attempts(store, "failed.nwb", "sorting")
    replace_error(store, attempt, DiskFullError("The disk was full.", remedy="Make room."))


def _make_good(store: Store) -> None:
    put(store, "failed.nwb", "sorting", SORTING)


def _leave_staging(store: Store) -> None:
    """As a writer does that is killed."""
    (store.asset_folder("a.nwb", "preprocessed_recording") / ".staging-20000101T000000000-killed").mkdir()


@pytest.mark.parametrize(
    "change",
    [
        _publish,
        _edit,
        _remove_version,
        _remove_asset,
        _remove_recording,
        _exchange,
        _fail,
        _correct_failure,
        _make_good,
        _leave_staging,
    ],
)
def test_whatever_changes_in_the_store_is_seen(store: _CountingStore, change: Callable[[Store], None]) -> None:
    change(store)

    found, again = recording_summaries(store, KEYS), recording_summaries(store, KEYS)

    assert found == again == _read_directly(store)


def test_what_changed_a_moment_ago_is_not_kept(store: _CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_cache, "_CALM_S", 60.0)
    _publish(store)
    recording_summaries(store, KEYS)
    store.read = 0

    recording_summaries(store, KEYS)

    assert store.read > 0


def test_summaries_of_another_version_of_the_code_are_not_used(store: _CountingStore, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "home" / "summaries.sqlite") as connection:
        connection.execute("UPDATE summaries SET code = 'older', summary = ?", [json.dumps({"units_found": 99})])

    assert recording_summaries(store, KEYS) == _read_directly(store)


def test_a_damaged_cache_costs_nothing_but_time(store: _CountingStore, tmp_path: Path) -> None:
    file = tmp_path / "home" / "summaries.sqlite"
    file.write_bytes(b"no database" * 1000)

    damaged, mended = recording_summaries(store, KEYS), recording_summaries(store, KEYS)

    assert damaged == mended == _read_directly(store)
    store.read = 0
    recording_summaries(store, KEYS)
    assert store.read == 0


def test_a_cache_that_another_process_writes_is_not_waited_for(
    store: _CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary_cache, "_TIMEOUT_S", 0.1)
    _publish(store)
    with sqlite3.connect(tmp_path / "home" / "summaries.sqlite") as connection:
        connection.execute("BEGIN IMMEDIATE")

        found = recording_summaries(store, KEYS)

    assert found == _read_directly(store)


def test_without_a_home_everything_is_read(store: _CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME")

    assert recording_summaries(store, KEYS) == _read_directly(store)
