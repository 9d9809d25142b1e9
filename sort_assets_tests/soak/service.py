"""Whoever looks after `sort-assets up`: starts it, and starts it again when it has ended, as a service manager does."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sort_assets_tests.fixtures.home import Home
from sort_assets_tests.fixtures.ports import free_port

_PAUSE_S = 3.0
_END_S = 60.0


class Operator:
    """Keeps `sort-assets up` going.

    Parameters
    ----------
    home : Home
    folder : Path
        For what it prints.
    python_path : Path
        Where the soak's sorter is installed.
    say : callable
        Told of each end and start.

    Attributes
    ----------
    ended : list of float
        When it ended without being asked to, in seconds since 1970.
    """

    def __init__(self, home: Home, folder: Path, python_path: Path, say: Callable[[str], None]) -> None:
        self._home, self._folder, self._python_path, self._say = home, folder, python_path, say
        self._port = free_port()
        self._up: subprocess.Popen[bytes] | None = None
        self._starts_at = 0.0
        self._starts = 0
        self.ended: list[float] = []

    def tick(self) -> None:
        """Start it, or start it again where it has ended."""
        if self._up is not None and (status := self._up.poll()) is not None:
            self.ended.append(time.time())
            self._say(f"sort-assets up has ended with status {status}; it is started again")
            self._up, self._starts_at = None, time.monotonic() + _PAUSE_S
        if self._up is None and time.monotonic() >= self._starts_at:
            self._starts += 1
            words = ("sort-assets", "up", "--port", str(self._port))
            log = self._folder / f"up-{self._starts:03}.log"
            self._up = self._home.start(*words, output=log, python_path=self._python_path)

    def end(self) -> None:
        """End it as Ctrl-C does, and kill what does not end within a minute."""
        if self._up is None:
            return
        self._up.send_signal(signal.SIGINT)
        try:
            self._up.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._say("sort-assets up did not end within a minute; it is killed")
            with suppress(ProcessLookupError):
                os.killpg(self._up.pid, signal.SIGKILL)
            self._up.wait()
        self._up = None
