"""The watchdogs of a sort, as its configuration asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sort_assets.config import ExecutionConfig
from sort_assets.machine.gpu_sensors import find_sensors
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.activity import ProcessActivity
from sort_assets.running.watchdogs.base import Watchdog, Watchdogs
from sort_assets.running.watchdogs.free_disk import FreeDiskWatchdog
from sort_assets.running.watchdogs.gpu import GpuMemoryWatchdog, GpuTemperatureWatchdog
from sort_assets.running.watchdogs.host_memory import HostMemoryWatchdog
from sort_assets.running.watchdogs.io_stall import IoStallWatchdog
from sort_assets.running.watchdogs.log_inactivity import LogInactivityWatchdog


def sort_watchdogs(
    execution: ExecutionConfig,
    *,
    pid: int,
    log_paths: Sequence[Path],
    output_folder: Path,
    tolerance_s: float | None,
    terminator: Terminator,
    audit: AuditLog | None,
    gpu: str | None,
    logs_steadily: Callable[[], bool] | None = None,
    sorter: str | None = None,
) -> Watchdogs:
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
        Seconds of silence that are tolerated; None does not watch the logs, and notes that.
    terminator : Terminator
        How to end the sorter.
    audit : AuditLog or None
        Where the watchdogs note what they do.
    gpu : str or None
        The device that the sorter uses, as in `CUDA_VISIBLE_DEVICES`; None for the processor.
    logs_steadily : callable or None
        Whether the sorter is in a stage in which it writes steadily.
    sorter : str or None
        Its name, for messages.

    Returns
    -------
    Watchdogs
        A context manager around whatever waits for the sorter.
    """
    sensors = find_sensors(gpu)
    watchdogs: list[Watchdog] = [GpuMemoryWatchdog(gpu, execution.max_gpu_memory_percent, terminator, audit=audit)]
    if log_paths:
        activity = ProcessActivity(pid, gpu=sensors)
        watchdogs.append(
            LogInactivityWatchdog(
                log_paths,
                tolerance_s,
                terminator,
                activity=activity,
                logs_steadily=logs_steadily,
                sorter=sorter,
                audit=audit,
            )
        )
    if execution.max_gpu_temperature_c is not None:
        watchdogs.append(GpuTemperatureWatchdog(gpu, execution.max_gpu_temperature_c, terminator, audit=audit))
    if execution.min_free_memory_percent is not None:
        watchdogs.append(HostMemoryWatchdog(execution.min_free_memory_percent, terminator, audit=audit))
    if execution.min_free_disk_gb is not None:
        watchdogs.append(FreeDiskWatchdog(output_folder, execution.min_free_disk_gb, terminator, audit=audit))
    if execution.io_stall_timeout_s is not None:
        activity = ProcessActivity(pid, gpu=sensors)
        watchdogs.append(IoStallWatchdog(execution.io_stall_timeout_s, activity, terminator, audit=audit))
    return Watchdogs(watchdogs)
