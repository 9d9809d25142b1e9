"""A server that is started again when it dies, without harm to the runs in progress.

Run workers and their steps are in the process group of the daemon that launched them, and go on when it dies; so the
group is ended only at the end. A server whose code was loaded in a process that has died is of no use either: the code
server, and the webserver where a person's workspace names modules. The daemon replaces such processes by itself.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from sort_assets.platform.execution.server_output import ServerOutput

_GRACE_S = 20.0
_POLL_S = 0.5
_QUICK_S = 30.0
_MOST_QUICK = 3
_LONGEST_PAUSE_S = 30.0
_CODE_SERVER_EVERY_S = 5.0
_PR_SET_PDEATHSIG = 1
_CODE_SERVER_WORDS = {"api", "grpc"}


class SupervisedServer:
    """A server, and the processes that it has started.

    Parameters
    ----------
    name : str
        For messages.
    command : list of str
        Module and arguments, for this Python.
    needs_code_server : bool
        Whether it is started again too when the process has died in which it loads the code.
    output : ServerOutput or None
        Where it writes what it prints; None is where this process prints.
    """

    def __init__(
        self, name: str, command: list[str], *, needs_code_server: bool = False, output: ServerOutput | None = None
    ) -> None:
        self.name = name
        self._output = output
        self._needs_code_server = needs_code_server
        self._command = command
        self._groups: list[subprocess.Popen[bytes]] = []
        self._has_served = False
        self._quick_deaths = 0
        self._starts_at: float | None = None
        self._started = self._looked = 0.0
        self._had_code_server, self._looks_without = False, 0
        self._start()

    @property
    def pid(self) -> int:
        """Of the server as it was last started."""
        return self._groups[-1].pid

    @property
    def is_running(self) -> bool:
        """Whether it is there."""
        return self._groups[-1].poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it dies soon after every start and has never served: another start would not help."""
        return not self._has_served and self._quick_deaths >= _MOST_QUICK

    @property
    def last_lines(self) -> list[str]:
        """What it printed last, where it died soon after its start and its output is not shown anyway."""
        return [] if self._output is None or not self._quick_deaths else self._output.last_lines()

    def check(self) -> str | None:
        """Start it again where that is necessary; returns why, as a sentence, when that is news."""
        if self._output is not None:
            self._output.rotate()
        if self._starts_at is not None:
            if time.monotonic() >= self._starts_at:
                return self._start_again()
            return None
        problem = self._problem()
        if problem is not None:
            self._end_server()
            # What it needs may be away for a while, its database for example.
            pause_s = min(_LONGEST_PAUSE_S, 2.0 ** max(0, self._quick_deaths - 1))
            self._starts_at = time.monotonic() + (pause_s if self._quick_deaths else 0.0)
        return problem

    def end(self) -> None:
        """End it with all that it started: code servers, run workers and their steps are in its process group.

        A code server that ends lets its runs go on, with nothing to monitor them.
        """
        for group in reversed(self._groups):
            _end(group)

    def _problem(self) -> str | None:
        server = self._groups[-1]
        lived_s = time.monotonic() - self._started
        self._has_served |= lived_s >= _QUICK_S
        if server.poll() is not None:
            self._quick_deaths = self._quick_deaths + 1 if lived_s < _QUICK_S else 0
            seen = "above" if self._output is None else f"in '{self._output.file}'"
            return f"{self.name} ended by itself with status {server.returncode}; see its output {seen}."
        if not self._needs_code_server or time.monotonic() - self._looked < _CODE_SERVER_EVERY_S:
            return None
        self._looked = time.monotonic()
        has_code_server = _has_code_server(server.pid)
        # While one is replaced by another, there may be none for a moment.
        self._looks_without = 0 if has_code_server else self._looks_without + 1
        self._had_code_server |= has_code_server
        if self._had_code_server and self._looks_without > 1:
            return f"The process in which {self.name} loads the code has died."
        return None

    def _start_again(self) -> str | None:
        try:
            self._start()
        except (OSError, subprocess.SubprocessError) as error:  # no memory or no process is free at this moment
            self._starts_at = time.monotonic() + _LONGEST_PAUSE_S
            return f"{self.name} can't be started at this moment: {error}."
        return None

    def _start(self) -> None:
        with contextlib.nullcontext() if self._output is None else self._output.opened() as file:
            server = subprocess.Popen(
                [sys.executable, "-m", *self._command],
                cwd=Path.cwd(),
                stdout=file,
                stderr=file,
                start_new_session=True,  # so that Ctrl-C reaches it once, through us
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self._groups = [*filter(_has_members, self._groups), server]
        self._started = self._looked = time.monotonic()
        self._starts_at = None
        self._had_code_server, self._looks_without = False, 0

    def _end_server(self) -> None:
        """End the server alone: its runs go on."""
        server = self._groups[-1]
        for how in (signal.SIGTERM, signal.SIGKILL):
            if server.poll() is None:
                server.send_signal(how)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(_GRACE_S)


def _has_code_server(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if child.status() != psutil.STATUS_ZOMBIE and set(child.cmdline()) >= _CODE_SERVER_WORDS:
                    return True
    return False


def _has_members(group: "subprocess.Popen[bytes]") -> bool:
    """Whether anything of a process group is left; while there is, nobody else gets its number."""
    group.poll()  # until it is waited for, a process that has ended counts as a member of its group
    try:
        os.killpg(group.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _end(group: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):  # nobody is left
        for how in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(group.pid, how)
            deadline = time.monotonic() + _GRACE_S
            while time.monotonic() < deadline and _has_members(group):
                time.sleep(_POLL_S)
            if not _has_members(group):
                return


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
