"""Torch's setting against fragmentation of a GPU's memory: segments of it that can grow, instead of many that can't.

Torch keeps what it has asked of the GPU in segments, and a large tensor fits only into one that is large enough: memory
that is free, but in pieces, is of no use. With expandable segments it is (torch's own text of an out-of-memory error
recommends them); no result changes. Torch reads the setting when it first allocates: `PYTORCH_CUDA_ALLOC_CONF` in all
versions, and from 2.9 on `PYTORCH_ALLOC_CONF` where the former is not set (tried with 2.13).
"""

from __future__ import annotations

import ctypes
import os
import re
import sys

SETTING = "PYTORCH_CUDA_ALLOC_CONF"
_EXPANDABLE = "expandable_segments:True"
_ALSO_READ = ("PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
_VIRTUAL_MEMORY_MANAGEMENT = 102  # CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED in cuda.h
_SAID = re.compile(rf"^({'|'.join((SETTING, *_ALSO_READ))})=(.*)$", re.MULTILINE)


def use_expandable_segments() -> None:
    """Ask for expandable segments in this process, before torch allocates; say on stdout what is in force.

    What somebody has set in the environment stays. Nothing is set where the first visible GPU's driver can't map memory
    as it takes (some virtual GPUs): there, torch's first allocation would fail.
    """
    chosen = next((name for name in (SETTING, *_ALSO_READ) if name in os.environ), None)
    if chosen is None and sys.platform == "linux" and not _has_allocated() and _driver_maps_memory():
        os.environ[SETTING] = _EXPANDABLE
        chosen = SETTING
    if chosen is not None:
        print(f"{chosen}={os.environ[chosen]}", flush=True)


def _has_allocated() -> bool:
    """Whether torch may have allocated on a GPU, and so have read the setting."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def allocator_setting(output: str) -> dict[str, str]:
    """The setting that `use_expandable_segments` said was in force; empty where torch's default was.

    Parameters
    ----------
    output : str
        What the sorter's process wrote.
    """
    return dict(_SAID.findall(output)[:1])


def _driver_maps_memory() -> bool:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    device, supported = ctypes.c_int(), ctypes.c_int()
    try:
        return (
            cuda.cuInit(0) == 0
            and cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
            and cuda.cuDeviceGetAttribute(ctypes.byref(supported), _VIRTUAL_MEMORY_MANAGEMENT, device) == 0
            and supported.value == 1
        )
    except AttributeError:  # a driver without one of these functions
        return False
