"""The in-process mode: running a sorter inside this process, with everything that only this mode needs.

A sorter that hangs in its own process is killed with it (`termination`). Inside this process it can only be interrupted
in the main thread, and if that does not help, this process ends.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import BinaryIO, Self, TypeVar

from sort_assets.errors import SortAssetsError, SorterTimeoutError
from sort_assets.running.audit import HANG_TRACEBACK, AuditLog
from sort_assets.running.termination import Terminator

EXIT_HUNG = 124
"""Exit status of a process that its watchdog had to end; the `timeout` command of coreutils uses the same."""
_STDERR = 2
_GIL_MARGIN_S = 5.0  # longer than the last line of the audit log takes
_ACTIVE_LOG: ContextVar[Path | None] = ContextVar("sort_assets_active_log", default=None)
_UNINTERRUPTIBLE: set[CodeType] = set()
_Method = TypeVar("_Method", bound=Callable[..., object])


@contextmanager
def output_to_log(path: Path) -> Iterator[None]:
    """Send what Python code inside of the block prints to a log, and name it as the active one.

    Parameters
    ----------
    path : Path
        Appended to; its folder exists.
    """
    with (
        path.open("a", encoding="utf-8", buffering=1) as output,
        redirect_stdout(output),
        redirect_stderr(output),
        active_log(path),
    ):
        yield


@contextmanager
def active_log(path: Path) -> Iterator[None]:
    """Name the log that the sorter writes inside of the block; an in-process watchdog follows it.

    Parameters
    ----------
    path : Path
        It need not exist yet.
    """
    token = _ACTIVE_LOG.set(path)
    try:
        yield
    finally:
        _ACTIVE_LOG.reset(token)


def active_log_path() -> Path | None:
    """The log that `active_log` named in this context; None outside."""
    return _ACTIVE_LOG.get()


class WatchdogInterrupt(BaseException):
    """Raised in the main thread to end a sorter inside this process.

    Not an `Exception`, which SpikeInterface would catch, and not a `KeyboardInterrupt`, which means a person's cancel.
    """


def uninterruptible(method: _Method) -> _Method:
    """Mark an `__exit__` around a sort: once it runs, the sort is over, and no `WatchdogInterrupt` may be raised."""
    _UNINTERRUPTIBLE.add(method.__code__)
    return method


class InProcessTerminator(Terminator):
    """Ends a sorter that runs in the main thread of this process: by an interrupt, else with the process.

    The main thread gets SIGUSR1, which also reaches blocking calls, and raises `WatchdogInterrupt`. If the guarded
    block is not left within the grace period, the process ends with `exit_status`. A call that keeps Python's global
    lock stops the watchdogs' threads too; then `faulthandler`, which needs no lock, ends the process with status 1. It
    can't see whether such a call computes: one that keeps the lock for longer than the tolerance counts as hung.

    Off the main thread nothing can be interrupted, so nothing is watched: the process belongs to somebody else.

    Parameters
    ----------
    grace_s : float
        Seconds from the interrupt to the end of the process.
    exit_status : int
        Of the process.
    audit : AuditLog or None
        Also says where `HANG_TRACEBACK` goes: beside it, else to stderr.
    """

    def __init__(self, grace_s: float, exit_status: int = EXIT_HUNG, *, audit: AuditLog | None = None) -> None:
        super().__init__()
        self.grace_s = grace_s
        self.exit_status = exit_status
        self._audit = audit
        self._left = threading.Event()
        self._traceback: BinaryIO | None = None
        self._handler_before: Callable[[int, FrameType | None], object] | int | None = None

    def unavailable_reason(self) -> str | None:
        if threading.current_thread() is threading.main_thread():
            return None
        return "The sort does not run in the main thread, the only one that can be interrupted."

    def __enter__(self) -> Self:
        with self._lock:
            super().__enter__()
            if self._depth == 1:
                self._left.clear()
                self._traceback = self._open_traceback()
                self._handler_before = signal.signal(signal.SIGUSR1, self._interrupt)
        return self

    @uninterruptible
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            super().__exit__(kind, error, traceback)
            if self._depth:
                return
            self._left.set()
            faulthandler.cancel_dump_traceback_later()
            self._close_traceback()
        # None: the handler before was not installed from Python, and can't be put back from there.
        signal.signal(signal.SIGUSR1, signal.SIG_DFL if self._handler_before is None else self._handler_before)

    def heartbeat(self, tolerance_s: float) -> None:
        with self._lock:
            # Once one of the watchdogs ends the sorter, the checks of the others must not put it off.
            if self._depth and self._cause is None:
                self._end_after(tolerance_s + self.grace_s)

    def end(self, error: SortAssetsError) -> None:
        with self._lock:
            if not self._depth:
                return
            if isinstance(error, SorterTimeoutError):
                faulthandler.dump_traceback(file=self._traceback_file)
            self._end_after(self.grace_s + _GIL_MARGIN_S)
            signal.pthread_kill(_main_thread_id(), signal.SIGUSR1)
        if self._left.wait(self.grace_s):
            return
        if self._audit is not None:
            self._audit.write(
                "terminator",
                "process ended",
                "The sorter did not obey the interrupt, so its process was ended.",
                grace_s=self.grace_s,
                exit_status=self.exit_status,
            )
        os._exit(self.exit_status)

    @property
    def _traceback_file(self) -> BinaryIO | int:
        return _STDERR if self._traceback is None else self._traceback

    def _end_after(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._traceback_file)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code in _UNINTERRUPTIBLE:
                return
            frame = frame.f_back
        raise WatchdogInterrupt

    def _open_traceback(self) -> BinaryIO | None:
        if self._audit is None:
            return None
        path = self._audit.path.with_name(HANG_TRACEBACK)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("wb", buffering=0)
        except OSError as error:
            self._audit.write("terminator", "no traceback", f"A hang's traceback goes to stderr: {error}")
            return None

    def _close_traceback(self) -> None:
        if self._traceback is None or self._audit is None:
            return
        empty = self._traceback.tell() == 0 and os.fstat(self._traceback.fileno()).st_size == 0
        self._traceback.close()
        self._traceback = None
        if empty:
            self._audit.path.with_name(HANG_TRACEBACK).unlink(missing_ok=True)


def _main_thread_id() -> int:
    identity = threading.main_thread().ident
    assert identity is not None  # only of threads that have not started
    return identity
