"""What a piece of work takes is read from the kernel's accounts, with that of the processes that it waited for."""

import subprocess
import sys
import time
from pathlib import Path

from sort_assets.machine.resource_use import ResourceMeter

_MB = 1_000_000
_BUSY = """
import os, sys, time
held = b"x" * 300_000_000
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
with open(sys.argv[1], "wb") as file:
    file.write(held[:5_000_000])
    os.fsync(file.fileno())
"""


def test_the_processes_it_waited_for_count(tmp_path: Path) -> None:
    meter = ResourceMeter()

    subprocess.run([sys.executable, "-c", _BUSY, str(tmp_path / "written")], check=True)

    used = meter.read()
    assert used.cpu_s >= 0.3
    assert used.wall_s >= 0.3
    assert used.peak_memory_bytes > 300 * _MB
    assert used.written_bytes is None or used.written_bytes >= 5 * _MB or _is_in_memory(tmp_path)


def test_a_peak_before_it_does_not_count() -> None:
    earlier = ResourceMeter()
    held = b"x" * (400 * _MB)
    del held
    peak_bytes = earlier.read().peak_memory_bytes

    assert ResourceMeter().read().peak_memory_bytes < peak_bytes - 200 * _MB


def test_a_gpu_counts_while_it_is_held_and_names_the_device() -> None:
    meter = ResourceMeter()
    with meter.waiting():
        time.sleep(0.05)
    meter.gpu_taken("NVIDIA H200")
    time.sleep(0.05)
    meter.gpu_given_back()
    meter.gpu_given_back()
    time.sleep(0.05)

    used = meter.read()

    assert used.device == "NVIDIA H200"
    assert 0.05 <= used.gpu_s < used.wall_s - used.waited_s
    assert used.waited_s >= 0.05


def test_without_a_gpu_the_device_is_the_processor() -> None:
    used = ResourceMeter().read()

    assert used.gpu_s == 0
    assert used.device


def _is_in_memory(folder: Path) -> bool:
    """Files of a tmpfs are never written to a disk."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(where), kind) for _, where, kind, *_ in mounts if folder.is_relative_to(where)]
    return max(above)[1] in ("tmpfs", "ramfs")
