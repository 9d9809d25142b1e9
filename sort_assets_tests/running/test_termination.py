"""Ending process groups, with real processes that obey, refuse, are stopped, and leave the group."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from sort_assets.running.termination import end_process_group

PREPARED = """
import os, signal, subprocess, sys, time
def ignore(): signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
OBEYS = PREPARED + "print(0, flush=True); time.sleep(600)"
IGNORES_WITH_GRANDCHILD = (
    PREPARED
    + """
ignore()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], preexec_fn=ignore)
print(child.pid, flush=True)
time.sleep(600)
"""
)
GRANDCHILD_IN_A_SESSION_OF_ITS_OWN = (
    PREPARED
    + """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
)
LEAVES_A_GRANDCHILD = (
    PREPARED
    + """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], preexec_fn=ignore)
print(child.pid, flush=True)
"""
)
Start = Callable[[str], tuple["subprocess.Popen[str]", int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts code in a group of its own; returns the process and the pid that it prints."""
    started: list[tuple[subprocess.Popen[str], int]] = []

    def starting(code: str) -> tuple["subprocess.Popen[str]", int]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        started.append((process, int(process.stdout.readline())))
        return started[-1]

    yield starting

    for process, grandchild in started:
        for kill, pid in ((os.killpg, process.pid), (os.kill, grandchild)):
            with contextlib.suppress(ProcessLookupError):
                kill(pid or process.pid, signal.SIGKILL)
        process.communicate()


def test_a_process_that_obeys_is_only_asked(start: Start) -> None:
    process, _ = start(OBEYS)

    assert end_process_group(process, grace_s=30)

    assert process.wait() == -signal.SIGTERM


def test_a_process_and_a_grandchild_that_ignore_the_request_are_killed_after_the_grace_period(start: Start) -> None:
    process, grandchild = start(IGNORES_WITH_GRANDCHILD)
    began = time.monotonic()

    assert end_process_group(process, grace_s=0.5)

    assert 0.5 <= time.monotonic() - began < 5
    assert process.wait() == -signal.SIGKILL
    assert not _lives(grandchild)


def test_a_stopped_process_hears_the_request(start: Start) -> None:
    process, _ = start(OBEYS)
    process.send_signal(signal.SIGSTOP)

    assert end_process_group(process, grace_s=30)

    assert process.wait() == -signal.SIGTERM


def test_a_grandchild_that_left_the_group_is_ended_too(start: Start) -> None:
    process, grandchild = start(GRANDCHILD_IN_A_SESSION_OF_ITS_OWN)

    assert end_process_group(process, grace_s=5)

    assert not _lives(grandchild)


def test_what_a_process_that_has_ended_left_in_its_group_is_ended(start: Start) -> None:
    process, grandchild = start(LEAVES_A_GRANDCHILD)
    process.wait()
    assert _lives(grandchild)

    assert end_process_group(process, grace_s=0.2)

    assert not _lives(grandchild)


def test_a_group_that_is_gone_is_no_error(start: Start) -> None:
    process, _ = start(PREPARED + "print(0)")
    process.wait()

    assert end_process_group(process, grace_s=1)


def test_the_group_of_whoever_started_the_process_is_never_touched() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    try:
        with pytest.raises(ValueError, match="does not lead"):
            end_process_group(process, grace_s=1)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
