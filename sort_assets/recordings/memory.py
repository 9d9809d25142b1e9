"""How much memory this process may still use."""

from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


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
