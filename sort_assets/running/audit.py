"""The audit log of the watchdogs: what they did and why, one JSON line per event."""

import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

from sort_assets.errors import Diagnostic

AUDIT_LOG = "watchdogs.jsonl"
"""Usual name of the file, beside the sorter's log."""
HANG_TRACEBACK = "hang_traceback.txt"
"""File beside the audit log: where every thread of the process was when its sorter hung. No hang, no file."""
_WRITTEN_WITHIN_S = 2.0
_logger = logging.getLogger(__name__)


class AuditLog:
    """A file of JSON lines that several threads and processes may add to.

    Nothing that goes wrong with it disturbs the sort: a disk that is full is reported through `logging`, and one that
    does not answer (which is what a watchdog may be about to report) holds nobody up for longer than two seconds.

    Parameters
    ----------
    path : Path
        Made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def write(self, watchdog: str, event: str, message: str, **numbers: Diagnostic) -> None:
        """Add one event.

        Parameters
        ----------
        watchdog : str
            Name of the watchdog.
        event : str
            What kind of event: "watching", "not watching", "tripped", …
        message : str
            What happened, as a sentence.
        **numbers : str, int, float, bool or None
            What was measured.
        """
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "watchdog": watchdog,
            "event": event,
            "message": message,
            "numbers": numbers,
        }
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        writing = threading.Thread(target=self._append, args=(line,), name="watchdogs' audit log", daemon=True)
        writing.start()
        writing.join(timeout=_WRITTEN_WITHIN_S)

    def _append(self, line: bytes) -> None:
        try:
            with self._lock:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("ab", buffering=0) as file:
                    written = file.write(line)
        except OSError as error:
            _logger.warning("The watchdogs' log %s can't be written (%s): %s", self.path, error, line.decode())
            return
        if written < len(line):
            _logger.warning("The watchdogs' log %s is cut off, the disk is full: %s", self.path, line.decode())
