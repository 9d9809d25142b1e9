"""A sort whose allocations fail, under a real limit of its address space: a smaller batch cures it or not.

On the CPU, torch's failed allocations take the place of CUDA's: the same classes, the same schedule. How Kilosort4
itself runs out of memory, and in which stage, is asked in `backends/test_kilosort4_failures.py`.
"""

from pathlib import Path
from typing import Any

import pytest

from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.faults.runs import (
    assert_nothing_half_done,
    assert_the_next_recording_succeeds,
    failures_of,
    last_run,
    note,
    retries_of,
    sorting,
)
from sort_assets_tests.fixtures.home import BIN, Home, materialize_words
from sort_assets_tests.fixtures.ready import UPSTREAM, Ready

pytestmark = pytest.mark.slow

BATCH = 60_000
ROOM_FOR_HALF = 450_000_000
"""Bytes: the misbehaving sorter asks for 10 kB per sample of a batch."""

# Kilosort4 with torch 2.13.0 has 1.8 GB of address space once it is imported. Of a batch of 290000 samples and 16
# channels it can't detect spikes below 2.9 GB, of 145000 it can at 2.8 GB; of 15000 it can't at 2.05 GB.
CURABLE_BYTES, LARGE_BATCH = 2_800_000_000, 290_000
TAUGHT_S = 5.5  # more than one batch of the half that is left
HOPELESS_BYTES, SMALL_BATCH = 2_050_000_000, 30_000


def test_a_smaller_batch_cures_an_allocation_that_fails_and_the_next_sort_starts_from_it(
    ready: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = ready.home, ready.key
    config = _allocating(BATCH, ROOM_FOR_HALF, oom_learn=True)

    with sorting(home, key, tmp_path, config, python_path=misbehaving) as running:
        status = running.ended()

    assert status == 0, running.output[-3000:]
    manifest = home.store.artefact(key, "sorting").manifest
    (failure,) = manifest.details["failed_attempts"]
    assert failure["classes"][:2] == ["DeviceOutOfMemoryError", "OutOfMemoryError"]
    assert failure["diagnostics"]["bytes_asked"] == 10_000 * BATCH
    assert manifest.details["scaled"] == {"sorter.params.batch_size": [BATCH, BATCH // 2]}
    assert manifest.details["degraded"] is True
    assert manifest.config["sorter"]["params"]["batch_size"] == BATCH // 2
    run = last_run(home)
    assert home.metadata(run.run_id, "sorting")["degraded"].value is True
    assert retries_of(home, run.run_id) == 1
    assert [warning for warning in home.warnings(run.run_id) if "Attempt 2 takes less memory" in warning]
    assert_nothing_half_done(home, key)

    with sorting(home, key, tmp_path, config, python_path=misbehaving) as running:
        status = running.ended()

    assert status == 0, running.output[-3000:]
    taught = home.store.artefact(key, "sorting").manifest.details
    assert taught["failed_attempts"] == []
    assert taught["scaled"] == manifest.details["scaled"]
    assert taught["degraded"] is True
    assert taught["lesson"].startswith(f"{key}, sorting {manifest.version}")


@pytest.mark.release
def test_an_allocation_that_nothing_cures_fails_with_everything_that_was_tried(
    ready: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = ready.home, ready.key

    with sorting(home, key, tmp_path, _allocating(SMALL_BATCH, 0), python_path=misbehaving) as running:
        status = running.ended()

    (failure,) = failures_of(home, last_run(home).run_id)
    assert status != 0
    _assert_everything_told(failure)
    assert home.store.versions(key, "sorting") == []
    assert_nothing_half_done(home, key)


@pytest.mark.release
def test_a_smaller_batch_cures_kilosort_and_a_recording_of_the_same_shape_starts_from_it(
    ready: Ready, tmp_path: Path
) -> None:
    home, key = ready.home, ready.key

    done = _sort_with_kilosort(home, key, tmp_path, CURABLE_BYTES, LARGE_BATCH, oom_learn=True)

    assert done.status == 0, done.output[-3000:]
    note(home, key, "allocation that a smaller batch cures", "DeviceOutOfMemoryError, retried: success, degraded")
    manifest = home.store.artefact(key, "sorting").manifest
    (failure,) = manifest.details["failed_attempts"]
    assert failure["classes"][:2] == ["DeviceOutOfMemoryError", "OutOfMemoryError"]
    assert failure["stage"] == "spike detection"
    assert failure["diagnostics"]["bytes_asked"] > 50_000_000
    assert manifest.details["scaled"] == {"sorter.params.batch_size": [LARGE_BATCH, LARGE_BATCH // 2]}
    assert manifest.details["effective_params"][""]["batch_size"] == LARGE_BATCH // 2
    assert manifest.details["num_units"] >= 6

    # What it learned, a recording of the same shape starts from, whatever its length.
    shorter = write_nwb(make_ground_truth(duration_s=TAUGHT_S)[0], home.roots.recordings / "taught.nwb")
    other = home.register(shorter)
    assert home.materialize(other, *UPSTREAM).success
    assert _sort_with_kilosort(home, other, tmp_path, CURABLE_BYTES, LARGE_BATCH, oom_learn=True).status == 0
    taught = home.store.artefact(other, "sorting").manifest.details
    assert taught["failed_attempts"] == []
    assert taught["scaled"] == manifest.details["scaled"]
    assert taught["lesson"].startswith(f"{key}, sorting {manifest.version}")


@pytest.mark.release
def test_an_allocation_of_kilosort_that_nothing_cures_is_told_in_full_and_the_next_recording_succeeds(
    ready: Ready, short_file: Path, tmp_path: Path
) -> None:
    home, key = ready.home, ready.key

    done = _sort_with_kilosort(home, key, tmp_path, HOPELESS_BYTES, SMALL_BATCH)

    note(home, key, "allocation that nothing cures", "DeviceOutOfMemoryError")
    (failure,) = failures_of(home, last_run(home).run_id)
    assert done.status != 0
    _assert_everything_told(failure)
    assert failure["stage"]
    assert home.store.versions(key, "sorting") == []
    assert_nothing_half_done(home, key)
    # The next recording starts from what was configured, not from what was tried here.
    assert_the_next_recording_succeeds(home, short_file, "hopeless.nwb")


def _assert_everything_told(failure: dict[str, Any]) -> None:
    assert failure["failure_class"] == "DeviceOutOfMemoryError"
    assert failure["remedy"]
    assert "alloc" in failure["log_excerpt"]
    assert [(row["attempt"], row["ran with"]) for row in failure["attempts"]] == [
        (1, "as configured"),
        (2, f"sorter.params.batch_size {SMALL_BATCH} -> {SMALL_BATCH // 2}"),
    ]
    assert "No parameter is left" in failure["retry"]


def _allocating(batch_size: int, memory: int, **execution: Any) -> dict[str, Any]:
    """A sorter whose allocation for a batch does not fit into `memory` bytes."""
    params = {"fault": "allocate", "batch_size": batch_size, "memory": memory}
    return {"sorter": {"name": "misbehaving", "params": params}, "execution": {"n_jobs": 1, **execution}}


def _sort_with_kilosort(home: Home, key: str, folder: Path, limit_bytes: int, batch_size: int, **execution: Any) -> Any:
    """Materialize a sorting below a limit that all processes of the run inherit."""
    config = {
        "preset": "kilosort4_few_channels",
        "sorter": {"params": {"nblocks": 0, "batch_size": batch_size}},
        "execution": {"n_jobs": 1, **execution},
    }
    name, *words = materialize_words(key, "sorting", config=config, config_file=folder / f"{key}.json")
    return home.command("prlimit", f"--as={limit_bytes}", str(BIN / name), *words, timeout=600)
