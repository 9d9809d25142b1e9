"""Which of a machine's GPUs a sort takes: none that is too small or fails; of the others the one with most free memory.

What is known of a GPU's failures lies in its lock file, so that all instances and users know it.
"""

import json
import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from sort_assets.machine.gpus import Gpu, trouble_of

FAILURES_TO_QUARANTINE = 2
QUARANTINE_S = 3600.0
_LONGEST_RECORD = 4096


@dataclass(frozen=True)
class Choice:
    """The GPUs among which a sort chooses.

    Attributes
    ----------
    preferred : tuple of Gpu
        The best first.
    avoided : tuple of Gpu
        On which the step has just failed: for when no other becomes free.
    notes : tuple of str
        Why others were left out, as sentences.
    """

    preferred: tuple[Gpu, ...]
    avoided: tuple[Gpu, ...]
    notes: tuple[str, ...]

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """All of them, the best first."""
        return (*self.preferred, *self.avoided)


@dataclass(frozen=True)
class _Record:
    """What the lock file of a GPU says of it: its name, and when the last sorts in a row failed on it."""

    name: str = ""
    failures: tuple[float, ...] = ()


def choose(gpus: Iterable[Gpu], *, folder: Path, avoid: Collection[str] = (), min_memory_gb: float = 0.0) -> Choice:
    """Choose among the GPUs of a machine.

    Parameters
    ----------
    gpus : iterable of Gpu
        With those in trouble, which are left out.
    folder : Path
        Of the lock files.
    avoid : collection of str
        UUIDs of those on which this step has just failed.
    min_memory_gb : float
        GPUs with less memory, in GB, are left out where another has as much, or might have it and is in trouble: the
        card of a display is no stand-in for one that was lost.

    Raises
    ------
    GpuDriverError
        When all that come into question are in trouble.
    """
    found = list(gpus)
    large = large_enough(found, min_memory_gb)
    troubled = [gpu for gpu in found if gpu.trouble]
    if large and all(gpu.trouble for gpu in large):
        raise trouble_of(troubled)
    notes = [gpu.trouble for gpu in troubled]
    found, large = ([gpu for gpu in some if not gpu.trouble] for some in (found, large))
    notes += [
        f"{gpu.name} is left out: it has {gpu.memory_bytes / 1e9:.1f} GB of memory, and execution.min_gpu_memory_gb is "
        f"{min_memory_gb:g}."
        for gpu in found
        if gpu not in large
    ]
    until = {gpu.uuid: quarantined_until(folder, gpu.uuid) for gpu in large}
    healthy = [gpu for gpu in large if until[gpu.uuid] is None]
    if healthy:
        notes += [_notice(f"{gpu.name} ({gpu.uuid})", end) for gpu in large if (end := until[gpu.uuid]) is not None]
    elif large:
        names = ", ".join(f"{gpu.name} ({gpu.uuid})" for gpu in large)
        notes.append(
            f"Sorts failed on every GPU of this machine within the last hour, with errors of the GPU: {names}. One is "
            "tried nevertheless. Look for 'Xid' in `dmesg`, and reboot."
        )
    usable = sorted(healthy or large, key=_most_free_memory)
    return Choice(
        tuple(gpu for gpu in usable if gpu.uuid not in avoid),
        tuple(gpu for gpu in usable if gpu.uuid in avoid),
        tuple(notes),
    )


def large_enough(gpus: Iterable[Gpu], min_memory_gb: float) -> list[Gpu]:
    """Those with enough memory, or whose memory is not known; all, where none has."""
    found = list(gpus)
    return [gpu for gpu in found if not gpu.memory_bytes or gpu.memory_bytes >= min_memory_gb * 1e9] or found


def _most_free_memory(gpu: Gpu) -> int:
    return -(gpu.memory_bytes if gpu.free_bytes is None else gpu.free_bytes)


def lock_file(folder: Path, device: str) -> Path:
    """The lock file of a device; an older driver's MIG slices have slashes in their names."""
    return folder / f"{device.replace('/', '_')}.lock"


def quarantined_until(folder: Path, device: str) -> float | None:
    """Until when, in seconds since 1970, a GPU is left out; None where it is not."""
    return _until(_read(lock_file(folder, device)))


def quarantine_notices(folder: Path) -> list[str]:
    """Of each GPU of this machine that is left out, by the lock files in a folder, why and until when: sentences."""
    records = [_read(path) for path in sorted(folder.glob("*.lock"))]
    return [_notice(record.name, until) for record in records if (until := _until(record)) is not None]


def note_outcome(descriptor: int, name: str, *, failed: bool) -> None:
    """Note in a lock file that is held how a sort on the device ended.

    Parameters
    ----------
    descriptor : int
        The open file.
    name : str
        The device's, for people.
    failed : bool
        Whether with an error of the GPU; a sort that did well ends the count.
    """
    failures = _parse(os.pread(descriptor, _LONGEST_RECORD, 0)).failures if failed else ()
    os.ftruncate(descriptor, 0)
    if failed:
        kept = [*failures, time.time()][-FAILURES_TO_QUARANTINE:]
        os.pwrite(descriptor, json.dumps({"gpu": name, "gpu_failures": kept}).encode(), 0)


def clock(seconds: float) -> str:
    """A moment of today or tomorrow, as a clock shows it."""
    return time.strftime("%H:%M", time.localtime(seconds))


def tell_once(log: Callable[[str], None]) -> Callable[[Iterable[str]], None]:
    """A function that logs each sentence that it did not log before."""
    told: set[str] = set()

    def tell(sentences: Iterable[str]) -> None:
        for sentence in sentences:
            if sentence not in told:
                told.add(sentence)
                log(sentence)

    return tell


def _notice(name: str, until: float) -> str:
    return (
        f"{name} is left out until {clock(until)}, where there is another GPU: {FAILURES_TO_QUARANTINE} sorts in a row "
        "failed on it with errors of the GPU."
    )


def _until(record: _Record) -> float | None:
    now, failures = time.time(), record.failures
    if len(failures) < FAILURES_TO_QUARANTINE or not now - QUARANTINE_S < failures[-1] <= now:
        return None
    return failures[-1] + QUARANTINE_S


def _read(lock: Path) -> _Record:
    try:
        with lock.open("rb") as file:
            return _parse(file.read(_LONGEST_RECORD))
    except OSError:
        return _Record()


def _parse(record: bytes) -> _Record:
    """What a lock file says; nothing where it is damaged, or somebody else wrote something else."""
    try:
        content = json.loads(record or b"{}")
        failures = tuple(float(one) for one in content["gpu_failures"])
        return _Record(str(content["gpu"]), failures[-FAILURES_TO_QUARANTINE:])
    except (ValueError, KeyError, TypeError):
        return _Record()
