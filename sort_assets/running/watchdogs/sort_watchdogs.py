"""All the watchdogs that a configuration asks for, as one context."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from sort_assets.config import ExecutionConfig
from sort_assets.errors import SortAssetsError
from sort_assets.machine.gpu_sensors import find_sensors
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import Terminator, leaves_guards
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.base import Watchdog
from sort_assets.running.watchdogs.free_disk import FreeDiskWatchdog
from sort_assets.running.watchdogs.gpu_memory import GpuMemoryWatchdog
from sort_assets.running.watchdogs.gpu_temperature import GpuTemperatureWatchdog
from sort_assets.running.watchdogs.host_memory import HostMemoryWatchdog
from sort_assets.running.watchdogs.io_stall import IoStallWatchdog
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog


class Guards:
    """Several watchdogs around one block. The first that trips says why.

    Parameters
    ----------
    watchdogs : sequence of Watchdog
        They share one ending.
    """

    def __init__(self, watchdogs: Sequence[Watchdog]) -> None:
        self.watchdogs = tuple(watchdogs)
        self._stack = ExitStack()

    @property
    def tripped(self) -> SortAssetsError | None:
        """Why the sort was ended; None when it was not."""
        return next((watchdog.tripped for watchdog in self.watchdogs if watchdog.tripped is not None), None)

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            for watchdog in self.watchdogs:
                entered.enter_context(watchdog)
            self._stack = entered.pop_all()
        return self

    @leaves_guards
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)


def sort_guards(
    execution: ExecutionConfig,
    *,
    pid: int,
    log_paths: Sequence[Path],
    output_folder: Path,
    tolerance_s: float | None,
    ending: Terminator,
    audit: AuditLog | None,
    gpu: str | None,
    sorter: str | None = None,
) -> Guards:
    """All watchdogs that the configuration asks for.

    Parameters
    ----------
    execution : ExecutionConfig
        What is watched, and how strictly.
    pid : int
        The sorter's process, or this one.
    log_paths : sequence of Path
        The sorter's logs; they need not exist yet. None are given where another watchdog follows them.
    output_folder : Path
        Where the sorter writes.
    tolerance_s : float or None
        Seconds of silence that are tolerated; None does not watch the logs, and says so.
    ending : Terminator
        How to end the sorter.
    audit : AuditLog or None
        Where the watchdogs note what they do.
    gpu : str or None
        The device that the sorter uses, as in `CUDA_VISIBLE_DEVICES`; None for the processor.
    sorter : str or None
        Its name, for messages.

    Returns
    -------
    Guards
        A context manager around whatever waits for the sorter.
    """
    sensors = find_sensors(gpu)
    watchdogs: list[Watchdog] = [GpuMemoryWatchdog(gpu, execution.max_gpu_memory_percent, ending, audit=audit)]
    if log_paths:
        activity = ProcessActivity(pid, gpu=sensors)
        watchdogs.append(
            LogInactivityWatchdog(log_paths, tolerance_s, ending, activity=activity, sorter=sorter, audit=audit)
        )
    if execution.max_gpu_temperature_c is not None:
        watchdogs.append(GpuTemperatureWatchdog(gpu, execution.max_gpu_temperature_c, ending, audit=audit))
    if execution.min_free_memory_percent is not None:
        watchdogs.append(HostMemoryWatchdog(execution.min_free_memory_percent, ending, audit=audit))
    if execution.min_free_disk_gb is not None:
        watchdogs.append(FreeDiskWatchdog(output_folder, execution.min_free_disk_gb, ending, audit=audit))
    if execution.io_stall_timeout_s is not None:
        activity = ProcessActivity(pid, gpu=sensors)
        watchdogs.append(IoStallWatchdog(execution.io_stall_timeout_s, activity, ending, audit=audit))
    return Guards(watchdogs)
