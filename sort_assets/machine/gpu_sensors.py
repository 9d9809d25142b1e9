"""What NVIDIA's management library (NVML) says of a GPU while a sort runs.

When a driver hangs, so does every call into NVML, and no thread can be interrupted in one. So each question is put in a
thread of its own that is given up after some seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, TypeVar

from sort_assets.machine.pid_namespace import sees_host_pids

_LIMIT_S = 5.0
_MIG = "MIG-"


class NoGpuError(Exception):
    """There is no GPU to ask about; the message says why."""


class NvmlSilentError(Exception):
    """NVML does not answer."""


_Answer = TypeVar("_Answer")
_unanswered: Future[Any] | None = None
"""The last question that was given up. While it stays unanswered, others would be waited for in vain."""


def ask_bounded(question: Callable[[], _Answer]) -> _Answer:
    """The answer to a question to NVML, which is given up after five seconds.

    Parameters
    ----------
    question : callable
        Asks NVML.

    Raises
    ------
    NvmlSilentError
        When there is no answer in time; at once while an earlier question is still unanswered.
    """
    global _unanswered
    if _unanswered is not None and not _unanswered.done():
        raise NvmlSilentError("NVIDIA's driver does not answer.")
    answer: Future[_Answer] = Future()
    threading.Thread(target=_answer, args=(answer, question), name="question to NVML", daemon=True).start()
    if not wait([answer], timeout=_LIMIT_S).done:
        _unanswered = answer
        raise NvmlSilentError(f"NVIDIA's driver has not answered for {_LIMIT_S:g} s.")
    return answer.result()


def _answer(answer: Future[_Answer], question: Callable[[], _Answer]) -> None:
    try:
        answer.set_result(question())
    except Exception as error:
        answer.set_exception(error)


@dataclass(frozen=True)
class Utilisation:
    """How busy a GPU was.

    Attributes
    ----------
    percent : float or None
        Percent of the last moments in which a program computed on it; None where that is not measured (MIG).
    of_all_programs : bool
        Whether it could not be told who computed, so that it is everybody's.
    silence : str
        Why nothing is known, when NVML did not answer.
    """

    percent: float | None
    of_all_programs: bool
    silence: str = ""


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
    failures : tuple of type
        What its methods raise: NVML's own errors, and `NvmlSilentError` when it does not answer in time.
    """

    def __init__(self, nvml: Any, handle: Any, name: str) -> None:
        self.name = name
        self.failures: tuple[type[Exception], ...] = (nvml.NVMLError, NvmlSilentError)
        self._nvml = nvml
        self._handle = handle

    def memory_bytes(self) -> tuple[int, int]:
        """Used by all programs together, and total."""
        memory = ask_bounded(lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle))
        return int(memory.used), int(memory.total)

    def temperature_c(self) -> float:
        """Of the chip, in degrees Celsius; of a MIG slice, that of the whole device."""
        return ask_bounded(self._temperature)

    def _temperature(self) -> float:
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
        return ask_bounded(lambda: self._utilisation(pids, since_us))

    def _utilisation(self, pids: Collection[int], since_us: int) -> tuple[Utilisation, int]:
        samples = self._samples(since_us)
        if samples is None:
            return Utilisation(self._percent_of_all(), of_all_programs=True), since_us
        percent = max((float(one.smUtil) for one in samples if int(one.pid) in pids), default=0.0)
        newest = max((int(one.timeStamp) for one in samples), default=since_us)
        return Utilisation(percent, of_all_programs=False), max(newest, since_us)

    def _samples(self, since_us: int) -> list[Any] | None:
        """NVML's samples for each process; None where there are none to be had: MIG, old devices, containers."""
        if not sees_host_pids():
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
        running = ask_bounded(lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
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
        handle = ask_bounded(lambda: _find(nvml, wanted))
    except (nvml.NVMLError, NvmlSilentError) as error:
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


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise NoGpuError(f"NVML is not installed: {error}") from error
    return pynvml


def _find(nvml: Any, wanted: str) -> Any:
    nvml.nvmlInit()
    if wanted.startswith(_MIG):
        return nvml.nvmlDeviceGetHandleByUUID(wanted)
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if wanted == str(index) or str(nvml.nvmlDeviceGetUUID(handle)).startswith(wanted):
            return handle
    return None
