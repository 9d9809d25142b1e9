"""The GPUs of this machine, found without initialising CUDA and without waiting for a driver that hangs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sort_assets.errors import GpuDriverError
from sort_assets.machine.bounded_child import NoAnswerError, ask_child
from sort_assets.machine.pid_namespace import sees_host_pids

_LISTING = Path(__file__).with_name("nvml_listing.py")
_LIMIT_S = 10.0
"""A machine with eight GPUs whose driver is not kept loaded (no persistence mode) takes some seconds to answer."""
_SLOW_START = 6
"""How many times longer a process has that did not even begin to ask: on a busy machine, or from a slow share."""
_MIG = "MIG-"
_NO_DEVICE = ("", "-1", "NoDevFiles")
"""Entries of `CUDA_VISIBLE_DEVICES` that hide all devices; the last is what SLURM sets for a job without a GPU."""
_PCI = Path("/sys/bus/pci/devices")
_MODULE = Path("/sys/module/nvidia")
_NVIDIA, _AMD = "0x10de", "0x1002"
_DISPLAY_CLASS = "0x03"
# NVML's error codes (nvml.h).
_NO_PERMISSION, _DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND, _LOST, _RESET, _MISMATCH = 4, 9, 12, 15, 16, 18

ComputeMode = Literal["default", "exclusive", "prohibited"]
_COMPUTE_MODES: tuple[ComputeMode, ...] = ("default", "exclusive", "prohibited", "exclusive")
"""By NVML's number; 1 is a mode of old drivers, exclusive to a thread."""


@dataclass(frozen=True)
class Gpu:
    """A CUDA device: a card, or a MIG slice of one.

    Attributes
    ----------
    uuid : str
        What `CUDA_VISIBLE_DEVICES` takes; unlike an index it means the same to NVML and to CUDA. Empty for a card in
        such trouble that it does not tell.
    name : str
        The product's name.
    memory_bytes : int
        Total memory; 0 when it is not known.
    free_bytes : int or None
        Memory that no program held when the devices were listed.
    compute_capability : tuple of int or None
        Like (8, 6): what decides whether a build of torch has code for it.
    driver : str
        Version of the driver, like "580.95.05".
    cuda_driver : int or None
        The newest CUDA that the driver knows, as 1000 times the major and 10 times the minor version: 13000.
    compute_mode : {"default", "exclusive", "prohibited"} or None
        How many programs may compute on it: any number, one, none.
    persistence : bool or None
        Whether the driver stays loaded while nobody uses the card.
    parent : str
        Of a MIG slice, the UUID of its card.
    trouble : str
        Why it can't be used, as a sentence; empty for a device that can.
    remedy : str
        What to do about the trouble.
    """

    uuid: str
    name: str
    memory_bytes: int
    free_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None
    driver: str = ""
    cuda_driver: int | None = None
    compute_mode: ComputeMode | None = None
    persistence: bool | None = None
    parent: str = ""
    trouble: str = ""
    remedy: str = ""


def find_gpus() -> list[Gpu]:
    """The NVIDIA GPUs that this process may use; none on a machine without any.

    A `CUDA_VISIBLE_DEVICES` that is already set (by SLURM, for example) limits the choice. A card in trouble does not
    hide the others.

    Raises
    ------
    GpuDriverError
        When there are cards, or a driver, and none of them answers; with NVML's words.
    """
    gpus = list_gpus()
    usable = [gpu for gpu in gpus if not gpu.trouble]
    if gpus and not usable:
        raise trouble_of(gpus)
    return usable


def trouble_of(gpus: Sequence[Gpu]) -> GpuDriverError:
    """The failure that some GPUs in trouble are, where there is no other."""
    return _unusable(" ".join(gpu.trouble for gpu in gpus), gpus[0].remedy)


def list_gpus() -> list[Gpu]:
    """As `find_gpus`, with the cards in trouble.

    Raises
    ------
    GpuDriverError
        When the driver does not answer, or says that it is in trouble.
    """
    if visible_gpu() is None:  # nor does a driver in trouble concern whoever hides all cards
        return []
    found, visible = list_machine_gpus(), visible_devices()
    return select_visible(found, visible) if found and visible is not None else found


def list_machine_gpus() -> list[Gpu]:
    """As `list_gpus`, whatever `CUDA_VISIBLE_DEVICES` hides."""
    try:
        listed = json.loads(_ask_for_devices().splitlines()[-1])
    except NoAnswerError as error:
        raise _unusable(f"NVIDIA's driver does not answer ({error}).", _remedy(None)) from error
    code = int(listed["code"])
    if code == _LIBRARY_NOT_FOUND and _MODULE.exists() and sees_host_pids():
        # In a container that was given no card, the library is rightly missing.
        raise _unusable(
            "The kernel module of NVIDIA's driver is loaded, and its library libnvidia-ml.so.1 is not found.",
            "If the driver is just being updated, wait until that is done; then reboot. Apptainer needs --nv. Else "
            "install the driver again.",
        )
    if code == _LIBRARY_NOT_FOUND or (code == _DRIVER_NOT_LOADED and not has_nvidia_card()):
        return []
    if code:
        raise _unusable(f"NVIDIA's driver is in trouble: {listed['words']} (NVML error {code}).", _remedy(code))
    # Cards for which this job or container has no right, others' cards in Slurm for example: CUDA does not count them.
    devices = listed["devices"]
    if not devices and has_nvidia_card():
        raise _unusable(
            "NVIDIA's driver finds no card that it can use, although one is in this machine.",
            "Look for 'NVRM' in `dmesg`, which says why: the card lacks power, is too old for this driver, or its "
            "firmware failed. Then reboot. In a job, ask for a GPU.",
        )
    ours = [device for device in devices if device.get("code") != _NO_PERMISSION]
    return [_gpu(device, listed) for device in ours or devices]


def _ask_for_devices() -> str:
    try:
        return ask_child(_LISTING, limit_s=_LIMIT_S)
    except NoAnswerError as error:
        if error.printed or not error.late:
            raise
    # It did not come as far as the driver: here Python itself starts slowly, which is no driver's trouble.
    return ask_child(_LISTING, limit_s=_SLOW_START * _LIMIT_S)


def doubtful_order(gpus: Sequence[Gpu]) -> str | None:
    """The value of `CUDA_VISIBLE_DEVICES`, where sort_assets and CUDA may read its indices differently; else None.

    Parameters
    ----------
    gpus : sequence of Gpu
        All of the machine.
    """
    visible = visible_devices() or ""
    if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or not any(
        word.strip().isdigit() for word in visible.split(",")
    ):
        return None
    return visible if len({gpu.name for gpu in gpus if not gpu.parent}) > 1 else None


def visible_devices() -> str | None:
    """What `CUDA_VISIBLE_DEVICES` says; None where it is not set."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def _unusable(message: str, remedy: str) -> GpuDriverError:
    return GpuDriverError(message, remedy=f"{remedy} To sort without the GPU meanwhile, set sorter.device to cpu.")


def _remedy(code: int | None) -> str:
    if code == _MISMATCH:
        return "Reboot: the driver was updated while its old kernel module was loaded."
    if code == _DRIVER_NOT_LOADED:
        return (
            "Reboot; if `nvidia-smi` still fails, install the driver again: after an update of the kernel its module "
            "may be missing."
        )
    if code == _NO_PERMISSION:
        return "Give this user, or this container or job, the right to use /dev/nvidia*."
    if code in (_LOST, _RESET):
        return "Reboot; if it happens again, look for 'Xid' in `dmesg`, and check the card's power and seat."
    return (
        "See whether `nvidia-smi` works. In a container that has run for a while, restart the container (it may have "
        "lost the right to the device); else reboot, and look for 'NVRM' and 'Xid' in `dmesg`."
    )


def has_nvidia_card() -> bool:
    """Whether a graphics card of NVIDIA sits in this machine, whatever its driver says. Only Linux tells."""
    return _has_card_of(_NVIDIA)


def unused_gpu() -> str | None:
    """Whose GPU is in this machine that no sorter here uses: "AMD", "Apple", or None."""
    if sys.platform == "darwin":
        return "Apple"
    return "AMD" if _has_card_of(_AMD) else None


def _has_card_of(vendor: str) -> bool:
    return any(
        _read(device / "vendor") == vendor and _read(device / "class").startswith(_DISPLAY_CLASS)
        for device in _PCI.glob("*")
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _gpu(device: dict[str, Any], listed: dict[str, Any]) -> Gpu:
    name = device["name"] or f"GPU {device['index']}"
    driver = {"driver": listed["driver"] or "", "cuda_driver": listed["cuda_driver"]}
    if "code" in device:
        trouble = f"{name} can't be used: {device['words']} (NVML error {device['code']})."
        return Gpu(device["uuid"] or "", name, 0, trouble=trouble, remedy=_remedy(device["code"]), **driver)
    capability, mode = device["capability"], device["compute_mode"]
    gpu = Gpu(
        uuid=device["uuid"],
        name=name,
        memory_bytes=device["memory"] or 0,
        free_bytes=device["free"],
        compute_capability=None if capability is None else (capability[0], capability[1]),
        compute_mode=_COMPUTE_MODES[mode] if mode is not None and mode < len(_COMPUTE_MODES) else None,
        persistence=device["persistence"],
        parent=device.get("parent", ""),
        **driver,
    )
    if gpu.compute_mode == "prohibited":
        trouble, remedy = "its compute mode is 'prohibited'", "Run: sudo nvidia-smi --compute-mode=DEFAULT"
    elif device["mig"] and not gpu.parent:
        trouble = "it is in MIG mode, and nobody has cut it into slices that compute"
        remedy = "Make slices (`nvidia-smi mig -cgi … -C`), or end the mode: sudo nvidia-smi -mig 0"
    else:
        return gpu
    return replace(gpu, trouble=f"{name} can't be used: {trouble}.", remedy=f"{remedy}.")


def select_visible(gpus: Sequence[Gpu], visible: str) -> list[Gpu]:
    """The devices that a value of `CUDA_VISIBLE_DEVICES` leaves, in its order.

    As in CUDA, an entry is an index or the beginning of a UUID, and the first entry that names no device ends the
    list. Of a card that is cut into MIG slices, an index or its UUID names the first slice. The name of a slice that is
    not listed is taken as it stands.

    Indices count in the order of the PCI bus, as in `nvidia-smi`. CUDA counts so only with
    `CUDA_DEVICE_ORDER=PCI_BUS_ID`; else the card that it takes for the fastest is its first.
    """
    cards: list[list[Gpu]] = []
    for gpu in gpus:
        if gpu.parent and cards and cards[-1][0].parent == gpu.parent:
            cards[-1].append(gpu)
        else:
            cards.append([gpu])
    selected: list[Gpu] = []
    for word in (part.strip() for part in visible.split(",")):
        if word.startswith(_MIG):
            listed = [gpu for gpu in gpus if gpu.uuid == word]
            selected.extend(listed or [Gpu(uuid=word, name="MIG slice", memory_bytes=0)])
            continue
        matches = [
            card[0]
            for index, card in enumerate(cards)
            if word and (word == str(index) or (card[0].parent or card[0].uuid).startswith(word))
        ]
        if len(matches) != 1:
            break
        selected.extend(matches)
    return selected


def visible_gpu() -> str | None:
    """The device that CUDA takes in this process: the first of `CUDA_VISIBLE_DEVICES`, "0" when that is not set.

    None when it hides all devices. As in CUDA, the first entry that names no device ends the list.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    return None if first in _NO_DEVICE else first
