"""What the watchdogs of a GPU have in common."""

from __future__ import annotations

from typing import Any

from sort_assets.machine.gpu_sensors import GpuSensors, NoGpuError, open_gpu
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.base import Watchdog


class GpuWatchdog(Watchdog):
    """Watches a sensor of the GPU that a sorter uses. Without NVML or without a device it watches nothing.

    Parameters
    ----------
    gpu : str or None
        The device, as in `CUDA_VISIBLE_DEVICES`; None for a sorter on the processor.
    ending, interval_s, looks_in_a_row, audit
        As for `Watchdog`.
    nvml : module or None
        Stands for `pynvml` in tests.
    """

    def __init__(
        self,
        gpu: str | None,
        ending: Terminator,
        *,
        interval_s: float = 5.0,
        looks_in_a_row: int = 3,
        audit: AuditLog | None = None,
        nvml: Any = None,
    ) -> None:
        super().__init__(ending, interval_s=interval_s, looks_in_a_row=looks_in_a_row, audit=audit)
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
