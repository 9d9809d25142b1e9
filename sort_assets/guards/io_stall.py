"""Ends a sorter that waits for a disk or a share that does not answer."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from sort_assets.errors import SortAssetsError, StalledIoError
from sort_assets.guards.activity import ProcessActivity
from sort_assets.guards.audit import AuditLog
from sort_assets.guards.ending import Ending
from sort_assets.guards.watchdog import Watchdog

_UNINTERRUPTIBLE = "D"


class IoStallWatchdog(Watchdog):
    """Trips with `StalledIoError` when a thread of the sorter sleeps uninterruptibly and nothing else happens.

    That is how a read from a network share that went away looks. Threads are looked at one by one: the one that waits
    is rarely the process's first. Only Linux shows this state; elsewhere the watchdog never trips.

    Parameters
    ----------
    timeout_s : float
        Seconds for which the same thread may sleep, while none of the processes uses the processor or reads or writes.
    activity : ProcessActivity
        The sorter's processes; this watchdog's own, since asking it starts the next interval.
    ending, interval_s, audit
        As in `Watchdog`.
    """

    name: ClassVar[str] = "io_stall"

    def __init__(
        self,
        timeout_s: float,
        activity: ProcessActivity,
        ending: Ending,
        *,
        interval_s: float = 10.0,
        audit: AuditLog | None = None,
    ) -> None:
        super().__init__(ending, interval_s=interval_s, audit=audit)
        self.timeout_s = timeout_s
        self._activity = activity
        self._asleep: set[tuple[int, int]] = set()
        self._stalled_s = 0.0

    def look(self) -> SortAssetsError | None:
        elapsed_s = self.seconds_since_last_look()
        if self._activity.since_last_look().alive:
            self._asleep, self._stalled_s = set(), 0.0
            return None
        asleep = _uninterruptible_threads(self._activity)
        still_asleep = self._asleep & asleep
        self._stalled_s = self._stalled_s + elapsed_s if still_asleep else 0.0
        self._asleep = still_asleep or asleep
        if self._stalled_s < self.timeout_s:
            return None
        pid, thread = min(still_asleep)
        return StalledIoError(
            f"The sorter's process {pid} has waited for a disk for {self._stalled_s:.0f} s without any progress.",
            remedy="Check the disk or the network share that holds the recording and the store, then run again.",
            pid=pid,
            thread=thread,
            stalled_s=round(self._stalled_s, 1),
            timeout_s=self.timeout_s,
        )


def _uninterruptible_threads(activity: ProcessActivity) -> set[tuple[int, int]]:
    """Pairs of process and thread ids."""
    found = set()
    for process in activity.processes():
        for stat in Path(f"/proc/{process.pid}/task").glob("*/stat"):
            try:
                text = stat.read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
            # "123 (name, which may hold anything) D 1 …"
            if text.rpartition(")")[2].split()[0] == _UNINTERRUPTIBLE:
                found.add((process.pid, int(stat.parent.name)))
    return found
