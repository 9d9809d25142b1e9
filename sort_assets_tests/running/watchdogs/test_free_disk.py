import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sort_assets.errors import DiskFullError
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import ProcessGroupTerminator
from sort_assets.running.watchdogs.free_disk import FreeDiskWatchdog
from sort_assets_tests.running.conftest import Start

HANGS = "import time; print('ready', flush=True); time.sleep(600)"
FILLS_THE_DISK = """
import sys, time
print("ready", flush=True)
with open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        file.write(bytes(200_000))
        time.sleep(0.02)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_sorter_that_fills_its_disk_is_ended_while_there_still_is_room(
    start: Start, small_disk: Path, audit: AuditLog
) -> None:
    output = small_disk / "results"
    process = start(FILLS_THE_DISK, small_disk / "spikes.bin")
    guard = FreeDiskWatchdog(output, 0.01, ProcessGroupTerminator(process, 5), interval_s=0.05, audit=audit)

    with pytest.raises(DiskFullError) as caught, guard:
        raise ChildProcessError(process.wait(timeout=30))

    assert process.returncode == -signal.SIGTERM  # not with an error of its own, for lack of room
    assert caught.value.diagnostics["path"] == str(output)
    assert 0 < caught.value.diagnostics["free_bytes"] < 10_000_000  # type: ignore[operator]


def test_a_threshold_above_the_disk_s_size_ends_the_sorter(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(HANGS)
    guard = FreeDiskWatchdog(tmp_path, 1e9, ProcessGroupTerminator(process, 5), interval_s=0.05, audit=audit)

    with pytest.raises(DiskFullError), guard:
        raise ChildProcessError(process.wait(timeout=30))


def test_enough_room_is_enough(start: Start, tmp_path: Path, audit: AuditLog) -> None:
    process = start(HANGS)
    guard = FreeDiskWatchdog(tmp_path, 1e-6, ProcessGroupTerminator(process, 5), interval_s=0.05, audit=audit)

    with guard, pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)

    assert guard.tripped is None
