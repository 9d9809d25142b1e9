"""How much memory this process may still use: the machine's, and that of its container or cluster job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class MemoryRoom:
    """Memory that this process may still use, within one limit.

    Attributes
    ----------
    of : str
        What sets the limit: "the machine", or the control group's folder.
    total_bytes : int
        The limit.
    available_bytes : int
        What is left of it; memory that only keeps files' contents counts as available.
    """

    of: str
    total_bytes: int
    available_bytes: int

    @property
    def available_percent(self) -> float:
        """Of the limit."""
        return 100 * self.available_bytes / self.total_bytes


def available_memory_bytes() -> int:
    """The machine's available memory, or what is left under a limit on this process if that is less."""
    return min(room.available_bytes for room in memory_rooms())


def memory_rooms() -> list[MemoryRoom]:
    """The machine's memory, and that of every control group of this process that has a limit."""
    machine = psutil.virtual_memory()
    rooms = [MemoryRoom("the machine", int(machine.total), int(machine.available))]
    if _OWN_CGROUP.exists():
        groups = cgroup_rooms(_CGROUPS, _OWN_CGROUP.read_text())
        # Version 1 has no word for "no limit" but a number that no machine has.
        rooms += [room for room in groups if room.total_bytes < machine.total]
    return rooms


def cgroup_rooms(root: Path, membership: str) -> list[MemoryRoom]:
    """The memory limits on a control group and those above it, of version 2 and of version 1.

    Parameters
    ----------
    root : Path
        Where the control groups are mounted; those of version 1 in its folder `memory`.
    membership : str
        What `/proc/self/cgroup` says.
    """
    rooms = []
    for line in membership.splitlines():
        _, controllers, own = line.split(":", 2)
        if not controllers:
            rooms += _rooms(root, own, _VERSION_2)
        elif "memory" in controllers.split(","):
            rooms += _rooms(root / "memory", own, _VERSION_1)
    return rooms


@dataclass(frozen=True)
class _Files:
    limit: str
    usage: str
    file_pages: tuple[str, ...]


# Pages of files on the kernel's lists of active and inactive pages: given back when memory is needed. A memory-mapped
# recording fills them without harm (docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html).
_VERSION_2 = _Files("memory.max", "memory.current", ("active_file", "inactive_file"))
_VERSION_1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_active_file", "total_inactive_file"))


def _rooms(root: Path, own: str, files: _Files) -> list[MemoryRoom]:
    rooms = []
    folder = root / own.lstrip("/")
    for group in (folder, *folder.parents):
        if not group.is_relative_to(root):
            break
        file = group / files.limit
        if file.is_file() and (limit := file.read_text().strip()) != "max":
            available = max(0, int(limit) - _usage_bytes(group, files))
            rooms.append(MemoryRoom(str(group), int(limit), available))
    return rooms


def _usage_bytes(group: Path, files: _Files) -> int:
    used = group / files.usage
    if not used.is_file():
        return 0
    statistics = group / "memory.stat"
    lines = statistics.read_text().splitlines() if statistics.is_file() else []
    pages = dict(line.split(" ", 1) for line in lines)
    return max(0, int(used.read_text()) - sum(int(pages.get(name, 0)) for name in files.file_pages))
