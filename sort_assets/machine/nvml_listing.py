"""The program that asks NVIDIA's management library for the devices.

It prints that it begins, and then one line of JSON: `{"code": NVML's error or 0, "words": its text, "driver": …,
"cuda_driver": …, "devices": […]}`. What a device does not tell is null. A device that can't be asked at all has "code"
and "words" of its own. This runs apart because NVML may hang (see `bounded_child`).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

_LONGEST_S = 60


def list_devices(nvml: Any) -> dict[str, Any]:
    """All devices and MIG slices that NVML knows, in its order, which is that of the PCI bus.

    Parameters
    ----------
    nvml : module
        `pynvml`.
    """
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return {"code": int(error.value), "words": str(error), "driver": None, "cuda_driver": None, "devices": []}
    return {
        "code": 0,
        "words": "",
        "driver": _or_none(nvml, nvml.nvmlSystemGetDriverVersion),
        "cuda_driver": _or_none(nvml, nvml.nvmlSystemGetCudaDriverVersion_v2),
        "devices": [device for index in range(count) for device in _devices(nvml, index)],
    }


def _devices(nvml: Any, index: int) -> Iterator[dict[str, Any]]:
    """A card, or its MIG slices: once it is cut, CUDA can't use it as a whole."""
    handle = None
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        card = _describe(nvml, handle, index)
        slices = list(_slices(nvml, handle))
        card["mig"] = _or_none(nvml, lambda: bool(nvml.nvmlDeviceGetMigMode(handle)[0]))
    except nvml.NVMLError as error:
        name = uuid = None
        if handle is not None:
            name = _or_none(nvml, lambda: nvml.nvmlDeviceGetName(handle))
            uuid = _or_none(nvml, lambda: nvml.nvmlDeviceGetUUID(handle))
        yield {"index": index, "name": name, "uuid": uuid, "code": int(error.value), "words": str(error)}
        return
    if not card["mig"]:
        yield card
        return
    for slice_handle in slices:
        try:
            described = _describe(nvml, slice_handle, index)
        except nvml.NVMLError as error:
            described = {"index": index, "name": None, "uuid": None, "code": int(error.value), "words": str(error)}
        # NVML tells these of the whole card only.
        for fact in ("capability", "compute_mode", "persistence"):
            described[fact] = card[fact]
        yield {**described, "mig": True, "parent": card["uuid"]}
    if not slices:
        yield card


def _slices(nvml: Any, handle: Any) -> Iterator[Any]:
    # Old drivers and small cards know nothing of slices.
    most = _or_none(nvml, lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0
    for number in range(most):
        with suppress(nvml.NVMLError):  # a place in which no slice was made
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)


def _describe(nvml: Any, handle: Any, index: int) -> dict[str, Any]:
    # Memory is refused to users who have only a slice of the device, and where it shares the machine's memory; but a
    # lost device answers every question so.
    memory = _or_none(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    return {
        "index": index,
        "uuid": nvml.nvmlDeviceGetUUID(handle),
        "name": nvml.nvmlDeviceGetName(handle),
        "memory": None if memory is None else int(memory.total),
        "free": None if memory is None else int(memory.free),
        "capability": _or_none(nvml, lambda: list(nvml.nvmlDeviceGetCudaComputeCapability(handle))),
        "compute_mode": _or_none(nvml, lambda: int(nvml.nvmlDeviceGetComputeMode(handle))),
        "persistence": _or_none(nvml, lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle))),
    }


def _or_none(nvml: Any, ask: Callable[[], Any]) -> Any:
    """The answer; None where the device or an older driver does not know it. A device that is lost fails."""
    try:
        return ask()
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
            raise
        return None


if __name__ == "__main__":
    import pynvml

    print("The driver is asked now.", flush=True)
    signal.alarm(_LONGEST_S)  # for when nobody is left who gives it up
    print(json.dumps(list_devices(pynvml)))
