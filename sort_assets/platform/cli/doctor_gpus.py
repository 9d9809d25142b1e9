"""What `sort-assets doctor` says of the GPUs: each by name, and whether torch computes on it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from sort_assets.checks.result import CheckResult, failed, ok, warning
from sort_assets.config import ExecutionConfig
from sort_assets.errors import GpuBusyError, GpuDriverError, GpuMemoryTakenError, SortAssetsError
from sort_assets.machine.cuda_check import check_gpu
from sort_assets.machine.cuda_reasons import describe
from sort_assets.machine.gpu_sensors import find_sensors
from sort_assets.machine.gpus import (
    Gpu,
    doubtful_order,
    has_nvidia_card,
    list_gpus,
    list_machine_gpus,
    unused_gpu,
)
from sort_assets.platform.execution.gpu_choice import quarantine_notices
from sort_assets.platform.execution.gpu_sharing import is_leased
from sort_assets.platform.execution.lease_folder import inspect_lease_folder, lease_folder


def examine_gpus() -> Iterator[CheckResult]:
    """Look at the GPUs; CUDA is started on each, whether or not that worked a short time ago."""
    try:
        installed = list_machine_gpus()
        gpus = list_gpus() if installed else []
    except SortAssetsError as error:
        yield failed("gpu", error)
        return
    if not gpus:
        yield _hidden(installed) if installed else _no_gpu()
        return
    doubtful = doubtful_order(installed)
    if doubtful:
        yield warning(
            "gpu order",
            f"CUDA_VISIBLE_DEVICES is {doubtful}: sort_assets counts as nvidia-smi does, CUDA from its fastest card",
            "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the cards by their UUIDs (nvidia-smi -L).",
        )
    with ThreadPoolExecutor() as pool:  # each starts a process that imports torch
        reasons = list(pool.map(_why_not, gpus))
    works = any(reason is None or _has_our_sort(gpu, reason) for gpu, reason in zip(gpus, reasons, strict=True))
    for gpu, reason in zip(gpus, reasons, strict=True):
        if reason is None:
            yield _working_gpu(gpu)
        elif _has_our_sort(gpu, reason):
            yield ok("gpu", f"{describe(gpu)}, {gpu.uuid}: a sort is using it, and leaves no room to try it")
        elif works:
            yield warning("gpu", f"{reason.message} Sorts take the others.", reason.remedy)
        else:
            yield failed("gpu", reason)
    for notice in quarantine_notices(lease_folder()):
        yield warning("gpu", notice.rstrip("."), "Look for 'Xid' in `dmesg`, and reboot.")
    yield from inspect_lease_folder()


def tell_unusable_gpus(say: Callable[[str], None]) -> None:
    """Say of each GPU on which torch can't compute, and of a driver in trouble, why, and what to do about it."""
    try:
        gpus = list_gpus()
    except GpuDriverError as error:
        say(str(error))
        return
    for gpu in gpus:
        reason = _why_not(gpu, anew=False)
        if reason is not None and not _has_our_sort(gpu, reason):
            say(str(reason))


def _hidden(installed: list[Gpu]) -> CheckResult:
    names = ", ".join(gpu.name for gpu in installed)
    return warning(
        "gpu",
        f"CUDA_VISIBLE_DEVICES hides all ({names}): sorters run on the CPU, one at a time",
        "Unset it, or name a card (nvidia-smi -L).",
    )


def _why_not(gpu: Gpu, *, anew: bool = True) -> SortAssetsError | None:
    if gpu.trouble:
        return GpuDriverError(gpu.trouble, remedy=gpu.remedy)
    return check_gpu(gpu, anew=anew)


def _has_our_sort(gpu: Gpu, reason: SortAssetsError) -> bool:
    """Whether a card is only in use, by a sort that holds its lock."""
    if not isinstance(reason, GpuBusyError | GpuMemoryTakenError):
        return False
    try:
        return is_leased(lease_folder(), gpu.uuid)
    except OSError:
        return False


def _working_gpu(gpu: Gpu) -> CheckResult:
    memory = f"{gpu.memory_bytes / 2**30:.0f} GiB" if gpu.memory_bytes else "memory not known"
    free = "" if gpu.free_bytes is None else f", {gpu.free_bytes / 2**30:.0f} GiB free"
    detail = f"{describe(gpu)}, {memory}{free}, {gpu.uuid}: torch computes on it"
    # Of a small card, half.
    little = min(ExecutionConfig().min_gpu_memory_gb * 1e9, gpu.memory_bytes / 2)
    if gpu.free_bytes is not None and gpu.free_bytes < little:
        whose = f", {holders}" if (holders := _holders(gpu)) else ""
        return warning(
            "gpu",
            f"{detail}; little of its memory is free{whose}",
            "If that is no sort, end it or wait: a sort would run out of memory.",
        )
    if gpu.persistence is False:
        return ok("gpu", f"{detail}; without persistence mode, after some seconds", "Run: sudo nvidia-smi -pm 1")
    return ok("gpu", detail)


def _holders(gpu: Gpu) -> str:
    """Who holds its memory, in words; nothing where that is not told."""
    sensors = find_sensors(gpu.uuid)
    if sensors is None:
        return ""
    try:
        programs = sensors.programs()
    except sensors.failures:
        return ""
    return ", ".join(
        f"pid {pid} holds some" if held is None else f"pid {pid} holds {held / 2**30:.0f} GiB" for pid, held in programs
    )


def _no_gpu() -> CheckResult:
    on_cpu = "sorters run on the CPU, one at a time"
    if has_nvidia_card():
        return warning(
            "gpu",
            f"a card of NVIDIA is there, and its driver is not installed, or not seen in this container: {on_cpu}",
            "Install NVIDIA's driver; start a container with the right to the card.",
        )
    other = unused_gpu()
    if other is not None:
        return warning("gpu", f"none of NVIDIA found, and those of {other} are not used: {on_cpu}")
    return warning("gpu", f"none found: {on_cpu}")
