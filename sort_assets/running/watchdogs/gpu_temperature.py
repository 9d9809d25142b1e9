"""Watches the temperature of the GPU that a sorter uses."""

from __future__ import annotations

from typing import Any, ClassVar

from sort_assets.errors import GpuOverheatedError, SortAssetsError
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.gpu_watchdog import GpuWatchdog


class GpuTemperatureWatchdog(GpuWatchdog):
    """Trips with `GpuOverheatedError` when the GPU is hotter than is allowed.

    Without NVML or without a device it watches nothing.

    Parameters
    ----------
    gpu : str or None
        As `open_gpu` takes it.
    max_c : float
        Highest temperature that is allowed, in degrees Celsius.
    ending, interval_s, looks_in_a_row, audit
        As in `Watchdog`.
    nvml : module or None
        Stands for `pynvml` in tests.
    """

    name: ClassVar[str] = "gpu_temperature"

    def __init__(self, gpu: str | None, max_c: float, ending: Terminator, **watchdog: Any) -> None:
        super().__init__(gpu, ending, **watchdog)
        self.max_c = max_c

    def look(self) -> SortAssetsError | None:
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
