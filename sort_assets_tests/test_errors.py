"""What the operating system refuses, as Python really meets it where that can be done here."""

import errno
import os
from pathlib import Path

import pytest

from sort_assets.errors import (
    DiskFullError,
    HostOutOfMemoryError,
    SortAssetsError,
    StalledIoError,
    StorageError,
    os_failure,
)

KINDS = {
    errno.ENOSPC: DiskFullError,
    errno.EDQUOT: DiskFullError,
    errno.ENOMEM: HostOutOfMemoryError,
    errno.EROFS: StorageError,
    errno.EACCES: StorageError,
    errno.EPERM: StorageError,
    errno.EMFILE: StorageError,
    errno.ENFILE: StorageError,
    errno.ENOLCK: StorageError,
    errno.EIO: StalledIoError,
    errno.ESTALE: StalledIoError,
}


@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.get)
def test_a_number_becomes_its_class(number: int) -> None:
    error = OSError(number, os.strerror(number), "/store/recording.dat")

    failure = os_failure(error, "writing")

    assert type(failure) is KINDS[number]
    assert failure.stage == "writing"
    assert failure.remedy
    assert os.strerror(number) in failure.message
    assert failure.diagnostics == {"path": "/store/recording.dat", "errno": errno.errorcode[number]}


def test_a_full_disk_is_told_from_a_broken_one() -> None:
    with pytest.raises(OSError, match="No space") as full, Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"\0")
    with pytest.raises(OSError, match="Input/output") as broken:
        Path("/proc/self/mem").read_bytes()

    failures = [os_failure(raised.value, None) for raised in (full, broken)]

    assert [type(failure) for failure in failures] == [DiskFullError, StalledIoError]


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "no such file"), OSError("without a number")])
def test_what_says_nothing_of_the_machine_is_no_failure_of_it(error: OSError) -> None:
    assert os_failure(error, "writing") is None


def test_the_failure_survives_the_way_to_another_process() -> None:
    failure = os_failure(OSError(errno.EROFS, os.strerror(errno.EROFS), "/store"), "writing")
    assert failure is not None

    restored = SortAssetsError.from_dict(failure.to_dict())

    assert type(restored) is StorageError
    assert restored.diagnostics == failure.diagnostics
