"""How many threads may work: on a recording, so that their chunks fit into memory, and in the libraries of a sorter."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sort_assets.machine.memory import available_memory_bytes

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

MEMORY_PER_THREAD = 6
"""Memory that a thread takes up, in chunks as float32: measured with a band-pass, whose arithmetic is in float64."""
MEMORY_SHARE = 0.25
"""The part of the available memory that all threads together may take."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def affordable_threads(n_jobs: int, recording: BaseRecording, chunk_duration_s: float) -> int:
    """As many of `n_jobs` threads as the memory allows that each hold a chunk of the recording."""
    chunk = max(1, int(chunk_duration_s * recording.sampling_frequency))
    return threads_within(available_memory_bytes(), n_jobs, 4 * recording.get_num_channels() * chunk)


def threads_within(available_bytes: int, n_jobs: int, chunk_bytes: int) -> int:
    """How many threads may filter at a time, so that all together take at most `MEMORY_SHARE` of the memory.

    Parameters
    ----------
    available_bytes : int
        Memory that is available.
    n_jobs : int
        How many are wanted.
    chunk_bytes : int
        Size of a chunk as float32.

    Returns
    -------
    int
        Between 1 and `n_jobs`; one always runs.
    """
    return max(1, min(n_jobs, int(MEMORY_SHARE * available_bytes) // (MEMORY_PER_THREAD * max(1, chunk_bytes))))


@contextmanager
def compute_threads(threads: int) -> Iterator[None]:
    """Limit torch, the BLAS libraries and OpenMP to `threads` threads, and put back what was set before.

    Two torch threads beside another busy process can be many times slower than one, so the count is never left to
    chance. Libraries that are loaded only inside read the environment then, and keep it: torch too, whose import takes
    seconds that a sorter without it need not wait for.
    """
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    environment = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    if torch is not None:
        torch.set_num_threads(threads)
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
