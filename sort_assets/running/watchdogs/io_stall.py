"""The watchdog that ends a sorter that waits for a disk or a share that does not answer."""

from __future__ import annotations

from typing import ClassVar

from sort_assets.errors import SortAssetsError, StalledIoError
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.base import Watchdog


class IoStallWatchdog(Watchdog):
    """Trips with `StalledIoError` when a thread of the sorter sleeps uninterruptibly and nothing else happens.

    That is how a read from a network share that went away looks. Only Linux shows this state; elsewhere the watchdog
    never trips.

    Parameters
    ----------
    timeout_s : float
        Seconds for which the same thread may sleep, while none of the processes uses the processor or reads or writes.
    activity : ProcessActivity
        The sorter's processes; this watchdog's own, since asking it starts the next interval.
    terminator, interval_s, audit
        As in `Watchdog`.
    """

    name: ClassVar[str] = "io_stall"

    def __init__(
        self,
        timeout_s: float,
        activity: ProcessActivity,
        terminator: Terminator,
        *,
        interval_s: float = 10.0,
        audit: AuditLog | None = None,
    ) -> None:
        super().__init__(terminator, interval_s=interval_s, audit=audit)
        self.timeout_s = timeout_s
        self._activity = activity
        self._asleep: set[tuple[int, int]] = set()
        self._stalled_s = 0.0

    def check(self) -> SortAssetsError | None:
        elapsed_s = self.seconds_since_last_check()
        if self._activity.since_last_check().alive:
            self._asleep, self._stalled_s = set(), 0.0
            return None
        asleep = self._activity.uninterruptible_threads()
        still_asleep = self._asleep & asleep
        self._stalled_s = self._stalled_s + elapsed_s if still_asleep else 0.0
        self._asleep = still_asleep or asleep
        if self._stalled_s < self.timeout_s:
            return None
        pid, thread = min(still_asleep)
        return stalled(pid, thread, self._stalled_s, self.timeout_s)


def stalled(pid: int, thread: int, stalled_s: float, timeout_s: float) -> StalledIoError:
    """The failure of a sorter that has done nothing for some time while one of its threads waits for a disk."""
    return StalledIoError(
        f"The sorter's process {pid} has waited for a disk for {stalled_s:.0f} s without any progress.",
        remedy="Check the disk or the network share that holds the recording and the store, then run again.",
        pid=pid,
        thread=thread,
        stalled_s=round(stalled_s, 1),
        timeout_s=timeout_s,
    )
