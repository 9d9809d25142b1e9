"""The watchdog of the disk that a sorter writes to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from sort_assets.errors import DiskFullError, SortAssetsError
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.base import Watchdog

GB = 1e9


class FreeDiskWatchdog(Watchdog):
    """Trips with `DiskFullError` while there still is room to write down what happened.

    Parameters
    ----------
    folder : Path
        Where the sorter writes; it need not exist yet.
    min_free_gb : float
        GB (of 1e9 bytes) that must stay free for an ordinary user.
    terminator, interval_s, audit
        As in `Watchdog`.
    """

    name: ClassVar[str] = "free_disk"

    def __init__(
        self,
        folder: Path,
        min_free_gb: float,
        terminator: Terminator,
        *,
        interval_s: float = 5.0,
        audit: AuditLog | None = None,
    ) -> None:
        super().__init__(terminator, interval_s=interval_s, audit=audit)
        self.folder = folder
        self.min_free_gb = min_free_gb

    def check(self) -> SortAssetsError | None:
        folder = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes >= self.min_free_gb * GB:
            return None
        return DiskFullError(
            f"Only {free_bytes / GB:.2f} GB are free on the disk of {self.folder}; {self.min_free_gb:g} GB must stay.",
            remedy="Make room (`sort-assets gc`, or move results elsewhere), or use a store on a larger disk.",
            path=str(self.folder),
            free_bytes=free_bytes,
            min_free_bytes=int(self.min_free_gb * GB),
        )
