"""What NVIDIA's management library says about one GPU, as far as it can say anything."""

from __future__ import annotations

import os
from typing import Any

_MIG = "MIG-"


class NoGpuError(Exception):
    """There is no GPU to ask about; the message says why."""


class GpuSensors:
    """The sensors of one GPU. Made by `open_gpu`.

    Parameters
    ----------
    nvml : module
        `pynvml`, initialised.
    handle : object
        NVML's handle of the device, or of a MIG slice of it.
    name : str
        What the device was asked for as.
    """

    def __init__(self, nvml: Any, handle: Any, name: str) -> None:
        self.name = name
        self._nvml = nvml
        self._handle = handle

    def memory_bytes(self) -> tuple[int, int]:
        """Used by all programs together, and total."""
        memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        return int(memory.used), int(memory.total)

    def temperature_c(self) -> float:
        """Of the chip, in degrees Celsius; of a MIG slice, that of the whole device."""
        device = self._handle
        if self.name.startswith(_MIG):
            device = self._nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self._handle)
        return float(self._nvml.nvmlDeviceGetTemperature(device, self._nvml.NVML_TEMPERATURE_GPU))

    def utilisation_percent(self) -> float | None:
        """Percent of the last moments in which a program computed on it; None where that is not measured (MIG)."""
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
        except self._nvml.NVMLError:
            return None

    def programs(self) -> list[tuple[int, int | None]]:
        """Pid and bytes of the programs that compute on it; the bytes are None where they are not told.

        Those that only draw windows are left out: a desktop is no competitor.
        """
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        return [(int(one.pid), None if one.usedGpuMemory is None else int(one.usedGpuMemory)) for one in running]


def open_gpu(gpu: str | None, nvml: Any = None) -> GpuSensors:
    """Find the sensors of a GPU.

    NVML stays initialised for the life of the process: it counts who uses it, and another user's end is not ours.

    Parameters
    ----------
    gpu : str or None
        As an entry of `CUDA_VISIBLE_DEVICES`: a UUID or its beginning, a MIG slice, or an index; of several with
        commas between them, the first.
    nvml : module or None
        Stands for `pynvml` in tests.

    Raises
    ------
    NoGpuError
        When there is no device, no driver, or no `pynvml`.
    """
    wanted = (gpu or "").split(",")[0].strip()
    if not wanted:
        raise NoGpuError("The sort uses no GPU.")
    if nvml is None:
        nvml = _pynvml()
    try:
        nvml.nvmlInit()
        handle = _find(nvml, wanted)
    except nvml.NVMLError as error:
        raise NoGpuError(f"NVML does not answer for the GPU {wanted}: {error}") from error
    if handle is None:
        raise NoGpuError(f"NVML knows no GPU {wanted}.")
    return GpuSensors(nvml, handle, wanted)


def find_sensors(gpu: str | None) -> GpuSensors | None:
    """As `open_gpu`; None when there is no GPU to ask about."""
    try:
        return open_gpu(gpu)
    except NoGpuError:
        return None


def visible_gpu() -> str | None:
    """The first device of this process's `CUDA_VISIBLE_DEVICES`; None when it is empty or not set."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or None


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise NoGpuError(f"NVML is not installed: {error}") from error
    return pynvml


def _find(nvml: Any, wanted: str) -> Any:
    if wanted.startswith(_MIG):
        return nvml.nvmlDeviceGetHandleByUUID(wanted)
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if wanted == str(index) or str(nvml.nvmlDeviceGetUUID(handle)).startswith(wanted):
            return handle
    return None
