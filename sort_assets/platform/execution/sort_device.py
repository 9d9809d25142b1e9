"""The device of a sort: a GPU that torch can use where there is one, and never the CPU in its place without a word."""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager

from sort_assets.checks.result import CheckResult, warning
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import SorterEnvironmentError
from sort_assets.machine.cuda_check import check_gpu
from sort_assets.machine.gpus import has_nvidia_card
from sort_assets.platform.execution.leases import CPU, Lease, device_lease


@contextmanager
def sort_device(
    config: SortingPipelineConfig, *, uses_gpu: bool, log: Callable[[str], None], avoid: Collection[str] = ()
) -> Iterator[tuple[Lease, list[CheckResult]]]:
    """Hold the device on which a sort is to run.

    Parameters
    ----------
    config : SortingPipelineConfig
        Whose `sorter.device` and `execution.cpu_if_gpu_fails` decide.
    uses_gpu : bool
        Whether the sorter can use a GPU.
    log : callable
        Told what is being waited for, and which GPU is left out.
    avoid : collection of str
        GPUs on which this step has just failed.

    Yields
    ------
    Lease
        The device.
    list of CheckResult
        A warning, where a sorter that can use a GPU got the CPU although a card is there.

    Raises
    ------
    SorterEnvironmentError
        When there are GPUs, none of them works, and the configuration does not allow the CPU.
    GpuBusyError, GpuMemoryTakenError
        When other programs have all of them.
    """
    wants_gpu = uses_gpu and config.sorter.device != CPU
    doubts: list[CheckResult] = []
    with ExitStack() as held:
        try:
            small = config.execution.min_gpu_memory_gb
            lease = held.enter_context(
                device_lease(log, gpu=wants_gpu, avoid=avoid, min_memory_gb=small, check=check_gpu)
            )
        except SorterEnvironmentError as error:
            # Whoever asks for CUDA by name wants no other device; who only has to wait for a GPU does.
            may_be_cpu = config.sorter.device == "auto" and config.execution.cpu_if_gpu_fails
            if not wants_gpu or not may_be_cpu:
                raise
            doubts = [warning("device", f"Sorted on the CPU, for the GPU can't be used: {error.message}", error.remedy)]
            lease = held.enter_context(device_lease(log, gpu=False))
        if wants_gpu and not doubts and lease.device == CPU and has_nvidia_card():
            doubts = [_no_driver()]
        yield lease, doubts


def _no_driver() -> CheckResult:
    return warning(
        "device",
        "Sorted on the CPU, although this machine has a card of NVIDIA: its driver is not installed, or this container "
        "or job does not see it.",
        "Install NVIDIA's driver (see `sort-assets doctor`), or set sorter.device to cpu.",
    )
