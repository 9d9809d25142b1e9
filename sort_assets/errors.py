"""Every failure that sort_assets classifies, in one hierarchy; and what the operating system's errors mean.

A class says what kind of thing went wrong; its message says what happened and where; its remedy says what a
person can do about it. The classes also derive from the matching built-in exception, so that plain Python code
can catch them without knowing this module.
"""

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Diagnostic = str | int | float | bool | None


class SortAssetsError(Exception):
    """Base of all classified failures.

    Parameters
    ----------
    message : str
        What happened, and to which file, field or recording.
    remedy : str
        What to do about it, as an instruction.
    stage : str or None
        The stage of the sorter in which it happened.
    log_excerpt : str
        The last lines of what the sorter wrote.
    **diagnostics : str, int, float, bool or None
        What else is known, in numbers where possible: `spikes_found`, `bytes_asked`, `path`, …
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str,
        stage: str | None = None,
        log_excerpt: str = "",
        **diagnostics: Diagnostic,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.stage = stage
        self.log_excerpt = log_excerpt
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return f"{self.message} Remedy: {self.remedy}"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold of the failure; `from_dict` makes it again, in another process."""
        return {
            "classes": [one.__name__ for one in type(self).__mro__ if issubclass(one, SortAssetsError)],
            "message": self.message,
            "remedy": self.remedy,
            "stage": self.stage,
            "log_excerpt": self.log_excerpt,
            "diagnostics": self.diagnostics,
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "SortAssetsError":
        """The failure that `to_dict` described, in the nearest of its classes that this process knows."""
        known = {SortAssetsError.__name__: SortAssetsError} | {
            one.__name__: one for one in _subclasses(SortAssetsError)
        }
        nearest = next(known[name] for name in values["classes"] if name in known)
        return nearest(
            values["message"],
            remedy=values["remedy"],
            stage=values["stage"],
            log_excerpt=values["log_excerpt"],
            **values["diagnostics"],
        )


def _subclasses(parent: type[SortAssetsError]) -> Iterator[type[SortAssetsError]]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)


class ConfigError(SortAssetsError, ValueError):
    """A configuration value, field or preset that can't be used."""


class RulesError(ConfigError):
    """A rules file or a sidecar with mistakes in it."""


class InstanceError(SortAssetsError, RuntimeError):
    """The Dagster instance can't hold the results safely (temporary, or not set up)."""


class EngineError(SortAssetsError, RuntimeError):
    """The engine that executes runs (Slurm, Ray, Kubernetes) refuses one, or is not set up."""


class EngineUnavailableError(EngineError):
    """The engine does not answer now; what it was asked for may be asked again."""


class DatabaseError(InstanceError, ConnectionError):
    """The PostgreSQL database of the Dagster instance can't be used: out of reach, or access is refused."""


class NodeSetupError(EngineError):
    """A node lacks what a job needs: the store, the environment, the right versions, or the database."""


class RecordingError(SortAssetsError):
    """The recording itself is the problem; trying again does not help."""


class RecordingKeyError(RecordingError, ValueError):
    """A recording key, or a path that can't become one."""


class OutsideRecordingsRootError(RecordingKeyError, PermissionError):
    """A key, path or symbolic link leads outside the recordings root."""


class MissingRecordingError(RecordingError, FileNotFoundError):
    """The recording's file or folder is not there."""


class UnknownFormatError(RecordingError, ValueError):
    """No known format recognises the file or folder."""


class UnreadableRecordingError(RecordingError, OSError):
    """The file has the right format but can't be read: truncated, empty, damaged, or a plugin is missing."""


class StreamError(RecordingError, LookupError):
    """The named stream does not exist, or none was named where there are several."""


class ClockGapError(RecordingError):
    """Samples are missing in the middle of the recording, and the configuration refuses that."""


class MissingProbeError(RecordingError, ValueError):
    """The recording has no channel locations, and the sorter needs them."""


class BadChannelsError(RecordingError, ValueError):
    """Channels named as bad do not exist, or no good channel is left."""


class IncompatibleFilesError(RecordingError, ValueError):
    """Files that should be concatenated differ in channels, rate, gain or format."""


class NonFiniteSamplesError(RecordingError, ValueError):
    """Samples are NaN or infinite, or so far out of scale that the sorter's arithmetic fails."""


class ProbeGeometryError(RecordingError, ValueError):
    """The channels' locations or groups do not fit the recording, or the sorter can do nothing with them."""


class TooFewChannelsError(RecordingError, ValueError):
    """The sorter needs more channels than the recording, or a group of it, has."""


class UnsortableRecordingError(RecordingError, ValueError):
    """There is nothing in the recording to sort. That is a result, not a failure: a sorting without units."""


class TooShortRecordingError(UnsortableRecordingError):
    """The recording is too short for the sorter to learn anything from it."""


class SilentRecordingError(UnsortableRecordingError):
    """No channel ever changes."""


class TooFewSpikesError(UnsortableRecordingError):
    """Noise alone, or too few spikes to learn templates from."""


class InjectionError(RecordingError, ValueError):
    """Known units can't be injected into the recording, or it has none to take as models."""


class SorterEnvironmentError(SortAssetsError, RuntimeError):
    """A package, plugin or driver that a sorter needs is missing or has the wrong version."""


class UnknownSorterError(SorterEnvironmentError, LookupError):
    """No backend is registered under the name."""


class SorterNotInstalledError(SorterEnvironmentError, ImportError):
    """The backend exists, but the sorter's own packages are not installed."""


class IncompatibleVersionsError(SorterEnvironmentError):
    """Versions of packages that are known not to work together."""


class MissingPluginError(SorterEnvironmentError):
    """A plugin that decompresses the recording is missing."""


class GpuDriverError(SorterEnvironmentError):
    """The GPU's driver is missing, too old for the installed torch, or in trouble."""


class OutOfResourcesError(SortAssetsError, RuntimeError):
    """The machine gave out: memory, disk, time, or the sorter's process itself."""


class OutOfMemoryError(OutOfResourcesError, MemoryError):
    """Memory gave out."""


class DeviceOutOfMemoryError(OutOfMemoryError):
    """The memory of the device that the sorter computes on: the GPU's, or what torch allocates on the CPU."""


GPU_BYTES_OF_OTHERS = "gpu_bytes_of_others"
"""Diagnostic of a failure: what other programs held of the GPU's memory."""


class GpuMemoryTakenError(DeviceOutOfMemoryError):
    """Another program holds so much of the GPU's memory that the sort, which would fit, does not."""


class GpuShareTooSmallError(DeviceOutOfMemoryError):
    """The part of a GPU's memory that a sort had, while others had the rest, was not enough."""


MEMORY_LIMIT_GB = "memory_limit_gb"
"""Diagnostic of a failure: how much memory the engine (Slurm, Kubernetes) had given to what ran out of it."""


class HostOutOfMemoryError(OutOfMemoryError):
    """The machine's memory, or the limit that a container or a cluster sets on it."""


class DiskFullError(OutOfResourcesError, OSError):
    """The disk is full, or about to be."""


class StorageError(OutOfResourcesError, OSError):
    """The operating system refuses a file: read-only, not allowed, locked, or too many are open."""


class SorterTimeoutError(OutOfResourcesError, TimeoutError):
    """The sorter showed no sign of life for longer than is tolerated."""


class StalledIoError(SorterTimeoutError):
    """A disk or a share does not answer, or answers with an error."""


class GpuOverheatedError(OutOfResourcesError):
    """The GPU is too hot to go on."""


class TransientGpuError(OutOfResourcesError):
    """An error of the GPU that often does not come again."""


class GpuBusyError(OutOfResourcesError):
    """Another program has the GPU for itself (compute mode exclusive)."""


class SorterCrashedError(OutOfResourcesError):
    """The sorter's process ended without a word: killed by a signal, or with an exit status of its own."""


class StepCrashedError(OutOfResourcesError):
    """The process of a step ended without a word, more often than is tolerated."""


class LostLockError(StepCrashedError):
    """The file server dropped a lock of this process, in whose place another may work: nothing is published."""


class JobLostError(OutOfResourcesError):
    """The job of a run ended without a word: its node was lost, it was preempted, or its process was killed."""


class RunWorkerLostError(JobLostError):
    """The worker of a run, a process of the host that launched it, was killed or died with its host."""


class TimeLimitError(OutOfResourcesError, TimeoutError):
    """The engine ended a job at its time limit."""


class RecordingBusyError(SortAssetsError, RuntimeError):
    """Another run is sorting the same recording."""


class CuratedByPersonError(SortAssetsError, PermissionError):
    """A person has curated the units of a recording that is to be sorted again."""


class CurationError(SortAssetsError, ValueError):
    """A person's curation can't be read, or is about other units."""


class ComparisonError(SortAssetsError, ValueError):
    """Two sortings can't be compared, or one that was named is not there."""


class SorterFailedError(SortAssetsError, RuntimeError):
    """The sorter stopped with an error that no rule recognises."""


class MissedSpikesError(SortAssetsError, RuntimeError):
    """The sorter found nothing to sort in a recording that has spikes, or what looks like them."""


class UnexpectedError(SortAssetsError, RuntimeError):
    """An exception that nothing here expects: most likely a mistake of ours."""


class StoreError(SortAssetsError, RuntimeError):
    """The store can't do what was asked."""


class MissingArtefactError(StoreError, FileNotFoundError):
    """An artefact, or the version of it that was named, is not in the store."""


class DamagedArtefactError(StoreError, ValueError):
    """A published artefact does not match its manifest, or holds what we refuse to load."""


@dataclass(frozen=True)
class OsFailure:
    """What an error of the operating system is.

    Attributes
    ----------
    kind : type
        Class of the failure.
    happened : str
        In a sentence.
    remedy : str
        What to do about it.
    """

    kind: type[SortAssetsError]
    happened: str
    remedy: str


DISK_FULL = OsFailure(
    DiskFullError,
    "No space is left on the disk, or in the quota.",
    "Free space on the disk of the store and of temporary files (`sort-assets gc` removes what failed sorts left), "
    "then run again.",
)
OUT_OF_MEMORY = OsFailure(
    HostOutOfMemoryError,
    "The machine's memory is used up.",
    "Lower execution.n_jobs or execution.chunk_duration_s, or end other programs.",
)
READ_ONLY = OsFailure(
    StorageError,
    "The file system can only be read.",
    "Mount it for writing, or put the store elsewhere. Linux makes a file system read-only when its disk has errors: "
    "look in `dmesg`.",
)
NOT_ALLOWED = OsFailure(
    StorageError,
    "The user under whom this runs may not use a file or folder.",
    "Give that user the right to write to the store and to the folder for temporary files, and to read the recordings.",
)
TOO_MANY_OPEN = OsFailure(
    StorageError,
    "Too many files are open.",
    "Raise the limit (`ulimit -n`; LimitNOFILE of a service) before sort-assets starts, or lower execution.n_jobs.",
)
BROKEN_DEVICE = OsFailure(
    StalledIoError,
    "A disk or share failed to read or write.",
    "Run again. If it fails again, check the disk or the connection to the share: `dmesg` tells of both.",
)
STALE_SHARE = OsFailure(
    StalledIoError,
    "A share lost a file that was open: it was mounted again, or someone replaced the file.",
    "Run again. If it fails again, mount the share anew.",
)
NO_LOCK = OsFailure(
    StorageError,
    "An HDF5 file could not be locked: its share knows no locks, or another program writes to it.",
    "Close the program that writes to the file. On a share, set the environment variable HDF5_USE_FILE_LOCKING=FALSE "
    "for sort-assets.",
)

OS_FAILURES: Mapping[int, OsFailure] = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.ENOMEM: OUT_OF_MEMORY,
    errno.EROFS: READ_ONLY,
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.EMFILE: TOO_MANY_OPEN,
    errno.ENFILE: TOO_MANY_OPEN,
    errno.EIO: BROKEN_DEVICE,
    errno.ESTALE: STALE_SHARE,
    errno.ENOLCK: NO_LOCK,
}
"""The errors of the operating system about which someone can do something, by their number."""


def os_failure(error: OSError, stage: str | None) -> SortAssetsError | None:
    """The classified failure for an error of the operating system.

    Parameters
    ----------
    error : OSError
        As Python or h5py raised it.
    stage : str or None
        Where it happened.

    Returns
    -------
    SortAssetsError or None
        With the error's number and path; None where its number says nothing of the machine.
    """
    known = NO_LOCK if "unable to lock file" in str(error).lower() else OS_FAILURES.get(error.errno or 0)
    if known is None:
        return None
    return known.kind(
        f"{known.happened.removesuffix('.')}: {error}",
        remedy=known.remedy,
        stage=stage,
        path=None if error.filename is None else str(error.filename),
        errno=errno.errorcode.get(error.errno or 0),
    )
