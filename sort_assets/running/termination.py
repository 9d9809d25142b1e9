"""Ending a sorter: the interface that watchdogs use, and the way to end a process with everything that it started."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import psutil

from sort_assets.errors import SortAssetsError

_POLL_S = 0.05
_KILLED_WITHIN_S = 10.0
_DEAD = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
_logger = logging.getLogger(__name__)


class Terminator(ABC):
    """How the watchdogs of one sort end it. Several of them share one; the first that wants to end the sort does."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._cause: SortAssetsError | None = None

    def __enter__(self) -> Self:
        with self._lock:
            self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._depth -= 1

    def unavailable_reason(self) -> str | None:
        """Why this can't end the sorter here, so that there is no use in watching; None when it can."""
        return None

    def claim(self, error: SortAssetsError) -> bool:
        """Whether `error` is the first reason to end the sorter, and there still is one to end."""
        with self._lock:
            if self._cause is not None or not self._depth:
                return False
            self._cause = error
            return True

    def heartbeat(self, tolerance_s: float) -> None:  # noqa: B027
        """Called at every check: the next check is due within `tolerance_s` seconds."""

    @abstractmethod
    def end(self, error: SortAssetsError) -> None:
        """End the sorter; return when that is done, or when the guarded block is left."""


class ProcessGroupTerminator(Terminator):
    """Ends a sorter that is a process of its own, with everything that it started.

    Parameters
    ----------
    process : subprocess.Popen
        The leader of its own process group.
    grace_s : float
        Seconds from SIGTERM to SIGKILL.
    """

    def __init__(self, process: subprocess.Popen[bytes] | subprocess.Popen[str], grace_s: float) -> None:
        super().__init__()
        self.process = process
        self.grace_s = grace_s

    def end(self, error: SortAssetsError) -> None:
        if not end_process_group(self.process, self.grace_s):
            _logger.warning("Not everything of the sorter's process group %d could be ended.", self.process.pid)


def end_process_group(process: subprocess.Popen[bytes] | subprocess.Popen[str], grace_s: float) -> bool:
    """End a process and its group: ask first, and kill whatever is left after the grace period.

    Stopped processes are woken to hear the request. Descendants that left the group (a session of their own, for
    example) are ended as well, as far as they can still be recognised as descendants.

    Parameters
    ----------
    process : subprocess.Popen
        The leader of its own process group (`start_new_session=True` or `process_group=0`). It may have ended already;
        others of its group may live on, and they are ended. It is not waited for: that stays its owner's business.
    grace_s : float
        Seconds that all of them have to end by themselves after SIGTERM.

    Returns
    -------
    bool
        Whether all are gone. A process that waits for a device in a way that nothing interrupts stays until it wakes.

    Raises
    ------
    ValueError
        When the process is not the leader of its own group: the signal would hit the group's leader.
    """
    group = process.pid
    if process.returncode is None and _group_of(group) not in (group, None):
        raise ValueError(f"Process {group} does not lead a process group of its own.")
    strays = _outside(group)
    _signal(group, strays, signal.SIGTERM)
    _signal(group, strays, signal.SIGCONT)
    if _gone_within(grace_s, group, strays):
        return True
    strays |= _outside(group)
    _signal(group, strays, signal.SIGKILL)
    return _gone_within(_KILLED_WITHIN_S, group, strays)


def _signal(group: int, strays: set[psutil.Process], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
    for stray in strays:
        with contextlib.suppress(psutil.NoSuchProcess):
            stray.send_signal(number)  # psutil makes sure that the number has not passed to another process


def _gone_within(seconds: float, group: int, strays: set[psutil.Process]) -> bool:
    deadline = time.monotonic() + seconds
    while _members(group) or any(_lives(stray) for stray in strays):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _members(group: int) -> list[psutil.Process]:
    members = []
    for pid in psutil.pids():
        # Zombies keep their group until somebody waits for them, which in a container may be never.
        if _group_of(pid) == group:
            with contextlib.suppress(psutil.NoSuchProcess):
                member = psutil.Process(pid)
                if _lives(member):
                    members.append(member)
    return members


def _outside(group: int) -> set[psutil.Process]:
    """Descendants of the group's members that are in other groups."""
    found: set[psutil.Process] = set()
    for member in _members(group):
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {child for child in member.children(recursive=True) if _group_of(child.pid) != group}
    return found


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in _DEAD
    except psutil.NoSuchProcess:
        return False
