"""Locks that the kernel releases when their holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locked(Exception):  # noqa: N818 - a condition that callers handle, not an error that people see
    """Somebody else holds the lock."""


@contextmanager
def exclusive_lock(path: Path) -> Iterator[int]:
    """Hold the lock file `path`, without waiting.

    The descriptor is not inherited by programs that this process starts, so the lock ends with this process.

    Yields
    ------
    int
        The open file descriptor.

    Raises
    ------
    Locked
        When another process, or another opening in this one, holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(str(path)) from None
        yield descriptor
    finally:
        os.close(descriptor)
