"""What the log watchdog thinks of processes that only work on the GPU, hang there, or do nothing."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from sort_assets.machine.gpu_sensors import open_gpu
from sort_assets.machine.gpus import find_gpus
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import ProcessGroupTerminator, end_process_group
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog

TOLERANCE_S = 8.0
GRACE_S = 5.0
WORK = Path(__file__).with_name("work.py")


class _EndedError(Exception):
    """The process has ended, so that the watchdog's block does too."""


def watch(how: str, watched_s: float, gpu: str) -> None:
    """Start a process and watch it; print what was seen of it, and whether the watchdog ended it."""
    command = [sys.executable, str(WORK), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    while "ready" not in (line := process.stdout.readline()):
        if not line:
            print(f"{how}: ended before it was ready")
            return
    time.sleep(1)
    log_path = Path("watched.log")
    log_path.write_text("x")
    activity = ProcessActivity(process.pid, gpu=open_gpu(gpu))
    time.sleep(3)
    seen = activity.since_last_check()
    share = f"cpu share {seen.cpu_s / seen.elapsed_s:.2f}"
    print(f"{how}: {share}, gpu {seen.gpu_percent} % (of all: {seen.gpu_of_all}), alive {seen.alive}")
    watchdog = LogInactivityWatchdog(
        [log_path],
        TOLERANCE_S,
        ProcessGroupTerminator(process, GRACE_S),
        activity=ProcessActivity(process.pid, gpu=open_gpu(gpu)),
        sorter="kilosort4",
        audit=AuditLog(Path("audit.jsonl")),
    )
    started = time.monotonic()
    with contextlib.suppress(Exception), watchdog:
        while process.poll() is None and time.monotonic() - started < watched_s:
            time.sleep(0.2)
        if process.poll() is not None:
            raise _EndedError
    print(f"   after {time.monotonic() - started:.0f} s tripped: {type(watchdog.tripped).__name__}")
    started = time.monotonic()
    gone = end_process_group(process, GRACE_S)
    process.poll()
    print(f"   gone: {gone} after {time.monotonic() - started:.1f} s", flush=True)


def main() -> None:
    """Watch one process of each kind."""
    gpu = find_gpus()[0].uuid
    for how, watched_s in (("blocking", 8), ("endless", 20), ("silent", 20)):
        watch(how, watched_s, gpu)


if __name__ == "__main__":
    main()
