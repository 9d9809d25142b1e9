"""How many CPU cores this process may really use, and how SpikeInterface is to use them."""

import os
from pathlib import Path
from typing import Any

from sort_assets.config.model import ExecutionConfig
from sort_assets.config.settings import CORES_VARIABLE

_CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Cores of this process: its affinity, cut down by what an engine allotted to it and by the container's CPU quota.

    That is what Slurm says in its jobs, and `SORT_ASSETS_CORES`, which whoever starts a step elsewhere sets.

    Sizing by the host's core count instead gets jobs killed on clusters (AllenNeuralDynamics/aind-ephys-pipeline#84).
    """
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    # The second is set in every job; without --cpus-per-task, it is what the job got on this node.
    slurm = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE", "")
    limits += [int(allotted) for allotted in (slurm, os.environ.get(CORES_VARIABLE, "")) if allotted.isdigit()]
    if _CGROUP_CPU_MAX.is_file():
        quota, _, period = _CGROUP_CPU_MAX.read_text().partition(" ")
        if quota.isdigit() and period.strip().isdigit():
            limits.append(int(quota) // int(period))
    return max(1, min(limits))


def resolve_n_jobs(n_jobs: int) -> int:
    """`n_jobs` as configured, with -1 meaning all usable cores."""
    return usable_cores() if n_jobs == -1 else n_jobs


def job_kwargs(execution: ExecutionConfig) -> dict[str, Any]:
    """How SpikeInterface is to share work among workers."""
    return {
        "n_jobs": resolve_n_jobs(execution.n_jobs),
        # Threads, not processes: the .dat is memory-mapped, and a pool of processes takes long to start and can
        # hang (SpikeInterface/spikeinterface#2689).
        "pool_engine": "thread",
        "chunk_duration": execution.chunk_duration_s,
        "progress_bar": False,
    }
