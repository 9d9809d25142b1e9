"""One sort per compute device: a lease on a GPU, or on the CPU of a machine without one.

The `gpu` pool limits how many sorts start; a lease names the device of each sort, and holds across the instances and
users of a machine. It is a file lock, so the kernel frees the device when its holder dies.

The lease is the guard that holds. Dagster 1.13.27's claim of a pool's slot is not atomic on SQLite: two processes took
a pool of one slot in 22 of 40 simultaneous first claims. So tests ask the lease.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sort_assets.config import SortingPipelineConfig
from sort_assets.config.settings import LEASES_VARIABLE, read_environment
from sort_assets.errors import InstanceError, SortAssetsError, SorterEnvironmentError
from sort_assets.machine.gpus import Gpu, find_gpus
from sort_assets.platform.store.locks import Locked, exclusive_lock

CPU = "cpu"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_POLL_S = 1.0
_REMIND_S = 60.0


@dataclass(frozen=True)
class Lease:
    """The device that a step holds.

    Attributes
    ----------
    device : str
        "cpu", or the GPU's UUID.
    name : str
        The name to show.
    """

    device: str
    name: str


@contextmanager
def device_lease(
    log: Callable[[str], None],
    *,
    gpu: bool = True,
    gpus: list[Gpu] | None = None,
    folder: Path | None = None,
    check: Callable[[Gpu], SortAssetsError | None] | None = None,
) -> Iterator[Lease]:
    """Hold a device that no other step holds, waiting for one if necessary.

    While a GPU is held, `CUDA_VISIBLE_DEVICES` names only it, for this process and those that it starts.

    Parameters
    ----------
    log : callable
        Called once a minute with what is being waited for.
    gpu : bool
        Whether the sorter can use a GPU; otherwise the CPU is leased.
    gpus : list of Gpu or None
        The devices to choose from; None finds them.
    folder : Path or None
        Folder of the lock files; None is `SORT_ASSETS_LEASES`, else a folder in the machine's temporary directory.
    check : callable or None
        Says of a GPU, while it is held, why it can't be used, or None; one that can't is left out.

    Raises
    ------
    InstanceError
        When the folder can't be used.
    GpuDriverError
        When there are GPUs, and none of them works.
    SortAssetsError
        What the check said, where no GPU passes it.
    """
    folder = folder or lease_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error
    with contextlib.suppress(PermissionError):
        folder.chmod(0o1777)  # so that all users of the machine take turns
    found = {device.uuid: device for device in (find_gpus() if gpus is None else gpus)} if gpu else {}
    choices = [Lease(device.uuid, device.name) for device in found.values()] or [Lease(CPU, "CPU")]
    with ExitStack() as held:
        lease = _wait_for_one(choices, folder, held, log)
        while check is not None and lease.device != CPU and (reason := check(found[lease.device])) is not None:
            held.close()
            log(f"{lease.name} is left out. {reason.message}")
            choices.remove(lease)
            if not choices:
                raise reason
            lease = _wait_for_one(choices, folder, held, log)
        before = os.environ.get(_VISIBLE)
        if lease.device != CPU:
            os.environ[_VISIBLE] = lease.device
        try:
            yield lease
        finally:
            if before is None:
                os.environ.pop(_VISIBLE, None)
            else:
                os.environ[_VISIBLE] = before


def on_device(config: SortingPipelineConfig, lease: Lease) -> SortingPipelineConfig:
    """The configuration with the leased device in place of "auto".

    Raises
    ------
    SorterEnvironmentError
        When a GPU was asked for and there is none.
    """
    device = CPU if lease.device == CPU else "cuda"
    if config.sorter.device == "cuda" and device == CPU:
        raise SorterEnvironmentError(
            "sorter.device is 'cuda', but this machine has no GPU that torch can use.",
            remedy="Set sorter.device to auto or cpu, or install the driver and the CUDA build of torch: "
            "`sort-assets doctor` says which is missing.",
        )
    return config.model_copy(update={"sorter": config.sorter.model_copy(update={"device": device})})


def lease_folder() -> Path:
    """The folder of the lock files of this machine's devices."""
    return Path(read_environment().leases or Path(tempfile.gettempdir()) / "sort_assets-leases")


def _wait_for_one(choices: list[Lease], folder: Path, held: ExitStack, log: Callable[[str], None]) -> Lease:
    reminded = float("-inf")
    while True:
        for lease in choices:
            try:
                # An older driver's MIG slices have slashes in their names.
                held.enter_context(exclusive_lock(folder / f"{lease.device.replace('/', '_')}.lock"))
            except Locked:
                continue
            except OSError as error:
                raise _unusable(folder, error) from error
            return lease
        if time.monotonic() - reminded >= _REMIND_S:
            log(f"Waiting for a free device: {', '.join(lease.name for lease in choices)} in use by another sort.")
            reminded = time.monotonic()
        time.sleep(_POLL_S)


def _unusable(folder: Path, error: OSError) -> InstanceError:
    return InstanceError(
        f"The folder '{folder}', in which sorts lock their device, can't be used: {error}",
        remedy=f"Set {LEASES_VARIABLE} to a folder that every user of this machine who sorts can write to.",
    )
