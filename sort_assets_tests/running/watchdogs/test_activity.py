"""Signs of life, of real processes."""

import signal
import time
from pathlib import Path

from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets_tests.running.conftest import Start

READY = "import os, subprocess, sys, time; print('ready', flush=True);"
HANGS = READY + "time.sleep(600)"
COMPUTES = READY + "\nwhile True: pass"
READS = READY + "\nwhile True:\n    open(sys.argv[1], 'rb').read()\n    time.sleep(0.05)"
CHILD_COMPUTES = READY + "subprocess.run([sys.executable, '-c', 'while True: pass'])"
SHORT_CHILDREN = READY + "\nwhile True: subprocess.run([sys.executable, '-c', 'sum(range(1_000_000))'])"
LEAVES_A_CHILD = (
    "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); print('ready', flush=True); time.sleep(0.5)"
)


def test_a_hung_process_shows_none(start: Start) -> None:
    activity = ProcessActivity(start(HANGS).pid)
    time.sleep(0.5)

    seen = activity.since_last_check()

    assert not seen.alive
    assert seen.running
    assert 0.5 <= seen.elapsed_s < 2


def test_processor_time_is_life_until_the_process_is_stopped(start: Start) -> None:
    process = start(COMPUTES)
    activity = ProcessActivity(process.pid)
    time.sleep(0.5)

    assert activity.since_last_check().cpu_s > 0.02  # of two cores that other tests use too

    process.send_signal(signal.SIGSTOP)
    activity.since_last_check()
    time.sleep(0.3)
    stopped = activity.since_last_check()
    assert stopped.stopped
    assert not stopped.alive


def test_reading_is_life(start: Start, tmp_path: Path) -> None:
    (tmp_path / "traces.dat").write_bytes(bytes(100_000))
    activity = ProcessActivity(start(READS, tmp_path / "traces.dat").pid)
    time.sleep(0.5)

    seen = activity.since_last_check()

    assert seen.io_bytes > 300_000
    assert seen.alive


def test_children_count_also_those_that_come_and_go_between_checks(start: Start) -> None:
    for code in (CHILD_COMPUTES, SHORT_CHILDREN):
        activity = ProcessActivity(start(code).pid)
        time.sleep(0.7)
        assert activity.since_last_check().alive


def test_a_child_that_outlives_its_parent_is_still_followed(start: Start) -> None:
    process = start(LEAVES_A_CHILD)
    activity = ProcessActivity(process.pid)

    process.wait()

    assert activity.since_last_check().running
    assert [one.name() for one in activity.processes()] == ["sleep"]


def test_a_process_that_is_gone_is_neither_running_nor_alive(start: Start) -> None:
    process = start(READY)
    process.wait()

    for activity in (ProcessActivity(process.pid),):
        seen = activity.since_last_check()
        assert not seen.running
        assert not seen.alive
