"""A process that sleeps uninterruptibly, as one does that reads from a share that went away.

The state is real: between `vfork` and the child's `exec` the parent sleeps so, and here the child never comes to
`exec`, because it first opens a pipe that nobody writes to.
"""

import os
import signal
import time
from pathlib import Path

import pytest

from sort_assets.errors import StalledIoError
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import ProcessGroupTerminator
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.io_stall import IoStallWatchdog
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog
from sort_assets_tests.running.conftest import Start

SLEEPS_UNINTERRUPTIBLY = """
import os, sys, threading, time
print("ready", flush=True)
def stall():
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)])
if sys.argv[2] == "in a thread":
    threading.Thread(target=stall).start()
    time.sleep(600)
stall()
"""
SLEEPS = "import time; print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("where", ["in the main thread", "in a thread"])
def test_a_sorter_that_waits_for_a_disk_is_ended(where: str, start: Start, pipe: Path, audit: AuditLog) -> None:
    process = start(SLEEPS_UNINTERRUPTIBLY, pipe, where)
    _wait_until_a_thread_sleeps_uninterruptibly(process.pid)
    guard = IoStallWatchdog(
        0.5, ProcessActivity(process.pid), ProcessGroupTerminator(process, 1), interval_s=0.1, audit=audit
    )

    with pytest.raises(StalledIoError) as caught, guard:
        raise ChildProcessError(process.wait(timeout=30))

    assert process.returncode in (-signal.SIGTERM, -signal.SIGKILL)
    assert caught.value.diagnostics["pid"] == process.pid
    assert caught.value.diagnostics["stalled_s"] >= 0.5  # type: ignore[operator]


def test_silence_while_a_thread_waits_for_a_disk_is_a_stalled_disk(
    start: Start, pipe: Path, tmp_path: Path, audit: AuditLog
) -> None:
    process = start(SLEEPS_UNINTERRUPTIBLY, pipe, "in a thread")
    _wait_until_a_thread_sleeps_uninterruptibly(process.pid)
    activity = ProcessActivity(process.pid)
    terminator = ProcessGroupTerminator(process, 1)
    silence = LogInactivityWatchdog(tmp_path / "log", 0.5, terminator, activity=activity, interval_s=0.1, audit=audit)

    with pytest.raises(StalledIoError, match=str(process.pid)) as caught, silence:
        raise ChildProcessError(process.wait(timeout=30))

    assert caught.value.diagnostics["timeout_s"] == 0.5


def test_a_sorter_that_only_sleeps_is_let_alone(start: Start, audit: AuditLog) -> None:
    process = start(SLEEPS)
    guard = IoStallWatchdog(
        0.3, ProcessActivity(process.pid), ProcessGroupTerminator(process, 1), interval_s=0.1, audit=audit
    )

    with guard:
        time.sleep(1)

    assert guard.tripped is None


def _wait_until_a_thread_sleeps_uninterruptibly(pid: int) -> None:
    deadline = time.monotonic() + 10
    while not any(") D " in stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
