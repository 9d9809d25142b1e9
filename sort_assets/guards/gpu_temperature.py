"""Watches the temperature of the GPU that a sorter uses."""

from __future__ import annotations

from typing import Any, ClassVar

from sort_assets.errors import GpuOverheatedError, SortAssetsError
from sort_assets.guards.audit import AuditLog
from sort_assets.guards.ending import Ending
from sort_assets.guards.nvml import GpuSensors, NoGpuError, open_gpu
from sort_assets.guards.watchdog import Watchdog


class GpuTemperatureWatchdog(Watchdog):
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

    def __init__(
        self,
        gpu: str | None,
        max_c: float,
        ending: Ending,
        *,
        interval_s: float = 5.0,
        looks_in_a_row: int = 3,
        audit: AuditLog | None = None,
        nvml: Any = None,
    ) -> None:
        super().__init__(ending, interval_s=interval_s, looks_in_a_row=looks_in_a_row, audit=audit)
        self.gpu = gpu
        self.max_c = max_c
        self._nvml = nvml
        self._sensors: GpuSensors | None = None

    def prepare(self) -> str | None:
        try:
            self._sensors = open_gpu(self.gpu, self._nvml)
        except NoGpuError as reason:
            return str(reason)
        return None

    def look(self) -> SortAssetsError | None:
        assert self._sensors is not None  # prepare() has seen to that
        temperature_c = self._sensors.temperature_c()
        if temperature_c <= self.max_c:
            return None
        return GpuOverheatedError(
            f"The GPU {self.gpu} has {temperature_c:.0f} °C; {self.max_c:g} °C are allowed.",
            remedy="Let it cool down and check its fans and the room's air; then run the sort again.",
            gpu=self.gpu,
            temperature_c=temperature_c,
            max_c=self.max_c,
        )
