"""Watchdogs of the GPU that a sorter uses: its memory and its temperature."""

from __future__ import annotations

from typing import Any, ClassVar

from sort_assets.errors import DeviceOutOfMemoryError, GpuOverheatedError, SortAssetsError
from sort_assets.machine.gpu_sensors import GpuSensors, NoGpuError, open_gpu
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.base import Watchdog

NOTED_PERCENT = 95.0
"""Use from which on it is noted. Not a reason to end anything: torch's allocator keeps nearly all memory for itself."""


class GpuWatchdog(Watchdog):
    """Watches a sensor of the GPU that a sorter uses. Without NVML or without a device it watches nothing.

    Parameters
    ----------
    gpu : str or None
        The device, as in `CUDA_VISIBLE_DEVICES`; None for a sorter on the processor.
    terminator, interval_s, checks_in_a_row, audit
        As for `Watchdog`.
    nvml : module or None
        Stands for `pynvml` in tests.
    """

    def __init__(
        self,
        gpu: str | None,
        terminator: Terminator,
        *,
        interval_s: float = 5.0,
        checks_in_a_row: int = 3,
        audit: AuditLog | None = None,
        nvml: Any = None,
    ) -> None:
        super().__init__(terminator, interval_s=interval_s, checks_in_a_row=checks_in_a_row, audit=audit)
        self.gpu = gpu
        self._nvml = nvml
        self._opened: GpuSensors | None = None

    def prepare(self) -> str | None:
        try:
            self._opened = open_gpu(self.gpu, self._nvml)
        except NoGpuError as reason:
            return str(reason)
        return None

    @property
    def sensors(self) -> GpuSensors:
        """Of the device, once the block has begun."""
        assert self._opened is not None  # prepare() has seen to that
        return self._opened


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
    terminator, interval_s, checks_in_a_row, audit
        As in `Watchdog`.
    nvml : module or None
        Stands for `pynvml` in tests.
    """

    name: ClassVar[str] = "gpu_memory"

    def __init__(self, gpu: str | None, max_percent: float | None, terminator: Terminator, **watchdog: Any) -> None:
        super().__init__(gpu, terminator, **watchdog)
        self.max_percent = max_percent

    def check(self) -> SortAssetsError | None:
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


class GpuTemperatureWatchdog(GpuWatchdog):
    """Trips with `GpuOverheatedError` when the GPU is hotter than is allowed.

    Without NVML or without a device it watches nothing.

    Parameters
    ----------
    gpu : str or None
        As `open_gpu` takes it.
    max_c : float
        Highest temperature that is allowed, in degrees Celsius.
    terminator, interval_s, checks_in_a_row, audit
        As in `Watchdog`.
    nvml : module or None
        Stands for `pynvml` in tests.
    """

    name: ClassVar[str] = "gpu_temperature"

    def __init__(self, gpu: str | None, max_c: float, terminator: Terminator, **watchdog: Any) -> None:
        super().__init__(gpu, terminator, **watchdog)
        self.max_c = max_c

    def check(self) -> SortAssetsError | None:
        temperature_c = self.sensors.temperature_c()
        if temperature_c <= self.max_c:
            return None
        return GpuOverheatedError(
            f"The GPU {self.gpu} has {temperature_c:.0f} °C; {self.max_c:g} °C are allowed.",
            remedy="Let it cool down and check its fans and the room's air; then run the sort again.",
            gpu=self.gpu,
            temperature_c=temperature_c,
            max_c=self.max_c,
        )
