"""The device of a sort: a GPU that torch can use where there is one, and never the CPU in its place without a word."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager

from sort_assets.checks.result import CheckResult, warning
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import GpuDriverError, SorterEnvironmentError, TransientGpuError
from sort_assets.machine.cuda_check import check_gpu, forget_that_it_works
from sort_assets.machine.cuda_reasons import may_pass
from sort_assets.machine.gpus import has_nvidia_card, visible_devices
from sort_assets.platform.execution.gpu_sharing import Sharing, sorts_per_gpu
from sort_assets.platform.execution.leases import CPU, Lease, device_lease

WAIT_S = 600.0
"""How long a sort waits for a driver in trouble. It holds its slot of the pool meanwhile, so that the recordings in the
queue do not fail one after the other within minutes; a service of the driver may start late, or anew."""
_POLL_S = 60.0


@contextmanager
def sort_device(
    config: SortingPipelineConfig,
    *,
    uses_gpu: bool,
    log: Callable[[str], None],
    avoid: Collection[str] = (),
    needed_bytes: int | None = None,
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
    needed_bytes : int or None
        The least memory that the sort takes of a GPU, which it may share with others where each of them has as much;
        None gives it a GPU for itself.

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
    # Whoever asks for CUDA by name wants no other device.
    may_be_cpu = config.sorter.device == "auto" and config.execution.cpu_if_gpu_fails
    doubts: list[CheckResult] = []
    named = visible_devices()  # a lease changes it
    sharing = Sharing(sorts_per_gpu(), needed_bytes)
    trouble: SorterEnvironmentError | None = None
    gives_up = 0.0
    with ExitStack() as held:
        while True:
            try:
                small = config.execution.min_gpu_memory_gb
                lease = held.enter_context(
                    device_lease(log, gpu=wants_gpu, avoid=avoid, min_memory_gb=small, check=check_gpu, sharing=sharing)
                )
            except SorterEnvironmentError as error:
                if trouble is None:  # what was waited for until then were other sorts
                    gives_up = time.monotonic() + (0 if may_be_cpu else WAIT_S)
                trouble = error
                if may_pass(error) and time.monotonic() < gives_up:
                    log(f"{error.message} It is waited for, up to {WAIT_S / 60:g} minutes.")
                    time.sleep(_POLL_S)
                    continue
                if not may_be_cpu:
                    raise
                lease = held.enter_context(device_lease(log, gpu=False))
            break
        if wants_gpu and lease.device == CPU:
            if trouble is not None:
                doubts = [_on_cpu(trouble)]
            elif has_nvidia_card():
                doubts = [_no_driver() if named is None else _hidden(named)]
        try:
            yield lease, doubts
        except (GpuDriverError, TransientGpuError):
            forget_that_it_works()
            raise


def _on_cpu(error: SorterEnvironmentError) -> CheckResult:
    return warning("device", f"Sorted on the CPU, for the GPU can't be used: {error.message}", error.remedy)


def _hidden(variable: str) -> CheckResult:
    return warning(
        "device",
        f"Sorted on the CPU, although this machine has a card of NVIDIA: CUDA_VISIBLE_DEVICES is '{variable}', and no "
        "GPU that it names is seen here.",
        "Name a card in it (nvidia-smi -L), ask for a GPU in the job, or set sorter.device to cpu.",
    )


def _no_driver() -> CheckResult:
    return warning(
        "device",
        "Sorted on the CPU, although this machine has a card of NVIDIA: its driver is not installed, or this container "
        "or job does not see it.",
        "Install NVIDIA's driver (see `sort-assets doctor`), or set sorter.device to cpu.",
    )
