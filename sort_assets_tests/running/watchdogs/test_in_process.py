"""Sorters that hang inside a process, each in a Python process of its own, because some of them take it along."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from sort_assets.running.audit import AUDIT_LOG, HANG_TRACEBACK, AuditLog
from sort_assets.running.in_process import EXIT_HUNG
from sort_assets_tests.running.watchdogs.events import names

PREPARED = """
import ctypes, os, queue, signal, subprocess, sys, threading, time, traceback
from pathlib import Path
from sort_assets.errors import SorterTimeoutError
from sort_assets.running.audit import AUDIT_LOG, AuditLog
from sort_assets.running.in_process import InProcessTerminator
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog
from sort_assets.running.watchdogs.activity import ProcessActivity

folder = Path(sys.argv[1])
audit = AuditLog(folder / AUDIT_LOG)

def guard(tolerance_s=1.0, grace_s=1.0):
    return LogInactivityWatchdog(
        folder / "sorter.log",
        tolerance_s,
        InProcessTerminator(grace_s, audit=audit),
        activity=ProcessActivity(os.getpid()),
        audit=audit,
        interval_s=0.1,
    )

def compute(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: pass

before = signal.getsignal(signal.SIGUSR1)
print("ready", flush=True)
"""
HANG = """
try:
    with guard():
        {hang}
except SorterTimeoutError as error:
    print(type(error.__cause__).__name__, "handler restored" if signal.getsignal(signal.SIGUSR1) == before else "")
"""


def run(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PREPARED + code, str(folder)], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "hang",
    [
        "time.sleep(600)",
        "queue.Queue().get()",
        "threading.Event().wait()",
        "subprocess.run(['sleep', '20'])",
        "os.read(os.pipe()[0], 1)",
    ],
)
def test_a_blocking_call_is_interrupted(hang: str, tmp_path: Path) -> None:
    began = time.monotonic()

    ended = run(HANG.format(hang=hang), tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["ready", "WatchdogInterrupt handler restored"]
    assert time.monotonic() - began < 10
    assert names(AuditLog(tmp_path / AUDIT_LOG)) == ["log_inactivity: tripped"]
    assert "Thread" in (tmp_path / HANG_TRACEBACK).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("swallowing", ["except BaseException: pass", "finally: time.sleep(600)"])
def test_a_sorter_that_swallows_the_interrupt_is_ended_with_its_process(swallowing: str, tmp_path: Path) -> None:
    code = f"""
def hang():
    while True:
        try: time.sleep(600)
        {swallowing}
with guard():
    hang()
"""
    ended = run(code, tmp_path)

    assert ended.returncode == EXIT_HUNG
    assert names(AuditLog(tmp_path / AUDIT_LOG)) == ["log_inactivity: tripped", "terminator: process ended"]
    assert "in hang" in (tmp_path / HANG_TRACEBACK).read_text()


def test_a_call_that_lets_python_go_on_but_can_t_be_interrupted_is_ended_with_its_process(tmp_path: Path) -> None:
    code = """
mutex = ctypes.create_string_buffer(128)
with guard():
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)  # waits for itself, whatever signals come
"""
    ended = run(code, tmp_path)

    assert ended.returncode == EXIT_HUNG


def test_a_call_that_keeps_the_global_lock_is_ended_by_faulthandler(tmp_path: Path) -> None:
    code = """
def keeps_the_lock():
    ctypes.PyDLL(None).sleep(600)
with guard():
    keeps_the_lock()
"""
    began = time.monotonic()

    ended = run(code, tmp_path)

    assert ended.returncode == 1
    assert time.monotonic() - began < 15
    assert "in keeps_the_lock" in (tmp_path / HANG_TRACEBACK).read_text()
    assert names(AuditLog(tmp_path / AUDIT_LOG)) == []  # no Python ran any more


def test_looks_put_off_the_end_while_all_is_well(tmp_path: Path) -> None:
    code = """
with guard(tolerance_s=0.6, grace_s=0.2):
    for turn in range(15):
        time.sleep(0.1)
        with (folder / "sorter.log").open("a") as log: print(turn, file=log)
time.sleep(1.5)
print("finished")
"""
    ended = run(code, tmp_path)

    assert ended.stdout.splitlines() == ["ready", "finished"]
    assert ended.returncode == 0
    assert not (tmp_path / HANG_TRACEBACK).exists()


def test_a_silent_sorter_that_computes_in_this_process_is_let_alone(tmp_path: Path) -> None:
    ended = run("with guard():\n    compute(2.2)\nprint('finished')", tmp_path)

    assert ended.stdout.splitlines() == ["ready", "finished"]


def test_looks_of_the_watchdogs_are_no_life_of_the_process(tmp_path: Path) -> None:
    code = """
from sort_assets.running.watchdogs.cpu_accounting import exclude_from_activity
activity = ProcessActivity(os.getpid())
def alive():
    with exclude_from_activity():
        return activity.since_last_check().alive
def works_all_the_time():
    with exclude_from_activity():
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            Path("/proc/meminfo").read_bytes()
            compute(0.002)
            time.sleep(0.008)
alive()
working = threading.Thread(target=works_all_the_time)
working.start()
time.sleep(1)
print(alive())
working.join()
print(alive())
compute(0.3)
print(alive())
"""
    ended = run(code, tmp_path)

    assert ended.stdout.splitlines() == ["ready", "False", "False", "True"]


def test_spikeinterface_s_way_of_catching_errors_does_not_swallow_the_interrupt(tmp_path: Path) -> None:
    code = """
def as_spikeinterface_does():
    try: time.sleep(600)
    except Exception: print("swallowed")
"""
    ended = run(code + HANG.format(hang="as_spikeinterface_does()"), tmp_path)

    assert ended.stdout.splitlines() == ["ready", "WatchdogInterrupt handler restored"]


def test_a_person_s_cancel_passes_unchanged(tmp_path: Path) -> None:
    code = """
try:
    with guard(tolerance_s=30):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        time.sleep(600)
except KeyboardInterrupt as error:
    print("cancelled", error.__cause__)
"""
    ended = run(code, tmp_path)

    assert ended.stdout.splitlines() == ["ready", "cancelled None"]


def test_dagster_s_cancel_passes_unchanged_and_the_watchdog_works_under_its_handler(tmp_path: Path) -> None:
    code = """
from dagster import DagsterExecutionInterruptedError
from dagster._utils.interrupts import raise_interrupts_as
with raise_interrupts_as(DagsterExecutionInterruptedError):
    try:
        with guard(tolerance_s=30):
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            time.sleep(600)
    except DagsterExecutionInterruptedError as error:
        print("cancelled", error.__cause__)
"""
    ended = run(code + _indent(HANG.format(hang="time.sleep(600)")), tmp_path)

    assert ended.stdout.splitlines() == ["ready", "cancelled None", "WatchdogInterrupt handler restored"]


def test_off_the_main_thread_nothing_is_watched_and_nobody_s_process_is_ended(tmp_path: Path) -> None:
    code = """
def sort():
    with guard(tolerance_s=0.3, grace_s=0.1):
        time.sleep(1)
    print("finished")
thread = threading.Thread(target=sort)
thread.start()
thread.join()
"""
    ended = run(code, tmp_path)

    assert ended.stdout.splitlines() == ["ready", "finished"]
    assert names(AuditLog(tmp_path / AUDIT_LOG)) == ["log_inactivity: not watching"]


def test_an_interrupt_that_comes_when_the_block_has_been_left_does_no_harm(tmp_path: Path) -> None:
    code = """
from sort_assets.running.watchdogs.base import Watchdog, Watchdogs
class Slow(Watchdog):
    name = "slow"
    def check(self):
        looking.set()
        time.sleep(1)
class TripsWhileTheOtherIsLeft(Watchdog):
    name = "late"
    def check(self):
        return SorterTimeoutError("late", remedy="none") if left.is_set() else None
looking, left = threading.Event(), threading.Event()
terminator = InProcessTerminator(5, audit=audit)
late = TripsWhileTheOtherIsLeft(terminator, interval_s=0.3, audit=audit)
with Watchdogs([late, Slow(terminator, interval_s=0.01)]):
    looking.wait()
    left.set()
print("finished")
"""
    ended = run(code, tmp_path)

    assert ended.stdout.splitlines() == ["ready", "finished"], ended.stderr
    assert names(AuditLog(tmp_path / AUDIT_LOG)) == ["late: tripped", "late: finished"]


def _indent(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())
