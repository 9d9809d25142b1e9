"""A sorter that is killed, or its step: the sort is tried again or said to have failed.

Of every step that is killed, and of run workers, see `end_to_end`.
"""

import signal
import time
from pathlib import Path

import pytest

from sort_assets.platform.execution.leases import device_lease
from sort_assets.platform.store.failures import failed_attempts
from sort_assets_tests.faults.runs import (
    assert_gone,
    assert_nothing_half_done,
    assert_the_next_recording_succeeds,
    failures_of,
    note,
    retries_of,
    sorting,
)
from sort_assets_tests.fixtures.home import cheap
from sort_assets_tests.fixtures.ready import Ready

pytestmark = pytest.mark.slow


@pytest.mark.release
def test_a_sorter_that_is_killed_once_is_tried_again(ready: Ready, tmp_path: Path) -> None:
    home, key = ready.home, ready.key

    with sorting(home, key, tmp_path, cheap()) as running:
        running.sorter().kill()
        killed = time.time()
        status = running.ended()

    note(home, key, "SIGKILL of the sorter", "SorterCrashedError, retried: success", killed)
    assert status == 0, running.output[-3000:]
    manifest = home.store.artefact(key, "sorting").manifest
    assert manifest.details["num_units"] == 8
    assert [failure["classes"][0] for failure in manifest.details["failed_attempts"]] == ["SorterCrashedError"]
    assert manifest.details["degraded"] is False
    assert retries_of(home, running.run.run_id) == 1
    assert_nothing_half_done(home, key)


@pytest.mark.release
def test_a_sorter_that_is_killed_again_and_again_fails_in_words(ready: Ready, short_file: Path, tmp_path: Path) -> None:
    home, key = ready.home, ready.key

    with sorting(home, key, tmp_path, cheap(execution={"crash_retry_max": 1})) as running:
        first = running.sorter()
        first.kill()
        first.wait()
        running.sorter().kill()
        killed = time.time()
        status = running.ended()

    note(home, key, "SIGKILL of the sorter, always", "SorterCrashedError", killed)
    (failure,) = failures_of(home, running.run.run_id)
    assert status != 0
    assert failure["failure_class"] == "SorterCrashedError"
    assert "SIGKILL" in failure["description"]
    assert failure["remedy"]
    assert len(failure["attempts"]) == 2
    assert "crash_retry_max is 1" in failure["retry"]
    assert [attempt.retried for attempt in failed_attempts(home.store, key, "sorting")] == [True, False]
    assert home.store.versions(key, "sorting") == []
    assert_nothing_half_done(home, key)
    assert_the_next_recording_succeeds(home, short_file, "sorter-always.nwb")


@pytest.mark.release
def test_a_step_that_is_killed_takes_its_sorter_along_and_is_tried_again(ready: Ready, tmp_path: Path) -> None:
    home, key = ready.home, ready.key

    with sorting(home, key, tmp_path, cheap()) as running:
        sorter = running.sorter()
        group = [sorter, *sorter.children(recursive=True)]
        step = running.step()
        step.kill()
        killed = time.monotonic()
        assert_gone(group)
        seconds = time.monotonic() - killed
        status = running.ended()

    fault = f"SIGKILL of the step (parent of the sorter, which was gone after {seconds:.1f} s)"
    note(home, key, fault, "StepCrashedError, retried: success")

    assert status == 0, running.output[-3000:]
    assert len(group) == 2  # and its guard
    assert seconds < 5
    manifest = home.store.artefact(key, "sorting").manifest
    assert [failure["classes"][0] for failure in manifest.details["failed_attempts"]] == ["StepCrashedError"]
    assert retries_of(home, running.run.run_id) == 1
    assert_nothing_half_done(home, key)


def test_a_run_that_is_interrupted_while_its_sorter_waits_for_the_device_leaves_nothing(
    ready: Ready, tmp_path: Path
) -> None:
    home, key = ready.home, ready.key

    with (
        device_lease(print, gpu=False, folder=Path(home.variables["SORT_ASSETS_LEASES"])),
        sorting(home, key, tmp_path, cheap()) as running,
    ):
        waiting = running.sorter(at_work=False)  # started ahead; the test has its device
        running.wait_for(lambda: "Waiting for a free device" in running.output or None, "the wait", 60)
        group = [running.step(), waiting, *waiting.children(recursive=True)]
        running.command.send_signal(signal.SIGINT)
        assert_gone(group)
        status = running.ended()

    assert status != 0
    assert_nothing_half_done(home, key)
