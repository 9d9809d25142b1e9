"""All watchdogs of a configuration together, around real processes."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sort_assets.config import ExecutionConfig
from sort_assets.errors import DiskFullError, SorterTimeoutError
from sort_assets.running.audit import AuditLog
from sort_assets.running.in_process import active_log, active_log_path
from sort_assets.running.termination import ProcessGroupTerminator
from sort_assets.running.watchdogs.base import Watchdog, Watchdogs
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog
from sort_assets.running.watchdogs.sort_watchdogs import sort_watchdogs
from sort_assets_tests.running.conftest import Start
from sort_assets_tests.running.watchdogs.events import names

HANGS = "import time; print('ready', flush=True); time.sleep(600)"
ALL = {"log_inactivity", "gpu_memory", "gpu_temperature", "host_memory", "free_disk", "io_stall"}


class TripsAtOnce(Watchdog):
    name = "trips_at_once"

    def check(self) -> DiskFullError:
        return DiskFullError("no room", remedy="make some")


def watched(
    process: "subprocess.Popen[str]", folder: Path, audit: AuditLog, tolerance_s: float | None = 60.0, **changes: Any
) -> Watchdogs:
    return sort_watchdogs(
        ExecutionConfig(**changes),
        pid=process.pid,
        log_paths=[folder / "sorter.log"],
        output_folder=folder,
        tolerance_s=tolerance_s,
        terminator=ProcessGroupTerminator(process, 5),
        audit=audit,
        gpu=None,
    )


def test_everything_is_watched_by_default_and_ends_with_the_block(
    start: Start, tmp_path: Path, audit: AuditLog
) -> None:
    process = start(HANGS)
    stack = watched(process, tmp_path, audit)

    with stack:
        time.sleep(0.2)

    assert {watchdog.name for watchdog in stack.watchdogs} == ALL
    assert stack.tripped is None
    assert process.poll() is None
    assert names(audit) == ["gpu_memory: not watching", "gpu_temperature: not watching"]  # there is no GPU


def test_null_is_not_watched(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    off = dict.fromkeys(("io_stall_timeout_s", "min_free_memory_percent", "min_free_disk_gb", "max_gpu_temperature_c"))

    stack = watched(start(HANGS), tmp_path, audit, **off)

    assert {watchdog.name for watchdog in stack.watchdogs} == {"log_inactivity", "gpu_memory"}


def test_without_logs_another_watches_them_and_nothing_is_said(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(HANGS)
    execution, terminator = ExecutionConfig(), ProcessGroupTerminator(process, 5)
    stack = sort_watchdogs(
        execution,
        pid=process.pid,
        log_paths=[],
        output_folder=tmp_path,
        tolerance_s=None,
        terminator=terminator,
        audit=audit,
        gpu=None,
    )

    with stack:
        pass

    assert {watchdog.name for watchdog in stack.watchdogs} == ALL - {"log_inactivity"}
    assert "log_inactivity: not watching" not in names(audit)


def test_thresholds_and_tolerance_come_from_the_configuration(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(HANGS)

    with pytest.raises(SorterTimeoutError), watched(process, tmp_path, audit, tolerance_s=0.5):
        raise ChildProcessError(process.wait(timeout=30))

    process = start(HANGS)
    with pytest.raises(DiskFullError), watched(process, tmp_path, audit, min_free_disk_gb=1e9):
        raise ChildProcessError(process.wait(timeout=30))


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_the_first_watchdog_that_trips_says_why(order: slice, start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + HANGS)
    terminator = ProcessGroupTerminator(process, grace_s=1.5)
    slow = LogInactivityWatchdog(tmp_path / "sorter.log", 0.6, terminator, audit=audit, interval_s=0.1)
    fast = TripsAtOnce(terminator, interval_s=0.1, audit=audit)

    with pytest.raises(DiskFullError) as caught, Watchdogs([slow, fast][order]) as stack:
        raise ChildProcessError(process.wait(timeout=30))

    assert stack.tripped is caught.value
    assert slow.tripped is None
    assert names(audit) == ["trips_at_once: tripped", "log_inactivity: tripped too late"]


def test_a_failure_of_the_block_passes_through_the_stack(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    with pytest.raises(KeyError, match="a failure"), watched(start(HANGS), tmp_path, audit):
        raise KeyError("a failure")


@pytest.mark.release
def test_the_stack_costs_little(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(HANGS)

    before = os.times()
    with watched(process, tmp_path, audit):
        time.sleep(10)
    after = os.times()

    assert after.user - before.user + after.system - before.system < 0.01 * 10


def test_the_active_log_is_that_of_the_innermost_block(tmp_path: Path) -> None:
    assert active_log_path() is None

    with active_log(tmp_path / "outer.log"):
        with active_log(tmp_path / "inner.log"):
            assert active_log_path() == tmp_path / "inner.log"
        assert active_log_path() == tmp_path / "outer.log"

    assert active_log_path() is None
