"""Sorters that fall silent, with real processes: which are ended, and which are let alone."""

import math
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sort_assets.errors import SorterTimeoutError
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import ProcessGroupTerminator
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog
from sort_assets_tests.running.conftest import Start
from sort_assets_tests.running.watchdogs.events import events, names

READY = "import os, sys, time; print('ready', flush=True);"
HANGS = READY + "time.sleep(600)"
COMPUTES = READY + "end = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"
COMPUTES_FOR_EVER = READY + "\nwhile True: pass"
READS_AND_WRITES = (
    READY
    + """
for turn in range(18):
    with open(sys.argv[1], "wb", buffering=0) as file:
        file.write(bytes(100_000))
    time.sleep(0.1)
"""
)
WRITES_LINES = """
import sys, time
with open(sys.argv[1], "a") as log:
    for turn in range(int(sys.argv[2])):
        print("batch", turn, file=log, flush=True)
        if turn == 0:
            print("ready", flush=True)
        time.sleep(0.1)
"""
WATCHES_A_WRITER = """
import subprocess, sys
from pathlib import Path
from sort_assets.running.termination import ProcessGroupTerminator
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog
log = Path(sys.argv[1])
command = [sys.executable, "-c", sys.argv[2], str(log), "15"]
with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as sorter:
    sorter.stdout.readline()
    with LogInactivityWatchdog(log, 1.5, ProcessGroupTerminator(sorter, 1), interval_s=0.1):
        print(sorter.pid, flush=True)
        if sorter.wait():
            raise RuntimeError("the sorter was ended")
"""


class CountsReports(ProcessGroupTerminator):
    """Counts how often it is told that all is well."""

    reports = 0

    def heartbeat(self, tolerance_s: float) -> None:
        self.reports += 1


class EndedBadlyError(Exception):
    """What a caller makes of a sorter that ended badly."""


def wait_for(process: "subprocess.Popen[str]") -> None:
    if process.wait(timeout=30) != 0:
        raise EndedBadlyError(str(process.returncode))


def watchdog(
    process: "subprocess.Popen[str]",
    log: Path,
    tolerance_s: float | None,
    audit: AuditLog,
    *,
    activity: bool = True,
    logs_steadily: Callable[[], bool] | None = None,
) -> LogInactivityWatchdog:
    return LogInactivityWatchdog(
        log,
        tolerance_s,
        ProcessGroupTerminator(process, grace_s=5),
        activity=ProcessActivity(process.pid) if activity else None,
        logs_steadily=logs_steadily,
        audit=audit,
        interval_s=0.1,
    )


def test_a_sorter_that_only_looks_busy_is_ended_where_it_should_write_steadily(
    start: Start, tmp_path: Path, audit: AuditLog
) -> None:
    process = start(COMPUTES_FOR_EVER)
    steadily = iter([False, False])  # at first it is where it writes little
    watch = watchdog(process, tmp_path / "sorter.log", 0.5, audit, logs_steadily=lambda: next(steadily, True))

    with pytest.raises(SorterTimeoutError, match=r"It was busy, as with a computation on the GPU") as caught, watch:
        wait_for(process)

    assert caught.value.diagnostics["tolerance_s"] == 1.5


def test_a_silent_sorter_is_ended_in_time_and_the_error_says_since_when(
    start: Start, tmp_path: Path, audit: AuditLog
) -> None:
    log = tmp_path / "sorter.log"
    log.write_text("Detecting spikes\nFirst clustering\n")
    process = start(HANGS)
    began = time.monotonic()

    with pytest.raises(SorterTimeoutError, match="no sign of life") as caught, watchdog(process, log, 1.0, audit):
        wait_for(process)

    assert 1.0 <= time.monotonic() - began < 4
    assert process.returncode == -signal.SIGTERM
    assert isinstance(caught.value.__cause__, EndedBadlyError)
    assert caught.value.log_excerpt == "Detecting spikes\nFirst clustering"
    assert caught.value.diagnostics["last_log_line"] == "First clustering"
    assert caught.value.diagnostics["tolerance_s"] == 1.0
    assert caught.value.diagnostics["silent_s"] == pytest.approx(1.1, abs=0.5)
    assert names(audit) == ["log_inactivity: tripped"]
    assert events(audit)[0]["numbers"]["error"] == "SorterTimeoutError"


def test_a_log_that_never_comes_is_silence(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(HANGS)

    with pytest.raises(SorterTimeoutError), watchdog(process, tmp_path / "missing" / "sorter.log", 0.5, audit):
        wait_for(process)


def test_a_log_that_can_t_be_read_is_silence_and_that_is_logged(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    folder = tmp_path / "share"
    folder.symlink_to(folder)  # ELOOP: not even root can open it, as with ESTALE of a share that went away
    process = start(HANGS)

    with pytest.raises(SorterTimeoutError), watchdog(process, folder / "sorter.log", 0.5, audit):
        wait_for(process)

    assert names(audit) == ["log_inactivity: log can't be read: OSError", "log_inactivity: tripped"]


def test_a_sorter_that_computes_is_let_alone_when_its_log_can_t_be_read_any_more(
    start: Start, tmp_path: Path, audit: AuditLog
) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    process = start(COMPUTES, 2)

    with watchdog(process, folder / "sorter.log", 0.5, audit) as guard:
        time.sleep(0.3)
        folder.rmdir()
        folder.symlink_to(folder)
        wait_for(process)

    assert guard.tripped is None


def test_only_a_check_that_succeeds_puts_off_the_end_of_a_process_whose_lock_is_kept(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(COMPUTES_FOR_EVER)
    terminator = CountsReports(process, grace_s=5)
    activity = ProcessActivity(process.pid)

    with LogInactivityWatchdog([], 5, terminator, activity=activity, interval_s=0.05):
        time.sleep(0.5)
        while_it_checks = terminator.reports
        # Stands for whatever may go wrong with a check.
        monkeypatch.delattr(ProcessActivity, "since_last_check")
        time.sleep(0.2)
        terminator.reports = 0
        time.sleep(0.5)

    assert while_it_checks > 3
    assert terminator.reports == 0


def test_a_stopped_sorter_is_ended(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(COMPUTES_FOR_EVER)
    process.send_signal(signal.SIGSTOP)

    with pytest.raises(SorterTimeoutError), watchdog(process, tmp_path / "sorter.log", 1.0, audit):
        wait_for(process)


def test_a_silent_sorter_that_computes_is_let_alone(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(COMPUTES, 1.8)

    with watchdog(process, tmp_path / "sorter.log", 0.5, audit) as guard:
        wait_for(process)

    assert guard.tripped is None


def test_a_silent_sorter_that_reads_and_writes_is_let_alone(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(READS_AND_WRITES, tmp_path / "spikes.bin")

    with watchdog(process, tmp_path / "sorter.log", 0.5, audit) as guard:
        wait_for(process)

    assert guard.tripped is None


def test_a_log_that_is_renamed_is_followed(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    log = tmp_path / "sorter.log"
    process = start(WRITES_LINES, log, 16)

    with watchdog(process, log, 0.7, audit, activity=False) as guard:
        time.sleep(0.3)
        log.rename(tmp_path / "sorter.log.1")
        wait_for(process)

    assert guard.tripped is None
    assert not log.exists()


def test_a_log_that_is_copied_and_truncated_is_followed(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    log = tmp_path / "sorter.log"
    process = start(WRITES_LINES, log, 25)

    with watchdog(process, log, 0.7, audit, activity=False) as guard:
        for turn in range(2):
            time.sleep(0.5)
            shutil.copy2(log, tmp_path / f"sorter.log.{turn}")
            os.truncate(log, 0)
        wait_for(process)

    assert guard.tripped is None
    assert "batch 0\n" not in log.read_text()


def test_any_of_several_logs_counts(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(WRITES_LINES, tmp_path / "second.log", 14)
    paths = [tmp_path / "first.log", tmp_path / "second.log"]
    terminator = ProcessGroupTerminator(process, grace_s=5)

    with LogInactivityWatchdog(paths, 0.7, terminator, audit=audit, interval_s=0.1) as guard:
        wait_for(process)

    assert guard.tripped is None


def test_a_clock_that_jumps_ends_no_sorter_that_writes(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    log = tmp_path / "sorter.log"
    process = start(WRITES_LINES, log, 25)

    with watchdog(process, log, 0.7, audit, activity=False) as guard:
        for hours in (5, -5, 0, -48):
            time.sleep(0.4)
            os.utime(log, (time.time() + 3600 * hours,) * 2)
        wait_for(process)

    assert guard.tripped is None


@pytest.mark.parametrize("hours", [5, -5])
def test_a_clock_that_jumped_does_not_hide_a_silent_sorter(
    hours: int, start: Start, tmp_path: Path, audit: AuditLog
) -> None:
    log = tmp_path / "sorter.log"
    log.write_text("Detecting spikes\n")
    process = start(HANGS)
    began = time.monotonic()
    jump = threading.Timer(0.3, os.utime, (log, (time.time() + 3600 * hours,) * 2))
    jump.start()

    with pytest.raises(SorterTimeoutError), watchdog(process, log, 1.0, audit):
        wait_for(process)

    assert 1.3 <= time.monotonic() - began < 4


def test_time_in_which_the_watchdog_itself_did_not_run_is_no_silence(start: Start, tmp_path: Path) -> None:
    watching = start(WATCHES_A_WRITER, tmp_path / "sorter.log", WRITES_LINES)
    (child,) = psutil.Process(watching.pid).children()
    sorter = child.pid

    # As when the machine sleeps: everything stands still, and not everything goes on in the same instant.
    os.kill(sorter, signal.SIGSTOP)
    os.kill(watching.pid, signal.SIGSTOP)
    time.sleep(2.5)
    os.kill(watching.pid, signal.SIGCONT)
    time.sleep(0.3)
    os.kill(sorter, signal.SIGCONT)

    assert watching.wait(timeout=30) == 0


@pytest.mark.parametrize("tolerance_s", [None, math.nan, math.inf, 0.0, -1.0])
def test_an_odd_tolerance_watches_nothing_and_says_so(
    tolerance_s: float | None, start: Start, tmp_path: Path, audit: AuditLog
) -> None:
    process = start(HANGS)

    with watchdog(process, tmp_path / "sorter.log", tolerance_s, audit) as guard:
        time.sleep(0.5)

    assert guard.tripped is None
    assert process.poll() is None
    assert names(audit) == ["log_inactivity: not watching"]


def test_the_end_of_the_sorter_is_not_silence(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(READY)
    process.wait()

    with watchdog(process, tmp_path / "sorter.log", 0.3, audit) as guard:
        time.sleep(1.0)  # whoever waited for it still reads its results

    assert guard.tripped is None


def test_a_failure_without_a_trip_passes_unchanged(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(READY + "sys.exit(3)")

    with pytest.raises(EndedBadlyError, match="3"), watchdog(process, tmp_path / "sorter.log", 30, audit):
        wait_for(process)


def test_a_result_that_came_before_the_end_stands(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(HANGS)

    with watchdog(process, tmp_path / "sorter.log", 0.3, audit) as guard:
        process.wait(timeout=30)
        result = "as if it had finished by itself"

    assert result
    assert isinstance(guard.tripped, SorterTimeoutError)
    assert names(audit) == ["log_inactivity: tripped", "log_inactivity: finished"]


def test_a_person_s_cancel_passes_even_after_a_trip_and_the_sorter_is_gone_nevertheless(
    start: Start, tmp_path: Path, audit: AuditLog
) -> None:
    process = start("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + HANGS)
    guard = LogInactivityWatchdog(
        tmp_path / "sorter.log", 0.3, ProcessGroupTerminator(process, grace_s=1.5), audit=audit, interval_s=0.1
    )
    cancel = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    cancel.start()

    with pytest.raises(KeyboardInterrupt), guard:
        wait_for(process)

    assert isinstance(guard.tripped, SorterTimeoutError)
    assert process.wait(timeout=0.5) == -signal.SIGKILL


def test_watchdogs_leave_no_threads(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(HANGS)

    with watchdog(process, tmp_path / "sorter.log", 30, audit):
        assert any("watchdog" in thread.name for thread in threading.enumerate())

    assert not any("watchdog" in thread.name for thread in threading.enumerate())
