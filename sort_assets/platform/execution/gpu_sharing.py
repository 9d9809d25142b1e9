"""Sorts that share a GPU: which ones may, and the locks by which they do.

A sort that shares a GPU holds the GPU's lock together with others, and that of one part of the GPU alone. One that
takes all of it holds the GPU's lock alone, so that whoever knows nothing of parts is respected. It first takes the lock
with which a part begins: otherwise sorts that overlap would never leave the GPU to it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sort_assets.config.settings import read_environment
from sort_assets.machine.gpu_share import share_bytes
from sort_assets.machine.gpus import Gpu
from sort_assets.platform.execution.gpu_choice import lock_file
from sort_assets.platform.store.locks import Locked, exclusive_lock, is_locked, shared_lock


@dataclass(frozen=True)
class Sharing:
    """With how many others a sort may share a GPU.

    Attributes
    ----------
    sorts : int
        How many sorts share a GPU at most, this one included.
    needed_bytes : int or None
        The least memory of the GPU that this sort takes; None where that is not known, and for a sort that is to have
        all of it.
    """

    sorts: int = 1
    needed_bytes: int | None = None

    def of(self, gpu: Gpu) -> int:
        """How many sorts share this GPU when this one takes a part; 1 when it takes all."""
        if self.sorts == 1 or self.needed_bytes is None or gpu.compute_mode == "exclusive":
            return 1
        return self.sorts if self.needed_bytes <= share_bytes(gpu.memory_bytes, self.sorts) else 1


UNSHARED = Sharing()


def sorts_per_gpu() -> int:
    """How many sorts share a GPU of this machine at most; an engine gives each a GPU of its own."""
    environment = read_environment()
    return environment.sorts_per_gpu if environment.engine == "local" else 1


@contextmanager
def part_held(folder: Path, device: str, parts: int) -> Iterator[int]:
    """Hold one of the parts of a GPU.

    Parameters
    ----------
    folder : Path
        Of the lock files.
    device : str
        The GPU.
    parts : int
        How many there are.

    Yields
    ------
    int
        The open lock file of the GPU.

    Raises
    ------
    Locked
        When none is free, or another sort has all of the GPU, or waits for all of it.
    OSError
        When a lock file can't be opened, made or locked.
    """
    gpu = lock_file(folder, device)
    with ExitStack() as held:
        with _exclusive(_turnstile(gpu)):
            descriptor = held.enter_context(shared_lock(gpu, make_folder=True, among_temporary_files=True))
        for number in range(1, parts + 1):
            with suppress(Locked):
                held.enter_context(_exclusive(_part(gpu, number)))
                break
        else:
            raise Locked(str(gpu))
        yield descriptor


def claim_whole(folder: Path, devices: list[str], until: ExitStack) -> bool:
    """Keep further sorts from taking a part of the first of these GPUs of which nobody else does; whether there is one.

    Parameters
    ----------
    folder : Path
        Of the lock files.
    devices : list of str
        The GPUs.
    until : ExitStack
        At whose end others may take parts again.
    """
    for device in devices:
        with suppress(Locked):
            until.enter_context(_exclusive(_turnstile(lock_file(folder, device))))
            return True
    return False


def is_leased(folder: Path, device: str) -> bool:
    """Whether a sort has a device, or a part of it.

    Raises
    ------
    OSError
        When a lock file can't be opened or locked.
    """
    gpu = lock_file(folder, device)
    return is_locked(gpu) or any(is_locked(part) for part in folder.glob(_part(gpu, "*").name))


def _turnstile(gpu: Path) -> Path:
    return gpu.with_suffix(".parts.lock")


def _part(gpu: Path, number: object) -> Path:
    return gpu.with_suffix(f".part-{number}.lock")


def _exclusive(path: Path) -> AbstractContextManager[int]:
    return exclusive_lock(path, make_folder=True, among_temporary_files=True)
