import signal
import subprocess

import pytest

from sort_assets.errors import HostOutOfMemoryError
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import ProcessGroupTerminator
from sort_assets.running.watchdogs.host_memory import HostMemoryWatchdog
from sort_assets_tests.running.conftest import Start
from sort_assets_tests.running.watchdogs.events import names

HANGS = "import time; print('ready', flush=True); time.sleep(600)"


def watchdog(process: "subprocess.Popen[str]", min_free_percent: float, audit: AuditLog) -> HostMemoryWatchdog:
    return HostMemoryWatchdog(min_free_percent, ProcessGroupTerminator(process, 5), interval_s=0.05, audit=audit)


def test_too_little_memory_ends_the_sorter(start: Start, audit: AuditLog) -> None:
    process = start(HANGS)

    with pytest.raises(HostOutOfMemoryError) as caught, watchdog(process, 99.9, audit):
        raise ChildProcessError(process.wait(timeout=30))

    assert process.returncode == -signal.SIGTERM
    assert 0 < caught.value.diagnostics["available_bytes"] < caught.value.diagnostics["total_bytes"]  # type: ignore[operator]
    assert names(audit) == ["host_memory: tripped"]


def test_enough_memory_is_enough(start: Start, audit: AuditLog) -> None:
    process = start(HANGS)

    with watchdog(process, 0.1, audit) as guard, pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)

    assert guard.tripped is None
