"""What a piece of work takes of the machine, read from the kernel's own accounts: at its beginning, and at its end.

Nothing is polled meanwhile. The kernel counts for this process and for each process that it has started and waited for,
with theirs in turn; so the process of a sorter counts, once it has ended.
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_STATUS = Path("/proc/self/status")
_IO = Path("/proc/self/io")
_FORGET_PEAKS = Path("/proc/self/clear_refs")
_RESET_PEAK_MEMORY = "5"
"""Sets the peak of this process to what it has now, and nothing else (`man 5 proc_pid_clear_refs`)."""
_PROCESSOR = Path("/proc/cpuinfo")
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class ResourceUse:
    """What a piece of work took.

    Attributes
    ----------
    wall_s : float
        From its beginning to its end.
    waited_s : float
        Of these, seconds in which it waited for a device.
    cpu_s : float
        Of all cores, in this process and those that it waited for.
    gpu_s : float
        Seconds for which it held a GPU.
    device : str
        Name of that GPU; of the processor where it held none.
    peak_memory_bytes : int
        The peak of this process, plus that of the largest that it waited for: at least what they had at any one time,
        unless several large ones ran side by side. Pages of memory-mapped files that were in use count.
    read_bytes, written_bytes : int or None
        From and to disks and file servers; what the page cache had is not read. None where the kernel does not count.
    """

    wall_s: float
    waited_s: float
    cpu_s: float
    gpu_s: float
    device: str
    peak_memory_bytes: int
    read_bytes: int | None
    written_bytes: int | None


class ResourceMeter:
    """Measures from its creation on. One at a time: a new one forgets the peak of memory so far."""

    def __init__(self) -> None:
        with suppress(OSError):  # no such file, or a container without the right: then the peak is the process's own
            _FORGET_PEAKS.write_text(_RESET_PEAK_MEMORY, encoding="ascii")
        self._start = time.monotonic()
        self._cpu_s = _cpu_s()
        self._io = _io_bytes()
        self._largest_child = _largest_child_bytes()
        self._waited_s = 0.0
        self._gpu: str | None = None
        self._gpu_s = 0.0
        self._gpu_since: float | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The block waits for a device."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._waited_s += time.monotonic() - begun

    def gpu_taken(self, name: str) -> None:
        """From now on a GPU is held."""
        self._gpu, self._gpu_since = name, time.monotonic()

    def gpu_given_back(self) -> None:
        """From now on none is held; may be said again."""
        if self._gpu_since is not None:
            self._gpu_s += time.monotonic() - self._gpu_since
            self._gpu_since = None

    def read(self) -> ResourceUse:
        """What was taken until now."""
        now = time.monotonic()
        held_s = 0.0 if self._gpu_since is None else now - self._gpu_since
        child = _largest_child_bytes()
        # A child that was smaller than an earlier one, before this meter, has left no trace.
        of_children = child if child > self._largest_child else 0
        read, written = (
            None if after is None or before is None else max(0, after - before)
            for before, after in zip(self._io, _io_bytes(), strict=True)
        )
        return ResourceUse(
            wall_s=now - self._start,
            waited_s=self._waited_s,
            cpu_s=_cpu_s() - self._cpu_s,
            gpu_s=self._gpu_s + held_s,
            device=self._gpu or processor_name(),
            peak_memory_bytes=_own_peak_bytes() + of_children,
            read_bytes=read,
            written_bytes=written,
        )


@cache
def processor_name() -> str:
    """The model of this machine's processor, such as "AMD EPYC 7763 64-Core Processor"."""
    with suppress(OSError):
        for line in _PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _cpu_s() -> float:
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _largest_child_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_BYTES


def _own_peak_bytes() -> int:
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES


def _io_bytes() -> tuple[int | None, int | None]:
    """Read and written so far; the kernel adds those of a child when it was waited for (`man 5 proc_pid_io`)."""
    counted: dict[str, int] = {}
    with suppress(OSError, ValueError):
        for line in _IO.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            counted[name] = int(value)
    return counted.get("read_bytes"), counted.get("write_bytes")
