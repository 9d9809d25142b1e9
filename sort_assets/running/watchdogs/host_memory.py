"""The watchdog of the memory of the machine, and of the container or cluster job that the sorter runs in."""

from __future__ import annotations

from typing import ClassVar

from sort_assets.errors import HostOutOfMemoryError, SortAssetsError
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.base import Watchdog


class HostMemoryWatchdog(Watchdog):
    """Trips with `HostOutOfMemoryError` before the kernel has to choose a process to kill.

    Parameters
    ----------
    min_free_percent : float
        Part of the machine's memory, and of every limit on this process, that must stay available.
    terminator, interval_s, checks_in_a_row, audit
        As in `Watchdog`.
    """

    name: ClassVar[str] = "host_memory"

    def __init__(
        self,
        min_free_percent: float,
        terminator: Terminator,
        *,
        interval_s: float = 2.0,
        checks_in_a_row: int = 3,
        audit: AuditLog | None = None,
    ) -> None:
        super().__init__(terminator, interval_s=interval_s, checks_in_a_row=checks_in_a_row, audit=audit)
        self.min_free_percent = min_free_percent

    def check(self) -> SortAssetsError | None:
        # It imports numpy, which the code location must not import.
        from sort_assets.machine.memory import memory_rooms

        tightest = min(memory_rooms(), key=lambda room: room.available_percent)
        if tightest.available_percent >= self.min_free_percent:
            return None
        return HostOutOfMemoryError(
            f"Only {tightest.available_percent:.1f} % of {tightest.total_bytes / 1e9:.1f} GB of memory are available "
            f"({tightest.of}); {self.min_free_percent:g} % must stay free.",
            remedy="Sort fewer recordings at a time, lower execution.n_jobs or execution.chunk_duration_s, or use a "
            "machine (a container, a job) with more memory.",
            available_bytes=tightest.available_bytes,
            total_bytes=tightest.total_bytes,
            min_free_percent=self.min_free_percent,
        )
