"""Failures that no retry mends are said once, wherever in a step they come from."""

import shutil
from pathlib import Path

import pytest

from sort_assets.errors import DiskFullError
from sort_assets.platform.store.failures import failed_attempts
from sort_assets_tests.faults.runs import (
    assert_nothing_half_done,
    failures_of,
    last_run,
    retries_of,
    sorting,
)
from sort_assets_tests.fixtures.home import Home, cheap, materialize_words
from sort_assets_tests.fixtures.ready import Ready

pytestmark = pytest.mark.slow


def test_an_input_that_can_not_be_found_is_not_looked_for_again_and_again(ready: Ready, tmp_path: Path) -> None:
    home, key = ready.home, ready.key
    words = materialize_words(key, "sorting", config_file=tmp_path / "run.json")

    done = home.without("SORT_ASSETS_STORE").command(*words)

    run = last_run(home)
    (failure,) = failures_of(home, run.run_id)
    assert done.status != 0
    assert failure["failure_class"] == "InstanceError"
    assert "SORT_ASSETS_STORE" in failure["description"]
    assert retries_of(home, run.run_id) == 0


@pytest.mark.release
def test_a_watchdog_that_had_to_end_the_whole_step_is_believed(ready: Ready, tmp_path: Path, misbehaving: Path) -> None:
    home, key = ready.home, ready.key
    free_gb = _free_gb(home)
    config = {
        # The process has to be ended with the sorter in it; the disk is "full" by the watchdog's threshold.
        "sorter": {"name": "misbehaving", "params": {"fault": "swallow", "seconds": 600}},
        "execution": {
            "n_jobs": 1,
            "isolation": "in_process",
            "sorter_inactivity_in_process_grace_s": 1,
            "min_free_disk_gb": free_gb - 0.05,
        },
    }

    with sorting(home, key, tmp_path, config, python_path=misbehaving) as running:
        running.step()
        running.wait_for(lambda: list(home.roots.store.glob("*/sorting/.staging-*/sorter/*")) or None, "the sort", 60)
        with (home.roots.store / "filling").open("wb") as file:
            file.write(bytes(200_000_000))
        status = running.ended()
    (home.roots.store / "filling").unlink()

    (failure,) = failures_of(home, running.run.run_id)
    assert status != 0
    assert failure["failure_class"] == DiskFullError.__name__
    assert "child process" in running.output
    assert len(failed_attempts(home.store, key, "sorting")) == 1
    assert_nothing_half_done(home, key)


@pytest.mark.release
def test_the_working_folder_of_a_failed_sort_is_kept_on_request(
    ready: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = ready.home, ready.key
    config = cheap(
        sorter={"name": "misbehaving", "params": {"fault": "crash"}},
        execution={"crash_retry_max": 0, "keep_failed_work": True},
    )

    with sorting(home, key, tmp_path, config, python_path=misbehaving) as running:
        status = running.ended()

    (failure,) = failures_of(home, running.run.run_id)
    (attempt,) = failed_attempts(home.store, key, "sorting")
    kept = home.store.asset_folder(key, "sorting") / "failed" / attempt.version
    assert status != 0
    assert failure["failure_class"] == "SorterCrashedError"
    assert "SIGSEGV" in failure["description"]
    assert failure["logs"] == str(kept / "logs")
    assert (kept / "work" / "sorter" / "sorter.log").is_file()
    assert_nothing_half_done(home, key)


def _free_gb(home: Home) -> float:
    return shutil.disk_usage(home.roots.store).free / 1e9
