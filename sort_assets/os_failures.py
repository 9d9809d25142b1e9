"""What the operating system's errors mean, by their number."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass

from sort_assets.errors import DiskFullError, HostOutOfMemoryError, SortAssetsError, StalledIoError, StorageError


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

BY_NUMBER: Mapping[int, OsFailure] = {
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
"""Of what an `OSError` can be, what someone can do something about."""


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
    known = NO_LOCK if "unable to lock file" in str(error).lower() else BY_NUMBER.get(error.errno or 0)
    if known is None:
        return None
    return known.kind(
        f"{known.happened.removesuffix('.')}: {error}",
        remedy=known.remedy,
        stage=stage,
        path=None if error.filename is None else str(error.filename),
        errno=errno.errorcode.get(error.errno or 0),
    )
