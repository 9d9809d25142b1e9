"""CPU accounting of the watchdogs: their work inside this process is no sign of life of the sort."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_IO_COUNTERS = ("rchar", "wchar", "read_bytes", "write_bytes")


@dataclass(frozen=True)
class Used:
    """What threads used.

    Attributes
    ----------
    cpu_s : float
        Processor seconds.
    io_bytes : int
        Bytes read and written, through system calls and from and to the disk, added up.
    """

    cpu_s: float = 0.0
    io_bytes: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(self.cpu_s + other.cpu_s, self.io_bytes + other.io_bytes)

    def __sub__(self, other: Used) -> Used:
        return Used(self.cpu_s - other.cpu_s, self.io_bytes - other.io_bytes)


@dataclass(eq=False)
class _Block:
    """A thread inside of `exclude_from_activity`."""

    identity: int
    native_id: int
    at_begin: Used

    def used(self) -> Used:
        return _of_thread(self.identity, self.native_id) - self.at_begin


class _Account:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.lock = threading.Lock()
        self.open: list[_Block] = []
        self.closed = Used()


_account = _Account()
# A forked child has none of these threads, and its lock may be held by one of them.
os.register_at_fork(after_in_child=_account.reset)


@contextlib.contextmanager
def exclude_from_activity() -> Iterator[None]:
    """Exclude what this thread does inside of the block from the signs of life of its process.

    Watchdogs read files all the time; a sort that hangs in the same process must not look alive for it. Blocks of one
    thread must not be nested.
    """
    identity, native_id = threading.get_ident(), threading.get_native_id()
    block = _Block(identity, native_id, _of_thread(identity, native_id))
    with _account.lock:
        _account.open.append(block)
    try:
        yield
    finally:
        with _account.lock:
            _account.open.remove(block)
            _account.closed += block.used()


def excluded_usage() -> Used:
    """What all threads of this process have used so far inside of `exclude_from_activity`."""
    with _account.lock:
        return sum((block.used() for block in _account.open), start=_account.closed)


def _of_thread(identity: int, native_id: int) -> Used:
    return Used(time.clock_gettime(time.pthread_getcpuclockid(identity)), _io_bytes(native_id))


def _io_bytes(native_id: int) -> int:
    try:
        lines = Path(f"/proc/self/task/{native_id}/io").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, PermissionError):  # a system that does not count for threads
        return 0
    values = dict(line.split(": ") for line in lines)
    return sum(int(values[name]) for name in _IO_COUNTERS)
