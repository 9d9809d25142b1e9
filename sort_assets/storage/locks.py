"""Locks that the kernel releases when their holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE = 0o666
_MODE_SET_WITHIN_S = 0.5


class Locked(Exception):  # noqa: N818 - a condition that callers handle, not an error that people see
    """Somebody else holds the lock."""


@contextmanager
def exclusive_lock(path: Path, *, wait: bool = False) -> Iterator[int]:
    """Hold the lock file `path`, which every user of the machine may lock.

    The descriptor is not inherited by programs that this process starts, so the lock ends with this process.

    Parameters
    ----------
    path : Path
        Made if it is not there. Only the holder may remove it.
    wait : bool
        Whether to wait for the lock.

    Yields
    ------
    int
        The open file descriptor.

    Raises
    ------
    Locked
        When another process, or another opening in this one, holds it and `wait` is off.
    OSError
        When the file can't be opened, made or locked.
    """
    descriptor = _lock(path, wait=wait)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(path: Path, *, wait: bool) -> int:
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = _is_at(descriptor, path)
        except BlockingIOError:
            os.close(descriptor)
            raise Locked(str(path)) from None
        except BaseException:
            os.close(descriptor)
            raise
        if held:
            return descriptor
        # A holder removed the file between our opening and locking it: nobody else would see this lock.
        os.close(descriptor)


def _open(path: Path) -> int:
    deadline = time.monotonic() + _MODE_SET_WITHIN_S
    while True:
        # Without O_CREAT first: with it, the kernel refuses other users' files in a sticky folder
        # (fs.protected_regular).
        try:
            return os.open(path, _FLAGS)
        except FileNotFoundError:
            pass
        except PermissionError:
            # Another user may have made the file this instant, and not yet opened it to everybody.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        try:
            descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
        except FileExistsError:
            continue
        os.fchmod(descriptor, _MODE)  # the umask took rights away
        return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
