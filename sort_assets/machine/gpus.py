"""The GPUs of this machine, found without initialising CUDA, and what NVIDIA's management library says of each."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MIG = "MIG-"
_NO_DEVICE = ("", "-1", "NoDevFiles")
"""Entries of `CUDA_VISIBLE_DEVICES` that hide all devices; the last is what SLURM sets for a job without a GPU."""
_HOST_PIDS = "pid:[4026531836]"
"""The initial pid namespace of every Linux kernel (PROC_PID_INIT_INO in include/linux/proc_ns.h)."""


@dataclass(frozen=True)
class Gpu:
    """A CUDA device.

    Attributes
    ----------
    uuid : str
        What `CUDA_VISIBLE_DEVICES` takes; unlike an index it means the same to NVML and to CUDA.
    name : str
        The product's name.
    memory_bytes : int
        Total memory; 0 when it is not known.
    """

    uuid: str
    name: str
    memory_bytes: int


def find_gpus() -> list[Gpu]:
    """The NVIDIA GPUs that this process may use; none when there is no driver or it is in trouble.

    A `CUDA_VISIBLE_DEVICES` that is already set (by SLURM, for example) limits the choice.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            found = [_describe(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return []
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return found if allowed is None else select_visible(found, allowed)


def select_visible(gpus: list[Gpu], visible: str) -> list[Gpu]:
    """The devices that a value of `CUDA_VISIBLE_DEVICES` leaves, in its order.

    As in CUDA, an entry is an index or the beginning of a UUID, and the first entry that names no device ends the
    list. The name of a MIG slice, which NVML does not list among the devices, is taken as it stands.
    """
    selected: list[Gpu] = []
    for word in (part.strip() for part in visible.split(",")):
        if word.startswith(_MIG):
            selected.append(Gpu(uuid=word, name="MIG slice", memory_bytes=0))
            continue
        matches = [gpu for index, gpu in enumerate(gpus) if word and (word == str(index) or gpu.uuid.startswith(word))]
        if len(matches) != 1:
            break
        selected.extend(matches)
    return selected


def _describe(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    try:
        memory_bytes = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except nvml.NVMLError:
        # Refused to users who have only a slice of the device, and where it shares the machine's memory.
        memory_bytes = 0
    return Gpu(uuid=nvml.nvmlDeviceGetUUID(handle), name=nvml.nvmlDeviceGetName(handle), memory_bytes=memory_bytes)


class NoGpuError(Exception):
    """There is no GPU to ask about; the message says why."""


@dataclass(frozen=True)
class Utilisation:
    """How busy a GPU was.

    Attributes
    ----------
    percent : float or None
        Percent of the last moments in which a program computed on it; None where that is not measured (MIG).
    of_all_programs : bool
        Whether it could not be told who computed, so that it is everybody's.
    """

    percent: float | None
    of_all_programs: bool


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

    Attributes
    ----------
    failure : type of Exception
        What its methods raise when NVML does not answer.
    """

    def __init__(self, nvml: Any, handle: Any, name: str) -> None:
        self.name = name
        self.failure: type[Exception] = nvml.NVMLError
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

    def utilisation(self, pids: Collection[int], since_us: int) -> tuple[Utilisation, int]:
        """How busy some processes keep it; where NVML can't tell who does, how busy it is.

        Parameters
        ----------
        pids : collection of int
            The processes, by their pids in this process's namespace.
        since_us : int
            What the last call returned beside the utilisation, so that no sample counts twice; at first 0.

        Returns
        -------
        Utilisation
            The largest of the samples.
        int
            For the next call: NVML's time of the newest sample.
        """
        samples = self._samples(since_us)
        if samples is None:
            return Utilisation(self._percent_of_all(), of_all_programs=True), since_us
        percent = max((float(one.smUtil) for one in samples if int(one.pid) in pids), default=0.0)
        newest = max((int(one.timeStamp) for one in samples), default=since_us)
        return Utilisation(percent, of_all_programs=False), max(newest, since_us)

    def _samples(self, since_us: int) -> list[Any] | None:
        """NVML's samples for each process; None where there are none to be had: MIG, old devices, containers."""
        if not _sees_host_pids():
            return None
        try:
            return list(self._nvml.nvmlDeviceGetProcessUtilization(self._handle, since_us))
        except self._nvml.NVMLError as error:
            # Nobody computed since then.
            return [] if error.value == self._nvml.NVML_ERROR_NOT_FOUND else None

    def _percent_of_all(self) -> float | None:
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
    """The device that CUDA takes in this process: the first of `CUDA_VISIBLE_DEVICES`, "0" when that is not set.

    None when it hides all devices. As in CUDA, the first entry that names no device ends the list.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    return None if first in _NO_DEVICE else first


def _sees_host_pids() -> bool:
    """Whether this process has the pids that NVML reports: it knows nothing of a container's."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == _HOST_PIDS
    except FileNotFoundError:  # a system without namespaces
        return True


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
