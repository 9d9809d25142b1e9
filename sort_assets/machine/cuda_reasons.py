"""Why torch can't compute on a GPU, and the cure that is true for that card and its driver."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from sort_assets.errors import (
    GpuBusyError,
    GpuDriverError,
    GpuMemoryTakenError,
    SortAssetsError,
    SorterEnvironmentError,
)
from sort_assets.machine.gpus import Gpu

_INDEX = "https://download.pytorch.org/whl"
_ON_CPU = "To sort without the GPU meanwhile, set sorter.device to cpu."
# The first driver of each major version of CUDA for Linux ("CUDA Toolkit Release Notes", table of minimum versions).
_FIRST_DRIVER = {11: 450, 12: 525, 13: 580}

Reason = Literal[
    "no cuda build", "driver too old", "no code", "busy", "memory taken", "not visible", "no compute library",
    "fabric manager", "mismatch", "mps", "driver in trouble", "hangs", "torch broken", "torch slow",
]  # fmt: skip


_STAYS: tuple[Reason, ...] = ("no cuda build", "driver too old", "no code", "no compute library", "torch broken")
"""Reasons that do not pass until somebody installs something."""


@dataclass(frozen=True)
class CudaStart:
    """What the start of CUDA on a device came to.

    Attributes
    ----------
    version : str
        Of torch, like "2.13.0+cu130".
    cuda : str or None
        The version of CUDA that torch was built with; None for a build without.
    codes : tuple of str
        The compute capabilities for which it has code, like "86".
    builds : tuple of str or None
        Versions of CUDA for which the same torch is published with code for this device, like "12.6", lowest first;
        None when it is not known.
    error : str or None
        What torch said; None when it computed on the device.
    silence : str
        Why there is no answer: torch can't be imported (then the version is empty too), or the start hung or crashed.
    hangs : bool
        Whether it hung; without a version, the import of torch did.
    """

    version: str
    cuda: str | None
    codes: tuple[str, ...] = ()
    builds: tuple[str, ...] | None = None
    error: str | None = None
    silence: str = ""
    hangs: bool = False


# What torch 2.13 and CUDA 13 say, in that order of precedence.
_TEXTS: tuple[tuple[str, Reason], ...] = (
    (
        r"driver on your system is too old|driver version is insufficient|unsupported toolchain|Error 804\b"
        r"|forward compatibility was attempted",
        "driver too old",
    ),
    (r"no kernel image is available|invalid device function", "no code"),
    (r"busy or unavailable", "busy"),
    (r"out of memory|ALLOC_FAILED", "memory taken"),
    (r"Error 802\b|system not yet initialized", "fabric manager"),
    (r"Error 803\b|unsupported display driver", "mismatch"),
    (r"\bMPS\b", "mps"),
    (r"Found no NVIDIA driver", "no compute library"),
    (r"No CUDA GPUs are available|no CUDA-capable device|invalid device ordinal", "not visible"),
)


def find_reason(start: CudaStart) -> Reason | None:
    """Why a start of CUDA failed; None when it worked."""
    if not start.version:
        return "torch slow" if start.hangs else "torch broken"
    if start.cuda is None:
        return "no cuda build"
    if start.silence:
        return "hangs" if start.hangs else "driver in trouble"
    if start.error is None:
        return None
    text = start.error
    return next((reason for pattern, reason in _TEXTS if re.search(pattern, text)), "driver in trouble")


def explain(gpu: Gpu, start: CudaStart, reason: Reason) -> SortAssetsError:
    """The failure for a start of CUDA that did not work: the card, its driver, the reason, and the cure.

    Parameters
    ----------
    gpu : Gpu
    start : CudaStart
    reason : str
        Of `find_reason`.
    """
    happened, remedy = _words(gpu, start, reason)
    kind: type[SortAssetsError] = {
        "busy": GpuBusyError,
        "memory taken": GpuMemoryTakenError,
        "torch broken": SorterEnvironmentError,
        "torch slow": SorterEnvironmentError,
    }.get(reason, GpuDriverError)
    return kind(
        f"torch can't use the GPU {describe(gpu)}: {happened}.",
        remedy=remedy if kind is SorterEnvironmentError else f"{remedy} {_ON_CPU}",
        gpu=gpu.uuid,
        reason=reason,
        torch=start.version,
    )


def may_pass(error: SortAssetsError) -> bool:
    """Whether a GPU that can't be used may work again by itself, as when a service of its driver restarts."""
    return error.diagnostics.get("reason") not in _STAYS


def describe(gpu: Gpu) -> str:
    """Name, driver and compute capability, in words."""
    facts = [
        f"driver {gpu.driver}" if gpu.driver else "",
        "compute capability {}.{}".format(*gpu.compute_capability) if gpu.compute_capability else "",
    ]
    known = ", ".join(filter(None, facts))
    return f"{gpu.name} ({known})" if known else gpu.name


def _words(gpu: Gpu, start: CudaStart, reason: Reason) -> tuple[str, str]:
    """What happened, and what to do about it."""
    said = _in_short(start.error or start.silence)
    match reason:
        case "no cuda build":
            return f"the installed torch {start.version} is a build without CUDA", other_build(gpu, start)
        case "driver too old" if "forward compat" in said or "804" in said:
            return (
                f"a newer libcuda than the driver's is loaded, which this card does not allow ({said})",
                "Take the folder of the package cuda-compat out of LD_LIBRARY_PATH, or update the driver.",
            )
        case "driver too old":
            knows = f", and the driver knows {_cuda_in_words(gpu.cuda_driver)} only" if gpu.cuda_driver else ""
            return f"torch {start.version} needs CUDA {start.cuda}{knows}", other_build(gpu, start)
        case "no code":
            codes = ", ".join(f"{code[:-1]}.{code[-1]}" for code in start.codes)
            has = f", only for {codes}" if codes else ""
            return f"torch {start.version} has no code for this card{has}", other_build(gpu, start)
        case "busy":
            mode = "Its compute mode is exclusive" if gpu.compute_mode == "exclusive" else "The driver refuses another"
            return (
                f"another program has it for itself ({said})",
                f"{mode}: see with `nvidia-smi` who uses it, and end that program or wait; "
                "`sudo nvidia-smi --compute-mode=DEFAULT` lets several programs use the card.",
            )
        case "memory taken":
            free = "" if gpu.free_bytes is None else f" ({gpu.free_bytes / 2**30:.1f} GiB were free)"
            return (
                f"other programs hold its memory{free}",
                "See with `nvidia-smi` which programs hold it, and end them or wait.",
            )
        case "fabric manager":
            return (
                f"the connection of the cards is not set up ({said})",
                "Start NVIDIA's fabric manager, in the version of the driver: sudo systemctl enable --now "
                "nvidia-fabricmanager. If it runs already, see what it says: journalctl -u nvidia-fabricmanager.",
            )
        case "mismatch":
            return (
                f"the driver's library and its kernel module are of different versions ({said})",
                "Reboot: the driver was updated while the old one was loaded. In a container, start it anew.",
            )
        case "mps":
            return (
                f"NVIDIA's MPS does not serve it ({said})",
                "Start MPS anew (`echo quit | nvidia-cuda-mps-control`, then `nvidia-cuda-mps-control -d`), or end it.",
            )
        case "no compute library":
            return (
                "the driver's library libcuda.so.1 can't be found",
                "Install the driver's compute package (Debian: libcuda1, Ubuntu: libnvidia-compute-…); a container "
                "needs NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
            )
        case "not visible":
            lost = "The slices may have been cut anew; " if gpu.parent else ""
            return (
                f"CUDA does not see it ({said})",
                f"{lost}see whether `nvidia-smi -L` lists {gpu.uuid}, and whether this user, container or job may use "
                "/dev/nvidia* and /dev/nvidia-uvm (`sudo modprobe nvidia-uvm` makes the latter).",
            )
        case "hangs":
            return (
                "the start of CUDA hangs",
                "See whether `nvidia-smi` hangs too; then reboot, and look for 'NVRM' and 'Xid' in `dmesg`.",
            )
        case "torch broken":
            return (
                f"torch itself can't be imported ({said})",
                "See what `python -c 'import torch'` says, and install torch anew: `make`, or pip install "
                "--force-reinstall torch.",
            )
        case "torch slow":
            return (
                f"importing torch takes too long ({said})",
                "The machine is very busy, or the disk or share with the Python environment is slow: see how long "
                "`python -c 'import torch'` takes, and run again when it is done within a minute.",
            )
        case "driver in trouble":
            return (
                f"CUDA does not start ({said})",
                "Reboot; if that does not help, install the driver again. In a container that has run for a while, "
                "restart the container. `dmesg` tells more ('NVRM', 'Xid').",
            )


def other_build(gpu: Gpu, start: CudaStart) -> str:
    """Which other build of the same torch the card and its driver can use, or which driver that takes.

    A driver runs what was built for any CUDA of its major version, and for those before it ("CUDA Compatibility",
    NVIDIA).
    """
    base = start.version.partition("+")[0]
    if start.builds is None:
        return "Install a build of torch that fits the card and its driver: https://pytorch.org/get-started/locally."
    if not start.builds:
        return f"No build of torch {base} has code for this card: use another one."
    if not gpu.cuda_driver:
        return _install(base, start.builds[0])
    fitting = [build for build in start.builds if _major(build) <= gpu.cuda_driver // 1000 and build != start.cuda]
    if fitting:
        newest = max(map(_major, fitting))
        return _install(base, next(build for build in fitting if _major(build) == newest))
    needed = start.builds[0]
    driver = f"of version {_FIRST_DRIVER[_major(needed)]} or newer" if _major(needed) in _FIRST_DRIVER else "newer"
    then = "" if needed == start.cuda else f" Then: {_install(base, needed)}"
    return f"Install an NVIDIA driver {driver}, without which no build of torch {base} works.{then}"


def _install(version: str, cuda: str) -> str:
    build = f"cu{cuda.replace('.', '')}"
    return (
        f"Install the build of the same torch for CUDA {cuda}: `make TORCH_BUILD={build}` in a checkout, else "
        f"`pip install torch=={version}+{build} --extra-index-url {_INDEX}/{build}`."
    )


def _major(cuda: str) -> int:
    return int(cuda.partition(".")[0])


def _cuda_in_words(version: int | None) -> str:
    return f"CUDA {version // 1000}.{version % 1000 // 10}" if version else "no CUDA"


def _in_short(text: str) -> str:
    """What CUDA itself says, like "Error 802: system not yet initialized"; else the first line."""
    of_cuda = re.search(r"(?:\bError \d+: |CUDA error: )[^\n]*", text)
    lines = text.strip().splitlines() or [""]
    return (of_cuda[0] if of_cuda else lines[0]).rstrip(". ")
