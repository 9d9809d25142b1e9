"""Sorters that hang, in their own process or in the step's, deaf or holding the interpreter; or that only seem to."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sort_assets.platform.store.failures import failed_attempts
from sort_assets_tests.faults.runs import (
    RunningSort,
    assert_gone,
    assert_nothing_half_done,
    failures_of,
    note,
    sorting,
)
from sort_assets_tests.fixtures.faketime import libfaketime
from sort_assets_tests.fixtures.home import Home, cheap
from sort_assets_tests.fixtures.ready import Ready

pytestmark = pytest.mark.slow

PATIENCE_S = 3.0
IMPATIENT: Mapping[str, Any] = {
    "sorter_inactivity_base_s": PATIENCE_S,
    "sorter_inactivity_per_min_s": 0,
    "sorter_inactivity_in_process_grace_s": 1,
    "terminate_grace_s": 1,
}


@pytest.mark.release
def test_a_sorter_that_is_stopped_is_ended_and_tried_once_more(ready: Ready, tmp_path: Path) -> None:
    home, key = ready.home, ready.key
    # A sorter that imports for seconds on a busy machine reads files and computes: it shows signs of life.
    with sorting(home, key, tmp_path, cheap(execution=IMPATIENT)) as running:
        sorter = running.sorter()
        sorter.suspend()
        stopped, at = time.monotonic(), time.time()
        assert_gone([sorter], within_s=60)
        seconds = time.monotonic() - stopped
        status = running.ended()

    note(home, key, f"SIGSTOP of the sorter (tolerance {PATIENCE_S:g} s)", "SorterTimeoutError, retried: success", at)

    assert status == 0, running.output[-3000:]
    assert PATIENCE_S < seconds < PATIENCE_S + 10
    (failure,) = home.store.artefact(key, "sorting").manifest.details["failed_attempts"]
    assert failure["classes"][0] == "SorterTimeoutError"
    assert_nothing_half_done(home, key)


@pytest.mark.release
@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_a_sorter_that_hangs_twice_fails_in_words(ready: Ready, tmp_path: Path, misbehaving: Path, fault: str) -> None:
    home, key = ready.home, ready.key

    with _misbehaving(home, key, tmp_path, misbehaving, fault) as running:
        sorter = running.sorter(at_work=False)
        group = [sorter, *sorter.children(recursive=True)]
        status = running.ended()

    note(home, key, f"{fault} (tolerance {PATIENCE_S:g} s), always", "SorterTimeoutError")

    (failure,) = failures_of(home, running.run.run_id)
    assert status != 0
    assert failure["failure_class"] == "SorterTimeoutError"
    assert "sorter_inactivity" in failure["remedy"]
    assert len(failure["attempts"]) == 2
    assert_gone(group)
    assert _tripped(home, key) == ["log_inactivity", "log_inactivity"]
    assert home.store.versions(key, "sorting") == []
    assert_nothing_half_done(home, key)


@pytest.mark.release
@pytest.mark.parametrize("fault", ["hang", "hold"])
def test_a_sorter_that_hangs_inside_the_step_is_ended_and_tried_once_more(
    ready: Ready, tmp_path: Path, misbehaving: Path, fault: str
) -> None:
    home, key = ready.home, ready.key

    with _misbehaving(
        home, key, tmp_path, misbehaving, fault, isolation="in_process", done=tmp_path / "done"
    ) as running:
        status = running.ended()

    note(home, key, f"in-process {fault} (tolerance {PATIENCE_S:g} s)", "SorterTimeoutError, retried: success")
    assert status == 0, running.output[-3000:]
    manifest = home.store.artefact(key, "sorting").manifest
    assert [failure["classes"][0] for failure in manifest.details["failed_attempts"]] == ["SorterTimeoutError"]
    assert manifest.details["num_units"] == 8
    assert_nothing_half_done(home, key)


@pytest.mark.release
def test_a_sorter_that_holds_the_interpreter_twice_fails_in_words(
    ready: Ready, tmp_path: Path, misbehaving: Path
) -> None:
    home, key = ready.home, ready.key

    with _misbehaving(home, key, tmp_path, misbehaving, "hold", isolation="in_process") as running:
        status = running.ended()

    (failure,) = failures_of(home, running.run.run_id)
    assert status != 0
    assert failure["failure_class"] == "SorterTimeoutError"
    assert failure["remedy"]
    assert home.store.versions(key, "sorting") == []
    assert_nothing_half_done(home, key)


# Of the watchdog alone, tests of log_inactivity ask both without a run.
@pytest.mark.release
@pytest.mark.parametrize("how", ["renamed", "emptied"])
def test_a_log_that_is_rotated_meanwhile_disturbs_nothing(
    ready: Ready, tmp_path: Path, misbehaving: Path, how: str
) -> None:
    home, key = ready.home, ready.key
    config = {"seconds": 2.5 * PATIENCE_S, "done": tmp_path / "done"}

    with _misbehaving(home, key, tmp_path, misbehaving, "log", **config) as running:
        log = running.wait_for(lambda: _log_with_lines(running), "the log", 60)
        if how == "renamed":
            log.rename(log.with_name(f"{log.name}.1"))
        else:
            log.with_name(f"{log.name}.1").write_bytes(log.read_bytes())
            log.write_bytes(b"")
        status = running.ended()

    assert status == 0, running.output[-3000:]
    manifest = home.store.artefact(key, "sorting").manifest
    assert manifest.details["failed_attempts"] == []
    assert {"sorter/sorter.log", "sorter/sorter.log.1"} & set(manifest.files)


@pytest.mark.release
@pytest.mark.parametrize("jump", ["+2h", "-2h"])
def test_a_clock_that_jumps_meanwhile_disturbs_nothing(
    ready: Ready, tmp_path: Path, misbehaving: Path, jump: str
) -> None:
    home, key = ready.home, ready.key
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    # Every clock of the run's processes jumps, also the monotonic one, as libfaketime can't do otherwise here.
    below = (
        *("env", f"LD_PRELOAD={libfaketime()}", f"FAKETIME_TIMESTAMP_FILE={clock}"),
        *("FAKETIME_CACHE_DURATION=1", "NO_FAKE_STAT=1"),
    )
    config = {"seconds": 2.5 * PATIENCE_S, "done": tmp_path / "done"}

    with _misbehaving(home, key, tmp_path, misbehaving, "log", below=below, **config) as running:
        running.wait_for(lambda: _log_with_lines(running), "the log", 60)
        clock.write_text(f"{jump}\n")
        status = running.ended()

    assert status == 0, running.output[-3000:]
    manifest = home.store.artefact(key, "sorting").manifest
    assert manifest.details["failed_attempts"] == []
    assert abs(manifest.created.timestamp() - time.time()) > 3600, "the clock did not jump"


def _misbehaving(
    home: Home,
    key: str,
    folder: Path,
    package: Path,
    fault: str,
    *,
    isolation: str = "process",
    done: Path | None = None,
    seconds: float = 600,
    below: Sequence[str] = (),
) -> Any:
    config = {
        "sorter": {
            "name": "misbehaving",
            "params": {"fault": fault, "seconds": seconds, "done": str(done) if done else ""},
        },
        "execution": {"n_jobs": 1, "isolation": isolation, **IMPATIENT},
    }
    return sorting(home, key, folder, config, python_path=package, below=below)


def _log_with_lines(running: RunningSort) -> Path | None:
    for log in running.home.store.asset_folder(running.key, "sorting").glob(".staging-*/sorter/sorter.log"):
        if "line 10" in log.read_text():
            return log
    return None


def _tripped(home: Home, key: str) -> list[str]:
    """Which watchdogs tripped, by the audit logs that were kept."""
    found = []
    for attempt in failed_attempts(home.store, key, "sorting"):
        logs = home.store.asset_folder(key, "sorting") / "failed" / attempt.version / "logs"
        for audit in logs.rglob("watchdogs.jsonl"):
            lines = [json.loads(line) for line in audit.read_text().splitlines()]
            found += [line["watchdog"] for line in lines if line["event"] == "tripped"]
    return found
