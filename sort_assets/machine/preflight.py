"""What can be known of the machine before a sort: room on the disk, in memory, and on the GPU."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from typing import Any

from sort_assets.checks.result import CheckResult, failed, ok, warning
from sort_assets.errors import DiskFullError
from sort_assets.machine.gpu_sensors import NoGpuError, open_gpu
from sort_assets.machine.gpu_share import share_bytes


@dataclass(frozen=True)
class MemoryNeeded:
    """Estimates of what a sort needs at least, in bytes; None where there is none.

    Attributes
    ----------
    host : int or None
        Of the machine's memory.
    gpu : int or None
        Of the GPU's.
    """

    host: int | None = None
    gpu: int | None = None


NO_ESTIMATE = MemoryNeeded()
"""For a sorter of which nothing is known."""


def inspect_machine(
    *,
    output_folder: Path,
    expected_bytes: int,
    memory: MemoryNeeded = NO_ESTIMATE,
    gpu: str | None = None,
    gpu_parts: int = 1,
    nvml: Any = None,
) -> list[CheckResult]:
    """Look whether the machine has what a sort is going to need.

    Only a disk that is too small is an error: what will be written is known, what memory will be needed is an estimate.

    Parameters
    ----------
    output_folder : Path
        Where the sort is going to write; it need not exist yet.
    expected_bytes : int
        How much it is going to write, with what is to stay free.
    memory : MemoryNeeded
        Estimates of the memory that it takes.
    gpu : str or None
        UUID of the GPU that is leased for it; None when it runs on the CPU.
    gpu_parts : int
        How many sorts share that GPU.
    nvml : module or None
        Stands for `pynvml` in tests.

    Returns
    -------
    list of CheckResult
        The error carries a `DiskFullError`.
    """
    return [
        inspect_disk(output_folder, expected_bytes),
        _memory(memory.host),
        *_gpu(gpu, gpu_parts, memory.gpu, nvml),
    ]


def inspect_disk(output_folder: Path, expected_bytes: int) -> CheckResult:
    """Look whether there is room on a disk.

    Parameters
    ----------
    output_folder : Path
        Where something is going to be written; it need not exist yet.
    expected_bytes : int
        How much, with what is to stay free.

    Returns
    -------
    CheckResult
        An error, with a `DiskFullError`, when it does not fit.
    """
    existing = next(folder for folder in (output_folder, *output_folder.absolute().parents) if folder.exists())
    free = disk_usage(existing).free
    detail = f"{_gb(free)} free in '{existing}', {_gb(expected_bytes)} needed"
    if free >= expected_bytes:
        return ok("disk", detail)
    return failed(
        "disk",
        DiskFullError(
            f"The disk has too little room: {detail}.",
            remedy="Free some space: `sort-assets gc` removes what is no longer needed.",
            free_bytes=free,
            expected_bytes=expected_bytes,
            path=str(existing),
        ),
    )


def _memory(expected_bytes: int | None) -> CheckResult:
    # With the recordings come numpy, a tenth of a second; the code location is to import fast.
    from sort_assets.machine.memory import available_memory_bytes

    available = available_memory_bytes()
    detail = f"{_gb(available)} available"
    if expected_bytes is None or available >= expected_bytes:
        return ok("memory", detail)
    return warning(
        "memory",
        f"{detail}, at least about {_gb(expected_bytes)} needed",
        "End other programs, give the container or the job more memory, or sort a shorter part first.",
    )


def _gpu(gpu: str | None, parts: int, expected_bytes: int | None, nvml: Any) -> Iterator[CheckResult]:
    if gpu is None:
        yield ok("gpu", "none is used")
        return
    try:
        sensors = open_gpu(gpu, nvml)
    except NoGpuError as error:
        yield _silent_gpu(gpu, error)
        return
    try:
        used_bytes, total_bytes = sensors.memory_bytes()
        programs = sensors.programs()
    except sensors.failures as error:
        yield _silent_gpu(gpu, error)
        return
    free_bytes = total_bytes - used_bytes
    yield _gpu_memory(free_bytes if parts == 1 else min(free_bytes, share_bytes(total_bytes, parts)), expected_bytes)
    yield _gpu_programs(programs, parts)


def _silent_gpu(gpu: str, error: Exception) -> CheckResult:
    return warning("gpu", f"{gpu} can't be queried: {error}", "See whether `nvidia-smi` works.")


def _gpu_memory(free: int, expected_bytes: int | None) -> CheckResult:
    detail = f"{_gb(free)} free"
    if expected_bytes is None or free >= expected_bytes:
        return ok("gpu memory", detail)
    return warning(
        "gpu memory",
        f"{detail}, at least about {_gb(expected_bytes)} needed",
        "End other programs on the GPU; should the memory give out, the sort is tried again with less of it.",
    )


def _gpu_programs(programs: list[tuple[int, int | None]], parts: int) -> CheckResult:
    if 0 < len(programs) < parts:
        return ok("gpu programs", f"{len(programs)} of {parts - 1} others compute on the GPU, which they share")
    if not programs:
        return ok("gpu programs", "no other program computes on the GPU")
    named = [f"pid {pid}" + ("" if held is None else f" with {_gb(held)}") for pid, held in programs]
    return warning(
        "gpu programs",
        f"other programs hold memory of the GPU: {', '.join(named)}",
        "End them if they are left over; a GPU that is shared is slower and may run out of memory.",
    )


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
