"""The GPUs of this machine, found without initialising CUDA."""

import os
from dataclasses import dataclass
from typing import Any

_MIG = "MIG-"


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
