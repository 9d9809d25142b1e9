"""What earlier attempts and the recording say of the GPU that a sort is to have."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sort_assets.errors import GpuMemoryTakenError, GpuShareTooSmallError, OutOfMemoryError
from sort_assets.platform.pipeline.attempts import Attempt

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

    from sort_assets.backends.base import SorterBackend


def gpus_of_last_failure(attempt: Attempt) -> set[str]:
    """The GPU on which this step has just failed, unless that was for want of memory."""
    from sort_assets.platform.execution.leases import LEASED_GPU

    for one in attempt.earlier[-1:]:
        short = isinstance(one.error, OutOfMemoryError) and not isinstance(one.error, GpuMemoryTakenError)
        if LEASED_GPU in one.error.diagnostics and not short:
            return {str(one.error.diagnostics[LEASED_GPU])}
    return set()


def gpu_bytes_needed(attempt: Attempt, backend: "SorterBackend", recordings: "Iterable[BaseRecording]") -> int | None:
    """The least memory of a GPU that the sort of these recordings takes, one after the other.

    Returns
    -------
    int or None
        None where that is not known or no GPU is shared, and where an earlier attempt had a part of a GPU that was too
        small: it is to have all of one.
    """
    from sort_assets.platform.execution.gpu_sharing import sorts_per_gpu

    if sorts_per_gpu() == 1 or any(isinstance(one.error, GpuShareTooSmallError) for one in attempt.earlier):
        return None
    most = 0
    for recording in recordings:
        needed = backend.memory_needed(recording, gpu=True).gpu
        if needed is None:
            return None
        most = max(most, needed)
    return most
