"""What the tests have done in other processes."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sort_assets.errors import TooFewSpikesError


def add(first: int, second: int) -> int:
    print("adding")
    return first + second


def say(pid_file: str) -> str:
    Path(pid_file).write_text(str(os.getpid()))
    return sys.stdin.read()


def find_too_few_spikes() -> None:
    raise TooFewSpikesError("Only 3 spikes.", remedy="Record longer.", stage="detection", spikes_found=3)


def divide_by_zero() -> float:
    return 1 / 0


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_with_a_child(pid_file: str, *, stubborn: bool = False, hold_the_lock: bool = False) -> None:
    """Start a child and wait for ever, deaf to SIGTERM if stubborn; the pids of both go into the file."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    part = Path(f"{pid_file}.part")
    part.write_text(f"{os.getpid()} {child.pid}")
    part.rename(pid_file)
    if hold_the_lock:
        ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter's lock
    time.sleep(600)


def end_leaving_a_child(pid_file: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file).write_text(str(child.pid))


def prepare(pid_file: str) -> None:
    """What a process does ahead of its job; then it is there."""
    part = Path(f"{pid_file}.part")
    part.write_text(str(os.getpid()))
    part.rename(pid_file)


def device() -> tuple[int, str | None]:
    print("on the device")
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")
