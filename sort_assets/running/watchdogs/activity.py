"""Signs of life of a process and its descendants: processor, input and output, GPU."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from sort_assets.machine.gpu_sensors import GpuSensors, Utilisation
from sort_assets.running.watchdogs.cpu_accounting import excluded_usage

MIN_CPU_SHARE = 0.01
"""Part of one core below which a process counts as idle: the background threads of a hung one still wake up."""
MIN_IO_BYTES_PER_S = 4096.0
"""Bytes read or written per second below which they are bookkeeping: less than a page a second."""
MIN_GPU_PERCENT = 5.0
"""Utilisation below which a GPU counts as idle: a desktop that is shown on it needs a few percent."""
_UNINTERRUPTIBLE = "D"
_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
_STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


@dataclass(frozen=True)
class Activity:
    """What a process and its descendants did since the last check.

    Attributes
    ----------
    elapsed_s : float
        Monotonic seconds since the last check.
    cpu_s : float
        Processor seconds used.
    io_bytes : int
        Bytes read and written, through system calls and from and to the disk, added up: a measure of life, not of a
        volume.
    gpu_percent : float or None
        Utilisation of the GPU by these processes; None when it is not known.
    gpu_of_all : bool
        Whether `gpu_percent` is everybody's, because it can't be told who computes.
    gpu_silence : str
        Why `gpu_percent` is not known, when the GPU's driver did not answer.
    running : bool
        Whether any of the processes still exists.
    stopped : bool
        Whether all of them are stopped (SIGSTOP, a debugger).
    """

    elapsed_s: float
    cpu_s: float
    io_bytes: int
    gpu_percent: float | None
    gpu_of_all: bool
    gpu_silence: str
    running: bool
    stopped: bool

    @property
    def alive(self) -> bool:
        """Whether there is any sign of life."""
        if not self.running or self.stopped:
            return False
        return (
            self.cpu_s > MIN_CPU_SHARE * self.elapsed_s
            or self.io_bytes > MIN_IO_BYTES_PER_S * self.elapsed_s
            or (self.gpu_percent or 0.0) > MIN_GPU_PERCENT
        )


@dataclass(frozen=True)
class _Counters:
    cpu_s: float
    io_bytes: int
    stopped: bool


class ProcessActivity:
    """Follows a process and its descendants, also those that outlive it.

    Parameters
    ----------
    pid : int
        The process; also this process itself, whose watchdogs do not count.
    gpu : GpuSensors or None
        The GPU that it uses.
    """

    def __init__(self, pid: int, *, gpu: GpuSensors | None = None) -> None:
        self.pid = pid
        self._gpu = gpu
        self._gpu_seen_us = 0
        self._known: set[psutil.Process] = set()
        self._root: psutil.Process | None = None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._root = psutil.Process(pid)
            self._known.add(self._root)
        self._before = self._read()
        self._utilisation({process.pid for process in self._before})
        self._read_at = time.monotonic()

    def since_last_check(self) -> Activity:
        """What changed since this was last called, or since this was made."""
        now, read_at = self._read(), time.monotonic()
        before, elapsed_s = self._before, read_at - self._read_at
        self._before, self._read_at = now, read_at
        # Of a process that is new, everything counts.
        cpu_s = sum(max(0.0, one.cpu_s - before[key].cpu_s if key in before else one.cpu_s) for key, one in now.items())
        io_bytes = sum(
            max(0, one.io_bytes - before[key].io_bytes if key in before else one.io_bytes) for key, one in now.items()
        )
        gpu = self._utilisation({process.pid for process in (*before, *now)})
        return Activity(
            elapsed_s=elapsed_s,
            cpu_s=cpu_s,
            io_bytes=io_bytes,
            gpu_percent=gpu.percent,
            gpu_of_all=gpu.of_all_programs,
            gpu_silence=gpu.silence,
            running=bool(now),
            stopped=bool(now) and all(one.stopped for one in now.values()),
        )

    def processes(self) -> list[psutil.Process]:
        """The process and its descendants, as far as they still run."""
        return [process for process in self._family() if _runs(process)]

    def uninterruptible_threads(self) -> set[tuple[int, int]]:
        """Pairs of process and thread ids: those that wait for a disk or a share. Linux only; elsewhere none.

        Every thread is checked: the one that waits is rarely the process's first.
        """
        found = set()
        for process in self.processes():
            for stat in Path(f"/proc/{process.pid}/task").glob("*/stat"):
                try:
                    text = stat.read_text(encoding="utf-8", errors="replace")
                except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                    continue
                # "123 (name, which may hold anything) D 1 …"
                if text.rpartition(")")[2].split()[0] == _UNINTERRUPTIBLE:
                    found.add((process.pid, int(stat.parent.name)))
        return found

    def _utilisation(self, pids: set[int]) -> Utilisation:
        if self._gpu is None:
            return Utilisation(None, of_all_programs=False)
        try:
            utilisation, self._gpu_seen_us = self._gpu.utilisation(pids, self._gpu_seen_us)
        except self._gpu.failures as error:
            return Utilisation(None, of_all_programs=False, silence=str(error))
        return utilisation

    def _family(self) -> set[psutil.Process]:
        # While the first lives, all the others descend from it; afterwards only our own record knows that they did.
        parents = [self._root] if self._root is not None and _runs(self._root) else list(self._known)
        found = set(self._known)
        for process in parents:
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= set(process.children(recursive=True))
        self._known = {process for process in found if process.is_running()}
        return self._known

    def _read(self) -> dict[psutil.Process, _Counters]:
        counters = {}
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                status = process.status()
                if status not in _ENDED:
                    counters[process] = _counters(process, stopped=status in _STOPPED)
        return counters


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in _ENDED
    except psutil.NoSuchProcess:
        return False


def _counters(process: psutil.Process, *, stopped: bool) -> _Counters:
    times = process.cpu_times()
    cpu_s, io_bytes = times.user + times.system, _io_bytes(process)
    if process.pid == os.getpid():
        # In nanoseconds, as the threads' times; the system's counters, in hundredths, would differ from them.
        own = excluded_usage()
        cpu_s, io_bytes = time.process_time() - own.cpu_s, io_bytes - own.io_bytes
    # The children that have ended and were waited for; the system adds their input and output by itself.
    ended_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return _Counters(cpu_s=cpu_s + ended_s, io_bytes=io_bytes, stopped=stopped)


def _io_bytes(process: psutil.Process) -> int:
    try:
        io = process.io_counters()
    except (psutil.AccessDenied, AttributeError):  # another user's process; a system that does not count
        return 0
    through_calls = getattr(io, "read_chars", 0) + getattr(io, "write_chars", 0)
    return int(io.read_bytes + io.write_bytes + through_calls)
