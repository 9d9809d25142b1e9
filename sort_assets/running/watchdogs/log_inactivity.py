"""The watchdog that ends a silent sorter: nothing new in its logs, and no other sign of life."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from sort_assets.errors import SortAssetsError, SorterTimeoutError
from sort_assets.running.audit import AuditLog
from sort_assets.running.progress import read_tail
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.base import Watchdog
from sort_assets.running.watchdogs.io_stall import stalled

LOG_ALONE_FACTOR = 3
"""How many times longer the logs alone may be silent, where a sorter writes steadily: a computation on the GPU that
never ends looks busy, on the GPU as on the core that waits for it."""
_LONGEST_INTERVAL_S = 5.0
_CHECKS_PER_TOLERANCE = 10
_EXCERPT_LINES = 25
_EXCERPT_BYTES = 20_000
_Files = dict[str, tuple[int, int, int]]


class LogInactivityWatchdog(Watchdog):
    """Trips with `SorterTimeoutError` when the logs stand still and the processes show no sign of life.

    With a `StalledIoError`, which is one too, when a thread of the processes waits for a disk at that moment. Logs that
    can't be read stand still.

    Also, with other signs of life, when the logs stand still `LOG_ALONE_FACTOR` times as long while the sorter should
    write steadily.

    A log is followed through rotation: a change of size, modification time or inode of any file in its folder whose
    name begins with the log's counts. Silence is measured with the monotonic clock; modification times are only
    compared with each other, so that a clock that is set does not matter.

    Parameters
    ----------
    log_path : Path or sequence of Path
        One log or several; none needs to exist yet.
    tolerance_s : float or None
        Seconds of silence that are tolerated. None, NaN, infinity, zero and less: nothing is watched.
    terminator : Terminator
        How to end the sorter.
    activity : ProcessActivity or None
        Where to look for other signs of life; None watches the logs alone.
    logs_steadily : callable or None
        Whether the sorter is where it writes steadily; None: it never is.
    sorter : str or None
        Its name, for the message.
    audit : AuditLog or None
        Where it notes what it does.
    interval_s : float or None
        Seconds between checks; None is a tenth of the tolerance, at most five seconds.
    """

    name: ClassVar[str] = "log_inactivity"

    def __init__(
        self,
        log_path: Path | Sequence[Path],
        tolerance_s: float | None,
        terminator: Terminator,
        *,
        activity: ProcessActivity | None = None,
        logs_steadily: Callable[[], bool] | None = None,
        sorter: str | None = None,
        audit: AuditLog | None = None,
        interval_s: float | None = None,
    ) -> None:
        self.tolerance_s = tolerance_s if tolerance_s is not None and 0 < tolerance_s < math.inf else None
        if interval_s is None:
            interval_s = min(_LONGEST_INTERVAL_S, (self.tolerance_s or math.inf) / _CHECKS_PER_TOLERANCE)
        super().__init__(terminator, interval_s=interval_s, audit=audit)
        self.log_paths = (log_path,) if isinstance(log_path, Path) else tuple(log_path)
        self._given = tolerance_s
        self._activity = activity
        self.logs_steadily = logs_steadily
        self._sorter = "The sorter" if sorter is None else f"The sorter '{sorter}'"
        self._files: dict[Path, _Files] = {}
        self._silent_s = 0.0
        self._logs_silent_s = 0.0

    def prepare(self) -> str | None:
        if self.tolerance_s is None:
            return f"No silence counts as too long: the tolerance is {self._given}."
        self._files = self._read_logs()
        self.terminator.heartbeat(self.tolerance_s)
        return None

    def check(self) -> SortAssetsError | None:
        assert self.tolerance_s is not None  # prepare() has seen to that
        elapsed_s = self.seconds_since_last_check()
        wrote = self._wrote()
        self._logs_silent_s = 0.0 if wrote else self._logs_silent_s + elapsed_s
        self._silent_s = 0.0 if wrote or self._shows_life() else self._silent_s + elapsed_s
        if self._silent_s >= self.tolerance_s:
            return self._hung(self.tolerance_s)
        longest_s = LOG_ALONE_FACTOR * self.tolerance_s
        if self._logs_silent_s >= longest_s and self.logs_steadily is not None and self.logs_steadily():
            return self._busy_without_progress(longest_s)
        # Only now: checks that always fail must not put off for ever the end of a process whose lock is kept.
        self.terminator.heartbeat(self.tolerance_s)
        return None

    def _wrote(self) -> bool:
        before, self._files = self._files, self._read_logs()
        return self._files != before

    def _shows_life(self) -> bool:
        if self._activity is None:
            return False
        activity = self._activity.since_last_check()
        if activity.gpu_of_all and activity.gpu_percent is not None:
            self.note_once(
                "gpu of all programs",
                "NVML does not tell here which program computes on the GPU, so that others' work there counts as a "
                "sign of life of the sorter.",
            )
        if activity.gpu_silence:
            self.note_once("gpu does not answer", f"{activity.gpu_silence} Its work is no sign of life now.")
        # Where no process is left, its end is the cause, and the code that waits for it reports that.
        return activity.alive or not activity.running

    def _read_logs(self) -> dict[Path, _Files]:
        found = {}
        for path in self.log_paths:
            try:
                found[path] = _files(path)
            except OSError as error:  # a share that went away, for example: nothing new is known of this log
                self.note_once(f"log can't be read: {type(error).__name__}", str(error))
                found[path] = self._files.get(path, {})
        return found

    def _hung(self, tolerance_s: float) -> SorterTimeoutError:
        waiting = set() if self._activity is None else self._activity.uninterruptible_threads()
        if waiting:
            pid, thread = min(waiting)
            return stalled(pid, thread, self._silent_s, tolerance_s)
        return self._timeout(
            f"{self._sorter} showed no sign of life for {self._silent_s:.0f} s: nothing new in its log, no processor "
            f"time, no input or output.",
            self._silent_s,
            tolerance_s,
        )

    def _busy_without_progress(self, longest_s: float) -> SorterTimeoutError:
        return self._timeout(
            f"{self._sorter} wrote nothing for {self._logs_silent_s:.0f} s where it does for each part of its work. It "
            "was busy, as with a computation on the GPU that never ends.",
            self._logs_silent_s,
            longest_s,
        )

    def _timeout(self, message: str, silent_s: float, tolerance_s: float) -> SorterTimeoutError:
        lines = [line for path in self.log_paths for line in _last_lines(path)]
        return SorterTimeoutError(
            message,
            remedy=(
                "Look at the last lines of its log for where it hung, and run it again; if it only needs longer "
                "silences, raise execution.sorter_inactivity_base_s."
            ),
            log_excerpt="\n".join(lines[-_EXCERPT_LINES:]),
            silent_s=round(silent_s, 1),
            tolerance_s=tolerance_s,
            last_log_line=lines[-1] if lines else None,
        )


def _files(log_path: Path) -> _Files:
    """Inode, size and modification time of every file that is, was, or will be this log."""
    found: _Files = {}
    try:
        with os.scandir(log_path.parent) as entries:
            names = [entry.path for entry in entries if entry.name.startswith(log_path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return found
    for name in names:
        try:
            status = os.stat(name)  # noqa: PTH116 - names from scandir
        except FileNotFoundError:
            continue
        found[name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _last_lines(log_path: Path) -> list[str]:
    try:
        return [line for line in read_tail(log_path, _EXCERPT_BYTES).splitlines() if line]
    except OSError:  # that is for the message alone, and an audit line says already why it can't be read
        return []
