"""What can be known of the machine before a sort: room on the disk, in memory, and on the GPU."""

from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage
from typing import Any

from sort_assets.errors import DiskFullError
from sort_assets.guards.findings import OK, WARNING, Finding, failed
from sort_assets.guards.nvml import NoGpuError, open_gpu
from sort_assets.recordings.memory import available_memory_bytes


def inspect_machine(
    *,
    output_folder: Path,
    expected_bytes: int,
    memory_bytes: int | None = None,
    gpu: str | None = None,
    gpu_memory_bytes: int | None = None,
    nvml: Any = None,
) -> list[Finding]:
    """Look whether the machine has what a sort is going to need.

    Only a disk that is too small is an error: what will be written is known, what memory will be needed is an estimate.

    Parameters
    ----------
    output_folder : Path
        Where the sort is going to write; it need not exist yet.
    expected_bytes : int
        How much it is going to write, with what is to stay free.
    memory_bytes, gpu_memory_bytes : int or None
        Estimates of the memory that it takes, of the machine and of the GPU; None where there is none.
    gpu : str or None
        UUID of the GPU that is leased for it; None when it runs on the CPU.
    nvml : module or None
        Stands for `pynvml` in tests.

    Returns
    -------
    list of Finding
        The error carries a `DiskFullError`.
    """
    return [
        _disk(output_folder, expected_bytes),
        _memory(memory_bytes),
        *_gpu(gpu, gpu_memory_bytes, nvml),
    ]


def _disk(output_folder: Path, expected_bytes: int) -> Finding:
    existing = next(folder for folder in (output_folder, *output_folder.absolute().parents) if folder.exists())
    free = disk_usage(existing).free
    detail = f"{_gb(free)} free in '{existing}', {_gb(expected_bytes)} needed"
    if free >= expected_bytes:
        return Finding(OK, "disk", detail)
    return failed(
        "disk",
        DiskFullError(
            f"The disk has too little room for this sort: {detail}.",
            remedy="Free some space: `sort-assets gc` removes what is no longer needed.",
            free_bytes=free,
            expected_bytes=expected_bytes,
            path=str(existing),
        ),
    )


def _memory(expected_bytes: int | None) -> Finding:
    available = available_memory_bytes()
    detail = f"{_gb(available)} available"
    if expected_bytes is None or available >= expected_bytes:
        return Finding(OK, "memory", detail)
    return Finding(
        WARNING,
        "memory",
        f"{detail}, about {_gb(expected_bytes)} needed",
        "End other programs, give the container or the job more memory, or sort a shorter part first.",
    )


def _gpu(gpu: str | None, expected_bytes: int | None, nvml: Any) -> Iterator[Finding]:
    import pynvml

    if gpu is None:
        yield Finding(OK, "gpu", "none is used")
        return
    try:
        sensors = open_gpu(gpu, nvml)
        used_bytes, total_bytes = sensors.memory_bytes()
        programs = sensors.programs()
    except (NoGpuError, pynvml.NVMLError) as error:
        yield Finding(WARNING, "gpu", f"{gpu} can't be looked at: {error}", "See whether `nvidia-smi` works.")
        return
    yield _gpu_memory(total_bytes - used_bytes, expected_bytes)
    yield _gpu_programs(programs)


def _gpu_memory(free: int, expected_bytes: int | None) -> Finding:
    detail = f"{_gb(free)} free"
    if expected_bytes is None or free >= expected_bytes:
        return Finding(OK, "gpu memory", detail)
    return Finding(
        WARNING,
        "gpu memory",
        f"{detail}, about {_gb(expected_bytes)} needed",
        "End other programs on the GPU; should the memory give out, the sort is tried again with less of it.",
    )


def _gpu_programs(programs: list[tuple[int, int | None]]) -> Finding:
    if not programs:
        return Finding(OK, "gpu programs", "no other program computes on the GPU")
    named = [f"pid {pid}" + ("" if held is None else f" with {_gb(held)}") for pid, held in programs]
    return Finding(
        WARNING,
        "gpu programs",
        f"other programs hold memory of the GPU: {', '.join(named)}",
        "End them if they are left over; a GPU that is shared is slower and may run out of memory.",
    )


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
