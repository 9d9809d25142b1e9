"""Locks that the kernel releases when their holder dies, however it dies.

Whoever holds a lock signs its file with a line of JSON, for people and for those who clean up after its death.
"""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE = 0o666
_STICKY = 0o1000
"""systemd-tmpfiles leaves files with this bit alone, whatever their age."""
_MODE_SET_WITHIN_S = 0.5


class Locked(Exception):  # noqa: N818 - a condition that callers handle, not an error that people see
    """Somebody else holds the lock."""


@contextmanager
def exclusive_lock(
    path: Path, *, wait: bool = False, make_folder: bool = False, among_temporary_files: bool = False
) -> Iterator[int]:
    """Hold the lock file `path`, which every user of the machine may lock.

    The descriptor is not inherited by programs that this process starts, so the lock ends with this process.

    Parameters
    ----------
    path : Path
        Made if it is not there. Only the holder may remove it.
    wait : bool
        Whether to wait for the lock.
    make_folder : bool
        Whether to make the file's folder, also when somebody else removes it this instant because it was empty.
    among_temporary_files : bool
        Whether the file lies where programs remove what is old, also while it is locked: whoever made a new one would
        hold a lock of his own. It then is marked as one to keep, and as young.

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
    descriptor = _lock(path, wait=wait, make_folder=make_folder)
    try:
        if among_temporary_files:
            with suppress(PermissionError):  # another user made it, and did so
                os.fchmod(descriptor, _MODE | _STICKY)
            os.utime(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock file; it is not made where it is missing.

    For a moment this keeps others from taking the lock, so that who takes it should not give up at once.

    Raises
    ------
    OSError
        When the file can't be opened or locked.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(path: Path, *, wait: bool, make_folder: bool) -> int:
    while True:
        descriptor = _open(path, make_folder=make_folder)
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


def _open(path: Path, *, make_folder: bool) -> int:
    deadline = time.monotonic() + _MODE_SET_WITHIN_S
    while True:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
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
        except FileNotFoundError:
            if make_folder:
                continue
            raise
        os.fchmod(descriptor, _MODE)  # the umask took rights away
        return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


class Owner(BaseModel):
    """The holder of a lock.

    Attributes
    ----------
    host : str
    pid : int
        Its process on that host.
    run_id : str
        Its Dagster run.
    attempt : int
        Which attempt of its step it is; the first is 1.
    """

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    run_id: str
    attempt: int = 1

    @classmethod
    def this_process(cls, run_id: str, attempt: int = 1) -> "Owner":
        """This process, working for a run."""
        return cls(host=socket.gethostname(), pid=os.getpid(), run_id=run_id, attempt=attempt)

    def sign(self, descriptor: int) -> None:
        """Write the owner into a lock file that is held, in place of an earlier one."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, self.model_dump_json().encode(), 0)


def read_owner(lock: Path) -> Owner | None:
    """The last holder of a lock; None when it died before it could sign, or the file is gone."""
    try:
        return Owner.model_validate_json(lock.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
