"""Locks that the kernel releases when their holder dies, however it dies.

Whoever holds a lock signs its file with a line of JSON, for people and for those who clean up after its death.

On NFS, of version 4, the locks of `flock` are kept by the server, for all hosts. Three things are different there. A
file that another host has removed is a stale handle (ESTALE) for who still has it open. The server keeps the locks of a
host that died until its lease ends, 90 s as a rule. And it drops those of a host that it has not heard of for that
long, which may only have been cut off: such a holder must ask, before it does what can't be undone, whether it still is
one (`HeldLock.is_held`).
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sort_assets.machine.host import HostIdentity, process_start

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE = 0o666
_STICKY = 0o1000
"""systemd-tmpfiles leaves files with this bit alone, whatever their age."""
_MODE_SET_WITHIN_S = 0.5
DEAD_HOSTS_LOCK_S = 120.0
"""Longer than a server keeps the locks of a host that died: the lease of Linux' NFS server is 90 s."""
_POLL_S = 0.05
_SLOW_POLL_S = 1.0
_TELL_AFTER_S = 2.0
_STALE_FOR_S = 10.0
"""For so long a stale handle is taken for a file that has just been replaced; then, for a share that is gone."""


class Locked(Exception):  # noqa: N818 - a condition that callers handle, not an error that people see
    """Somebody else holds the lock."""


@contextmanager
def exclusive_lock(
    path: Path,
    *,
    wait: bool = False,
    patience_s: float = 0.0,
    waiting: Callable[[str], None] | None = None,
    make_folder: bool = False,
    among_temporary_files: bool = False,
) -> Iterator[int]:
    """Hold the lock file `path`, which every user of the machine may lock.

    The descriptor is not inherited by programs that this process starts, so the lock ends with this process.

    Parameters
    ----------
    path : Path
        Made if it is not there. Only the holder may remove it.
    wait : bool
        Whether to wait for the lock, for however long.
    patience_s : float
        Otherwise, how long to wait for it. `DEAD_HOSTS_LOCK_S` is enough for a holder whose host has died.
    waiting : callable or None
        Told, once, what is waited for, when that takes more than a moment.
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
        When another process, or another opening in this one, holds it and `wait` is off, or for longer than the
        patience.
    OSError
        When the file can't be opened, made or locked.
    """
    descriptor = _lock_in_time(path, patience_s, waiting, wait=wait, make_folder=make_folder)
    with _held(descriptor, among_temporary_files=among_temporary_files):
        yield descriptor


@contextmanager
def shared_lock(path: Path, *, make_folder: bool = False, among_temporary_files: bool = False) -> Iterator[int]:
    """Hold the lock file `path` together with others who hold it so, while nobody holds it exclusively.

    Parameters, yields and errors as of `exclusive_lock`, which does not wait here.
    """
    descriptor = _lock(path, fcntl.LOCK_SH | fcntl.LOCK_NB, make_folder=make_folder)
    with _held(descriptor, among_temporary_files=among_temporary_files):
        yield descriptor


@contextmanager
def _held(descriptor: int, *, among_temporary_files: bool) -> Iterator[None]:
    try:
        if among_temporary_files:
            with suppress(PermissionError):  # another user made it, and did so
                os.fchmod(descriptor, _MODE | _STICKY)
            os.utime(descriptor)
        yield
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
    deadline = time.monotonic() + _STALE_FOR_S
    while True:
        try:
            descriptor = os.open(path, _READ)
        except FileNotFoundError:
            return False
        except OSError as error:
            _wait_if_stale(error, deadline)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            _wait_if_stale(error, deadline)
            continue
        finally:
            os.close(descriptor)
        return False


def _lock_in_time(
    path: Path, patience_s: float, waiting: Callable[[str], None] | None, *, wait: bool, make_folder: bool
) -> int:
    begun = time.monotonic()
    told = False
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        try:
            return _lock(path, how, make_folder=make_folder)
        except Locked:
            waited_s = time.monotonic() - begun
            if waited_s >= patience_s:
                raise
        if waiting is not None and not told and waited_s > _TELL_AFTER_S:
            told = True
            waiting(
                f"Waiting up to {patience_s:.0f} s for {words_for_holder(path)}. Should its host have died, the file "
                "server releases the lock within about 90 s."
            )
        time.sleep(_POLL_S if waited_s < _TELL_AFTER_S else _SLOW_POLL_S)


def _lock(path: Path, how: int, *, make_folder: bool) -> int:
    deadline = time.monotonic() + _STALE_FOR_S
    while True:
        descriptor = _open(path, make_folder=make_folder)
        try:
            fcntl.flock(descriptor, how)
            held = _is_at(descriptor, path)
        except BlockingIOError:
            os.close(descriptor)
            raise Locked(str(path)) from None
        except OSError as error:
            os.close(descriptor)
            _wait_if_stale(error, deadline)
            continue
        except BaseException:
            os.close(descriptor)
            raise
        if held:
            return descriptor
        # A holder removed the file between our opening and locking it: nobody else would see this lock.
        os.close(descriptor)


def _open(path: Path, *, make_folder: bool) -> int:
    deadline = time.monotonic() + _MODE_SET_WITHIN_S
    stale_deadline = time.monotonic() + _STALE_FOR_S
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
        except OSError as error:
            _wait_if_stale(error, stale_deadline)
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
    """Whether an open file is the one that others find under this path."""
    # Opened anew, since what a network file system says of a path without that may be a minute old.
    try:
        found = os.open(path, _READ)
    except FileNotFoundError:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), os.fstat(found))
    finally:
        os.close(found)


def _wait_if_stale(error: OSError, deadline: float) -> None:
    """Another host has removed the file: look again in a moment; raise every other error."""
    if error.errno != errno.ESTALE or time.monotonic() > deadline:
        raise error
    time.sleep(_POLL_S)


class Owner(BaseModel):
    """The holder of a lock.

    Attributes
    ----------
    host : str
        The name, for people.
    pid : int
        Its process on that host.
    run_id : str
        Its Dagster run.
    attempt : int
        Which attempt of its step it is; the first is 1.
    machine : HostIdentity or None
        Which host that is; None in what earlier versions wrote.
    started : int or None
        When the process began, as `process_start` counts.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    host: str
    pid: int
    run_id: str
    attempt: int = 1
    machine: HostIdentity | None = None
    started: int | None = None

    @classmethod
    def this_process(cls, run_id: str, attempt: int = 1) -> "Owner":
        """This process, working for a run."""
        machine = HostIdentity.here()
        return cls(
            host=machine.name,
            pid=os.getpid(),
            run_id=run_id,
            attempt=attempt,
            machine=machine,
            started=process_start(os.getpid()),
        )

    @property
    def lives_here(self) -> bool | None:
        """Whether its process lives; None where this host can't see that."""
        here = HostIdentity.here()
        if self.machine is None:
            return None
        if here.sees_processes_of(self.machine):
            began = process_start(self.pid)
            return began is not None and began == self.started
        return False if here.was_rebooted_since(self.machine) else None

    def sign(self, descriptor: int) -> "HeldLock":
        """Write the owner into a lock file that is held, in place of an earlier one."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, self._signature, 0)
        return HeldLock(descriptor, self)

    @property
    def _signature(self) -> bytes:
        return self.model_dump_json().encode()


@dataclass(frozen=True)
class HeldLock:
    """A lock that this process has taken and signed.

    Attributes
    ----------
    descriptor : int
        The open lock file.
    owner : Owner
        Who signed it.
    """

    descriptor: int
    owner: Owner

    def is_held(self, path: Path) -> bool:
        """Whether it still is this process that holds the lock file `path`.

        False when the file server has dropped the lock and others removed the file, hold it, or have held it; or when
        that can't be asked.
        """
        signature = self.owner._signature
        try:
            # First: NFS asks the server, takes the lock again if nobody has it, and forgets what it knew of the file.
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.pread(self.descriptor, len(signature) + 1, 0) == signature and _is_at(self.descriptor, path)
        except OSError:  # held by another; a stale handle; EIO, for a lock that was lost
            return False


def read_owner(lock: Path) -> Owner | None:
    """The last holder of a lock; None when it died before it could sign, or the file is gone."""
    deadline = time.monotonic() + _STALE_FOR_S
    while True:
        try:
            return Owner.model_validate_json(lock.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            _wait_if_stale(error, deadline)


def words_for_holder(lock: Path) -> str:
    """Who holds a lock, for messages."""
    owner = read_owner(lock)
    who = "" if owner is None else f", of run {owner.run_id} (process {owner.pid} on {owner.host})"
    return f"the lock '{lock}'{who}"
