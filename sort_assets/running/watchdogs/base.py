"""The base class of all watchdogs: a thread that checks at intervals and ends the sort if necessary."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import ClassVar, Self

from sort_assets.errors import Diagnostic, SortAssetsError
from sort_assets.running.audit import AuditLog
from sort_assets.running.in_process import WatchdogInterrupt, uninterruptible
from sort_assets.running.termination import Terminator
from sort_assets.running.watchdogs.cpu_accounting import exclude_from_activity

_STOPS_WITHIN_S = 5.0
_LONGEST_GAP = 3
_logger = logging.getLogger(__name__)


class Watchdog(ABC):
    """Watches over the block that it is the context of.

    When it trips, it notes why, ends the sorter, and the block's end raises its classified error from whatever the
    block raised, which is the consequence. A block that succeeds in spite of it keeps its result. A person's cancel
    (`KeyboardInterrupt`, or what Dagster makes of it) always passes unchanged.

    Parameters
    ----------
    terminator : Terminator
        How to end the sorter; watchdogs of the same sort share it.
    interval_s : float
        Seconds between checks.
    checks_in_a_row : int
        How many checks in a row must find a reason before it trips.
    audit : AuditLog or None
        Where it notes what it does.

    Attributes
    ----------
    tripped : SortAssetsError or None
        Why it ended the sorter; None when it did not, or when another watchdog of the same sort did before.
    """

    name: ClassVar[str]

    def __init__(
        self, terminator: Terminator, *, interval_s: float, checks_in_a_row: int = 1, audit: AuditLog | None = None
    ) -> None:
        self.tripped: SortAssetsError | None = None
        self.terminator = terminator
        self._interval_s = interval_s
        self._checks_in_a_row = checks_in_a_row
        self._audit = audit
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._checked_at = time.monotonic()
        self._noted: set[str] = set()

    @abstractmethod
    def check(self) -> SortAssetsError | None:
        """Check once, in the watchdog's thread: the reason to end the sorter, or None."""

    def prepare(self) -> str | None:
        """Get ready, before the block begins. The reason why there is nothing to watch, as a sentence, or None."""
        return None

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            reason = self.terminator.unavailable_reason()
            if reason is None:
                entered.enter_context(self.terminator)
                reason = self.prepare()
            if reason is not None:
                self.note("not watching", reason)
                return self
            entered.pop_all()
        self._checked_at = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name=f"watchdog {self.name}", daemon=True)
        self._thread.start()
        return self

    @uninterruptible
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._stop.set()
        self.terminator.__exit__(kind, error, traceback)
        # A check of a disk that does not answer may never return; a termination that has begun must be waited for.
        self._thread.join(timeout=_STOPS_WITHIN_S)
        if self.tripped is None:
            return
        self._thread.join()
        if error is None:
            self.note("finished", "The sort had finished before it could be ended; its result stands.")
        elif _is_consequence(error):
            raise self.tripped from error

    def note(self, event: str, message: str, **numbers: Diagnostic) -> None:
        """Write an event into the audit log, if there is one."""
        if self._audit is not None:
            self._audit.write(self.name, event, message, **numbers)

    def note_once(self, event: str, message: str, **numbers: Diagnostic) -> None:
        """Write the first event of its kind."""
        if event not in self._noted:
            self._noted.add(event)
            self.note(event, message, **numbers)

    def seconds_since_last_check(self) -> float:
        """Monotonic seconds since this was last asked, but no more than three intervals.

        In a longer gap this process itself did not run (stopped, suspended with the machine), and neither did the
        sorter, so it proves nothing.
        """
        before, self._checked_at = self._checked_at, time.monotonic()
        return min(self._checked_at - before, _LONGEST_GAP * self._interval_s)

    def _watch(self) -> None:
        found = 0
        with exclude_from_activity():
            while not self._stop.wait(self._interval_s):
                try:
                    error = self.check()
                except Exception as failure:
                    # A process that ends during the check or a sensor that fails is no reason to end the sort; the
                    # next check may succeed.
                    self.note_once(f"check failed: {type(failure).__name__}", str(failure))
                    _logger.debug("A check of the watchdog %s failed", self.name, exc_info=failure)
                    continue
                found = 0 if error is None else found + 1
                if error is not None and found >= self._checks_in_a_row:
                    self._trip(error)
                    return

    def _trip(self, error: SortAssetsError) -> None:
        if not self.terminator.claim(error):
            self.note("tripped too late", error.message, error=type(error).__name__, **error.diagnostics)
            return
        self.tripped = error
        self.note("tripped", error.message, error=type(error).__name__, **error.diagnostics)
        try:
            self.terminator.end(error)
        except Exception as failure:
            self.note("termination failed", str(failure), error=type(failure).__name__)
            raise


class Watchdogs:
    """Several watchdogs around one block. The first that trips says why.

    Parameters
    ----------
    watchdogs : sequence of Watchdog
        They share one terminator.
    """

    def __init__(self, watchdogs: Sequence[Watchdog]) -> None:
        self.watchdogs = tuple(watchdogs)
        self._stack = ExitStack()

    @property
    def tripped(self) -> SortAssetsError | None:
        """Why the sort was ended; None when it was not."""
        return next((watchdog.tripped for watchdog in self.watchdogs if watchdog.tripped is not None), None)

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            for watchdog in self.watchdogs:
                entered.enter_context(watchdog)
            self._stack = entered.pop_all()
        return self

    @uninterruptible
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)


def _is_consequence(error: BaseException) -> bool:
    """Whether what came out of the block may come from ending the sorter, and is not a person's cancel."""
    return isinstance(error, Exception | WatchdogInterrupt | SystemExit)
