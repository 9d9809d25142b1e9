"""Watches the memory of the GPU that a sorter uses."""

from __future__ import annotations

from typing import Any, ClassVar

from sort_assets.errors import DeviceOutOfMemoryError, SortAssetsError
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.gpu_watchdog import GpuWatchdog

NOTED_PERCENT = 95.0
"""Use from which on it is noted. Not a reason to end anything: torch's allocator keeps nearly all memory for itself."""


class GpuMemoryWatchdog(GpuWatchdog):
    """Trips with `DeviceOutOfMemoryError` when more of the GPU's memory is used, by all programs, than is allowed.

    Without an allowed maximum it only notes, once, that more than `NOTED_PERCENT` are used. Without NVML or without a
    device it watches nothing.

    Parameters
    ----------
    gpu : str or None
        As `open_gpu` takes it.
    max_percent : float or None
        Largest part of the memory that may be used; None only notes.
    ending, interval_s, looks_in_a_row, audit
        As in `Watchdog`.
    nvml : module or None
        Stands for `pynvml` in tests.
    """

    name: ClassVar[str] = "gpu_memory"

    def __init__(self, gpu: str | None, max_percent: float | None, ending: Terminator, **watchdog: Any) -> None:
        super().__init__(gpu, ending, **watchdog)
        self.max_percent = max_percent

    def look(self) -> SortAssetsError | None:
        used_bytes, total_bytes = self.sensors.memory_bytes()
        used_percent = 100 * used_bytes / total_bytes
        if used_percent > NOTED_PERCENT:
            self.note_once(
                "nearly full",
                f"{used_percent:.1f} % of the memory of the GPU {self.gpu} are used.",
                used_bytes=used_bytes,
                total_bytes=total_bytes,
            )
        if self.max_percent is None or used_percent <= self.max_percent:
            return None
        return DeviceOutOfMemoryError(
            f"{used_percent:.1f} % of the memory of the GPU {self.gpu} are used; {self.max_percent:g} % are allowed.",
            remedy="Look for other programs on the GPU, lower the sorter's batch size, or raise "
            "execution.max_gpu_memory_percent (null does not watch).",
            gpu=self.gpu,
            used_bytes=used_bytes,
            total_bytes=total_bytes,
            max_percent=self.max_percent,
        )
