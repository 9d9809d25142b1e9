"""What a command and all that it starts use: time, CPU, reading, writing and memory.

The measuring process adopts and waits for every descendant, so that the kernel adds up CPU time, reading and writing,
however short they lived. Only memory is sampled. Linux only.
"""

import contextlib
import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_EVERY_S = 0.2
LINGERING_S = 60.0
"""How long descendants may outlive the command, as a forkserver does."""
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_IO = ("rchar", "wchar", "read_bytes", "write_bytes")


class BenchmarkError(RuntimeError):
    """A command did not do its work, so that there is nothing to measure."""


@dataclass(frozen=True)
class Used:
    """What a command and its descendants used.

    Attributes
    ----------
    begin, end : float
        When it ran, in seconds since the epoch.
    cpu_s : float
        User and system.
    read_mb, written_mb : float
        Handed to read() and write(), from the page cache too; mapped files are not in it.
    from_disk_mb, to_disk_mb : float
        Read from and written to the disk, of mapped files too.
    memory_mb : float
        Largest sum of proportional set sizes (PSS); 0 where it was not sampled.
    others_cores : float
        Cores that others kept busy meanwhile.
    measuring_s : float
        CPU time of the measuring itself, which is in none of the others.
    """

    begin: float
    end: float
    cpu_s: float
    read_mb: float
    written_mb: float
    from_disk_mb: float
    to_disk_mb: float
    memory_mb: float
    others_cores: float
    measuring_s: float

    @property
    def wall_s(self) -> float:
        return self.end - self.begin


def measure(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    memory: bool = True,
    limit_s: float | None = None,
) -> Used:
    """Run a command, and all that it starts, to the end.

    Parameters
    ----------
    command : sequence of str
    log : Path
        For its output.
    environment : mapping, optional
        Its environment variables; this process's by default.
    folder : Path, optional
        Where it runs; the log's by default.
    memory : bool
        Whether its memory is sampled.
    limit_s : float, optional
        When it and its descendants are killed.

    Raises
    ------
    BenchmarkError
        It failed, or took too long, or something that it started did not end.
    """
    adopt_descendants()
    others = frozenset(psutil.Process().children(recursive=True))
    before, begin = _counters(), time.time()
    with log.open("wb") as output, ThreadPoolExecutor(max_workers=1) as sampler:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=folder or log.parent, env=environment
        )
        stopped = threading.Event()
        peak = sampler.submit(_memory_peak, others, stopped) if memory else None
        try:
            status = process.wait(limit_s)
            end = time.time()
            _wait_for_the_rest(others)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"It had not ended after {limit_s:.0f} s.{_tail(log)}") from None
        finally:
            stopped.set()
            _end_all(others)
    if status != 0:
        raise BenchmarkError(f"It ended with exit status {status}.{_tail(log)}")
    used = {name: value - before[name] for name, value in _counters().items()}
    return Used(
        begin=begin,
        end=end,
        cpu_s=used["descendants"],
        read_mb=used["rchar"],
        written_mb=used["wchar"],
        from_disk_mb=used["read_bytes"],
        to_disk_mb=used["write_bytes"],
        memory_mb=peak.result() / 1e6 if peak else 0.0,
        others_cores=max(0.0, (used["machine"] - used["descendants"] - used["own"]) / used["time"]),
        measuring_s=used["own"],
    )


def adopt_descendants() -> None:
    """Make this process the parent of descendants whose own parent ends."""
    if ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
        raise BenchmarkError("This kernel does not let a process adopt its descendants.")


def _descendants(others: Collection[psutil.Process], *, recursive: bool) -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive) if process not in others]


def _wait_for_the_rest(others: Collection[psutil.Process]) -> None:
    while left := _descendants(others, recursive=False):
        _, alive = psutil.wait_procs(left, timeout=LINGERING_S)
        if alive:
            raise BenchmarkError(f"These still ran {LINGERING_S:.0f} s after the end: {alive}")


def _end_all(others: Collection[psutil.Process]) -> None:
    while left := _descendants(others, recursive=True):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=5)


def _memory_peak(others: Collection[psutil.Process], stopped: threading.Event) -> int:
    """Largest sum of the descendants' proportional set sizes, in bytes.

    PSS divides pages that several processes map among them, so that forks are not counted twice; mapped pages of
    files, such as the `.dat`, are in it. It is slow to read: only when resident memory has grown by a percent.
    """
    peak = 0
    resident: dict[frozenset[int], int] = {}
    while not stopped.wait(SAMPLE_EVERY_S):
        tree = _descendants(others, recursive=True)
        pids, now = frozenset(process.pid for process in tree), _memory(tree, "memory_info", "rss")
        if now > 1.01 * resident.get(pids, 0):
            resident[pids] = now
            peak = max(peak, _memory(tree, "memory_full_info", "pss"))
    return peak


def _memory(processes: Sequence[psutil.Process], call: str, kind: str) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
            total += getattr(getattr(process, call)(), kind)
    return total


def _counters() -> dict[str, float]:
    """Kernel counters: the machine's, this process's, and those of the descendants that it waited for."""
    bytes_of = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    machine = psutil.cpu_times()
    return {
        "time": time.time(),
        "descendants": sum(os.times()[2:4]),
        "own": time.process_time(),
        # Not idle; what the hypervisor took is in it.
        "machine": machine.user + machine.nice + machine.system + machine.irq + machine.softirq + machine.steal,
        # With the descendants'; this process itself reads and writes next to nothing.
        **{name: int(bytes_of[name]) / 1e6 for name in _IO},
    }


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-30:]
    return "".join(f"\n    {line}" for line in lines)
