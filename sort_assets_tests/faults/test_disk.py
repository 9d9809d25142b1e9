"""A disk that fills up, a small real one: before the sort, while the `.dat` is written, and during the sort."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sort_assets.backends.spikeinterface_sorters import MountainSort5Backend
from sort_assets_tests.faults.runs import assert_nothing_half_done, failures_of, note, sorting
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.fixtures.ready import Ready

pytestmark = pytest.mark.slow

STORE_BYTES = 60_000_000
DAT_BYTES = 10 * 30_000 * 16 * 2
RESERVE_GB = 0.02
SMALL: Mapping[str, Any] = cheap(execution={"isolation": "in_process", "min_free_disk_gb": RESERVE_GB})
"""The usual 2 GB that are to stay free are more than the store has."""


@pytest.fixture
def small_store(ready: Ready) -> Iterator[Ready]:
    """A recording that is ready to be sorted, in a store that is a file system of its own, of 60 MB."""
    store = ready.home.roots.store
    full = store.rename(store.with_name("full"))
    store.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={STORE_BYTES}", "tmpfs", str(store)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a file system can't be mounted here: {mounted.stderr.strip()}")
    shutil.copytree(full, store, symlinks=True, dirs_exist_ok=True)
    yield ready
    subprocess.run(["umount", "--lazy", str(store)], check=True)


def test_a_dat_that_does_not_fit_fails_in_words_and_leaves_the_disk_as_it_was(
    small_store: Ready,
) -> None:
    home, key = small_store.home, small_store.key
    before = home.store.versions(key, "binary_dat")
    _fill(home, leave_bytes=int(RESERVE_GB * 1e9) + DAT_BYTES - 1_000_000)
    free = _free_bytes(home)

    result = home.materialize(key, "binary_dat", config=SMALL)

    (failure,) = failures_of(home, result.run_id)
    assert failure["failure_class"] == "DiskFullError"
    assert "sort-assets gc" in failure["remedy"]
    assert _free_bytes(home) > free - 200_000  # the record of the failure
    assert home.store.versions(key, "binary_dat") == before
    (home.roots.store / "filling").unlink()
    assert home.materialize(key, "binary_dat", config=SMALL).success


def test_a_dat_is_given_up_when_the_disk_fills_up_while_it_is_written(
    small_store: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, key = small_store.home, small_store.key
    before = home.store.versions(key, "binary_dat")

    def write_slowly(*_: object) -> None:
        _fill(home, leave_bytes=int(RESERVE_GB * 1e9 / 2))
        time.sleep(60)

    monkeypatch.setattr(MountainSort5Backend, "write_recording", write_slowly)
    began = time.monotonic()

    result = home.materialize(key, "binary_dat", config=SMALL)

    (failure,) = failures_of(home, result.run_id)
    assert failure["failure_class"] == "DiskFullError"
    assert time.monotonic() - began < 30
    assert home.store.versions(key, "binary_dat") == before


def test_a_sort_does_not_start_without_room(small_store: Ready) -> None:
    home, key = small_store.home, small_store.key

    result = home.materialize(key, "sorting", config=cheap(execution={"min_free_disk_gb": 1.0}))

    (failure,) = failures_of(home, result.run_id)
    assert failure["failure_class"] == "DiskFullError"
    assert "day.nwb" in str(home.store.asset_folder(key, "sorting"))
    assert home.store.versions(key, "sorting") == []


@pytest.mark.release
def test_a_sort_is_ended_when_the_disk_fills_up_and_the_next_goes_on(
    small_store: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = small_store.home, small_store.key
    config = {
        "sorter": {"name": "misbehaving", "params": {"fault": "log", "done": str(tmp_path / "done"), "seconds": 120}},
        "execution": {"n_jobs": 1, "min_free_disk_gb": RESERVE_GB, "terminate_grace_s": 1},
    }
    with sorting(home, key, tmp_path, config, python_path=misbehaving) as running:
        running.wait_for(lambda: (tmp_path / "done").exists() or None, "the sorter", 60)
        _fill(home, leave_bytes=int(RESERVE_GB * 1e9 / 2))
        filled, at = time.monotonic(), time.time()
        status = running.ended()
        seconds = time.monotonic() - filled

    note(home, key, "disk full during the sort", "DiskFullError", at)

    (failure,) = failures_of(home, running.run.run_id)
    assert status != 0
    assert failure["failure_class"] == "DiskFullError"
    assert seconds < 60
    assert_nothing_half_done(home, key)
    (home.roots.store / "filling").unlink()
    assert home.materialize(key, "sorting", config=SMALL).success


def _fill(home: Home, *, leave_bytes: int) -> None:
    """Fill the store's file system up to `leave_bytes`."""
    with (home.roots.store / "filling").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, _free_bytes(home) - leave_bytes))


def _free_bytes(home: Home) -> int:
    state = os.statvfs(home.roots.store)
    return state.f_bavail * state.f_frsize
