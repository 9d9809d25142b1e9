"""One sort per compute device: a lease on a GPU, or on the CPU of a machine without one.

Where several sorts may share a GPU, a lease is one on a part of it (`gpu_sharing`).

The `gpu` pool limits how many sorts start; a lease names the device of each sort, and holds across the instances and
users of a machine. It is a file lock, so the kernel frees the device when its holder dies.

The lease is the guard that holds. Dagster 1.13.27's claim of a pool's slot is not atomic on SQLite: two processes took
a pool of one slot in 22 of 40 simultaneous first claims. So tests ask the lease.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sort_assets.config import SortingPipelineConfig
from sort_assets.config.settings import LEASES_VARIABLE, SORTS_PER_GPU_VARIABLE
from sort_assets.errors import (
    DeviceOutOfMemoryError,
    GpuDriverError,
    GpuShareTooSmallError,
    InstanceError,
    SortAssetsError,
    SorterEnvironmentError,
    TransientGpuError,
)
from sort_assets.machine.cuda_reasons import may_pass
from sort_assets.machine.gpus import Gpu, list_gpus
from sort_assets.platform.execution.gpu_choice import Choice, choose, lock_file, note_outcome, tell_once
from sort_assets.platform.execution.gpu_sharing import UNSHARED, Sharing, claim_whole, part_held
from sort_assets.platform.execution.lease_folder import lease_folder
from sort_assets.platform.execution.remote_steps import has_cores_of_its_own
from sort_assets.platform.store.locks import Locked, exclusive_lock

CPU = "cpu"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_POLL_S = 0.2
"""The device idles for half of it, and a look costs microseconds."""
_REMIND_S = 60.0
_AVOID_S = 900.0
"""How long to wait for another GPU than the one on which the step has just failed."""
LEASED_GPU = "leased_gpu"
"""Diagnostic of a failure: the GPU that the step held."""


@dataclass(frozen=True)
class Lease:
    """The device that a step holds.

    Attributes
    ----------
    device : str
        "cpu", or the GPU's UUID.
    name : str
        The name to show.
    parts : int
        How many sorts may share it, of which each has as much of its memory; 1 where this one has all.
    """

    device: str
    name: str
    parts: int = 1

    @property
    def label(self) -> str:
        """The name, with the part of it: sorts that share a device take another time than those that have all of it."""
        return self.name if self.parts == 1 else f"{self.name} (one of {self.parts} parts)"


@contextmanager
def device_lease(
    log: Callable[[str], None],
    *,
    gpu: bool = True,
    gpus: list[Gpu] | None = None,
    folder: Path | None = None,
    avoid: Collection[str] = (),
    min_memory_gb: float = 0.0,
    check: Callable[[Gpu], SortAssetsError | None] | None = None,
    sharing: Sharing = UNSHARED,
) -> Iterator[Lease]:
    """Hold a device that no other step holds, or a part of it, waiting for one if necessary.

    Of several free GPUs it is the one with most free memory. While a device is held, `CUDA_VISIBLE_DEVICES` names only
    it, for this process and those that it starts; a lease on the CPU hides all GPUs, on which other sorts run. Where an
    engine has given the step cores of its own, sorts on the CPU do not take turns.

    A failure within the block names the GPU in its diagnostics, as `LEASED_GPU`. A GPU on which two sorts in a row
    failed with a `TransientGpuError` is left out for an hour, where there is another. Where a part of a GPU had too
    little memory, the failure becomes a `GpuShareTooSmallError`.

    Parameters
    ----------
    log : callable
        Called once a minute with what is being waited for, and with why GPUs were left out.
    gpu : bool
        Whether the sorter can use a GPU; otherwise the CPU is leased.
    gpus : list of Gpu or None
        The devices to choose from; None finds them, and looks for them again while it waits.
    folder : Path or None
        Folder of the lock files; None is `lease_folder()`.
    avoid : collection of str
        GPUs on which this step has just failed: they are taken after a quarter of an hour without another, or where
        there is no other.
    min_memory_gb : float
        GPUs with less memory are left out, where there is a larger one.
    check : callable or None
        Says why a GPU can't be used, asked while the GPU is held; such a GPU is left out.
    sharing : Sharing
        Whether a part of a GPU is enough; by default none is shared.

    Raises
    ------
    InstanceError
        When the folder can't be used.
    GpuDriverError
        When there are GPUs, and none of them works; when all of them went while it waited.
    SortAssetsError
        What `check` said, when it refuses every GPU.
    """
    folder = folder or lease_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error
    with contextlib.suppress(OSError):  # somebody else's, or on a file system that knows no modes
        folder.chmod(0o1777)  # so that all users of the machine take turns

    def choice() -> Choice:
        devices = (list_gpus() if gpus is None else gpus) if gpu else []
        return choose(devices, folder=folder, avoid=avoid, min_memory_gb=min_memory_gb)

    with _hold_one(choice, folder, log, check, sharing) as (lease, descriptor), _only_visible(lease):
        try:
            yield lease
        except SortAssetsError as error:
            if lease.device != CPU and descriptor is not None:
                error.diagnostics.setdefault(LEASED_GPU, lease.device)
                if isinstance(error, TransientGpuError):
                    note_outcome(descriptor, f"{lease.name} ({lease.device})", failed=True)
            if lease.parts > 1 and isinstance(error, DeviceOutOfMemoryError):
                raise _share_too_small(error, lease) from error
            raise
        if descriptor is not None:
            note_outcome(descriptor, lease.name, failed=False)


def _share_too_small(error: DeviceOutOfMemoryError, lease: Lease) -> GpuShareTooSmallError:
    too_small = GpuShareTooSmallError(
        f"{error.message} The sort had one of {lease.parts} parts of {lease.name}.",
        remedy=f"It is tried again with all of a GPU. If that happens often, lower {SORTS_PER_GPU_VARIABLE}.",
        stage=error.stage,
    )
    too_small.diagnostics = error.diagnostics
    return too_small


@contextmanager
def _only_visible(lease: Lease) -> Iterator[None]:
    before = os.environ.get(_VISIBLE)
    os.environ[_VISIBLE] = "" if lease.device == CPU else lease.device
    try:
        yield
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


@contextmanager
def _hold_one(
    choice: Callable[[], Choice],
    folder: Path,
    log: Callable[[str], None],
    check: Callable[[Gpu], SortAssetsError | None] | None,
    sharing: Sharing,
) -> Iterator[tuple[Lease, int | None]]:
    """Hold the first device that is free; yields it and the descriptor of its lock file, where it has one."""
    tell, refused = tell_once(log), dict[str, SortAssetsError]()
    began, reminded, found = time.monotonic(), float("-inf"), choice()
    on_cpu, turn = not found.gpus, contextlib.ExitStack()
    if on_cpu and has_cores_of_its_own():
        tell(found.notes)
        yield Lease(CPU, "CPU"), None
        return
    claimed = False
    with turn:
        while True:
            tell(found.notes)
            preferred = [gpu for gpu in found.preferred if gpu.uuid not in refused]
            late = time.monotonic() - began >= _AVOID_S
            gpus = preferred if preferred and not late else [gpu for gpu in found.gpus if gpu.uuid not in refused]
            if refused and not gpus:
                raise _most_hopeful(refused.values())
            for gpu in [None] if on_cpu else gpus:
                lease = Lease(CPU, "CPU") if gpu is None else Lease(gpu.uuid, gpu.name, sharing.of(gpu))
                with _locked(folder, lease) as descriptor:
                    if descriptor is None:
                        continue
                    problem = None if gpu is None or check is None else check(gpu)
                    if problem is None:
                        turn.close()
                        yield lease, descriptor
                        return
                refused[lease.device] = problem
                tell([f"{lease.name} is left out. {problem.message}"])
            busy = [gpu.name for gpu in gpus if gpu.uuid not in refused] or (["CPU"] if on_cpu else [])
            if not busy:  # all were refused
                continue
            if time.monotonic() - reminded >= _REMIND_S:
                log(f"Waiting for a free device: {', '.join(busy)} in use by another sort.")
                reminded, found = time.monotonic(), choice()
                if not found.gpus and not on_cpu:
                    raise GpuDriverError(
                        "While the sort waited for a GPU, all GPUs went: neither NVIDIA's driver nor a card is found "
                        "now.",
                        remedy="See whether `nvidia-smi` lists a card: it may have been taken out, or its driver "
                        "removed.",
                    )
            if not claimed and sharing.sorts > 1:
                claimed = claim_whole(folder, [gpu.uuid for gpu in gpus if sharing.of(gpu) == 1], until=turn)
            time.sleep(_POLL_S)


def _most_hopeful(reasons: Iterable[SortAssetsError]) -> SortAssetsError:
    """Of the reasons why no GPU can be used, the one that others' programs cause, else one that may pass by itself.

    It decides whether the sort waits: an old card that will never work must not prevent that.
    """
    found = list(reasons)
    of_others = [one for one in found if not isinstance(one, SorterEnvironmentError)]
    return next(iter([*of_others, *filter(may_pass, found), *found]))


@contextmanager
def _locked(folder: Path, lease: Lease) -> Iterator[int | None]:
    """The lock file of a device, held (or a part of the device) and open; None where somebody else holds it."""
    with contextlib.ExitStack() as held:
        try:
            if lease.parts > 1:
                lock = part_held(folder, lease.device, lease.parts)
            else:
                lock = exclusive_lock(lock_file(folder, lease.device), make_folder=True, among_temporary_files=True)
            descriptor = held.enter_context(lock)
        except Locked:
            yield None
            return
        except OSError as error:
            raise _unusable(folder, error) from error
        yield descriptor


def _unusable(folder: Path, error: OSError) -> InstanceError:
    return InstanceError(
        f"The folder '{folder}', in which sorts lock their device, can't be used: {error}",
        remedy=f"Set {LEASES_VARIABLE} to a folder that every user of this machine who sorts can write to.",
    )
