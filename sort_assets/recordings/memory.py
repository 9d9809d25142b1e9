"""How much memory this process may still use, and how many threads that allows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

MEMORY_PER_THREAD = 6
"""Memory that a thread takes up, in chunks as float32: measured with a band-pass, whose arithmetic is in float64."""
MEMORY_SHARE = 0.25
"""The part of the available memory that all threads together may take."""
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


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


def available_memory_bytes() -> int:
    """The machine's available memory, or the limit of this process's control group if that is smaller."""
    limits = [cgroup_limit_bytes(_CGROUPS, _OWN_CGROUP.read_text())] if _OWN_CGROUP.exists() else []
    return min([int(psutil.virtual_memory().available), *(limit for limit in limits if limit is not None)])


def cgroup_limit_bytes(root: Path, membership: str) -> int | None:
    """The smallest memory limit on a control group and those above it (version 2, as containers and SLURM set it).

    Parameters
    ----------
    root : Path
        Where the control groups are mounted.
    membership : str
        What `/proc/self/cgroup` says.

    Returns
    -------
    int or None
        None without a limit.
    """
    own = next((line.removeprefix("0::/") for line in membership.splitlines() if line.startswith("0::/")), None)
    if own is None:
        return None
    limits = []
    for folder in (root / own, *(root / own).parents):
        if not folder.is_relative_to(root):
            break
        file = folder / "memory.max"
        if file.is_file() and (limit := file.read_text().strip()) != "max":
            limits.append(int(limit))
    return min(limits, default=None)
