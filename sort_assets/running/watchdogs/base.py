"""What all watchdogs have in common: a thread that looks now and then, and ends the sort when it must."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType
from typing import ClassVar, Self

from sort_assets.errors import Diagnostic, SortAssetsError
from sort_assets.running.audit import AuditLog
from sort_assets.running.termination import Terminator, WatchdogInterrupt, leaves_guards
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
    ending : Terminator
        How to end the sorter; watchdogs of the same sort share it.
    interval_s : float
        Seconds between looks.
    looks_in_a_row : int
        How many looks in a row must find the same before it trips.
    audit : AuditLog or None
        Where it notes what it does.

    Attributes
    ----------
    tripped : SortAssetsError or None
        Why it ended the sorter; None when it did not, or when another watchdog of the same sort did before.
    """

    name: ClassVar[str]

    def __init__(
        self, ending: Terminator, *, interval_s: float, looks_in_a_row: int = 1, audit: AuditLog | None = None
    ) -> None:
        self.tripped: SortAssetsError | None = None
        self.ending = ending
        self._interval_s = interval_s
        self._looks_in_a_row = looks_in_a_row
        self._audit = audit
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked_at = time.monotonic()
        self._noted: set[str] = set()

    @abstractmethod
    def look(self) -> SortAssetsError | None:
        """Look once, in the watchdog's thread: the reason to end the sorter, or None."""

    def prepare(self) -> str | None:
        """Get ready, before the block begins. The reason why there is nothing to watch, as a sentence, or None."""
        return None

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            reason = self.ending.unavailable_reason()
            if reason is None:
                entered.enter_context(self.ending)
                reason = self.prepare()
            if reason is not None:
                self.note("not watching", reason)
                return self
            entered.pop_all()
        self._looked_at = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name=f"watchdog {self.name}", daemon=True)
        self._thread.start()
        return self

    @leaves_guards
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._stop.set()
        self.ending.__exit__(kind, error, traceback)
        # A look at a disk that does not answer may never return; an ending that has begun must be waited for.
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

    def seconds_since_last_look(self) -> float:
        """Monotonic seconds since this was last asked, but no more than three intervals.

        In a longer gap this process itself did not run (stopped, suspended with the machine), and neither did the
        sorter, so it proves nothing.
        """
        before, self._looked_at = self._looked_at, time.monotonic()
        return min(self._looked_at - before, _LONGEST_GAP * self._interval_s)

    def _watch(self) -> None:
        found = 0
        with exclude_from_activity():
            while not self._stop.wait(self._interval_s):
                try:
                    error = self.look()
                except Exception as failure:
                    # A process that ends while it is looked at, a sensor that fails: neither is a reason to end the
                    # sort, and the next look may succeed.
                    self.note_once(f"look failed: {type(failure).__name__}", str(failure))
                    _logger.debug("A look of the watchdog %s failed", self.name, exc_info=failure)
                    continue
                found = 0 if error is None else found + 1
                if error is not None and found >= self._looks_in_a_row:
                    self._trip(error)
                    return

    def _trip(self, error: SortAssetsError) -> None:
        if not self.ending.claim(error):
            self.note("tripped too late", error.message, error=type(error).__name__, **error.diagnostics)
            return
        self.tripped = error
        self.note("tripped", error.message, error=type(error).__name__, **error.diagnostics)
        try:
            self.ending.end(error)
        except Exception as failure:
            self.note("ending failed", str(failure), error=type(failure).__name__)
            raise


def _is_consequence(error: BaseException) -> bool:
    """Whether what came out of the block may come from ending the sorter, and is not a person's cancel."""
    return isinstance(error, Exception | WatchdogInterrupt | SystemExit)
