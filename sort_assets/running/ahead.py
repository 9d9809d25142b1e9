"""A process that is started ahead of its job: it has imported what it will need when its device becomes free.

It has no device yet. Which one it gets, the environment says that comes with the job, before CUDA is started.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sort_assets.running.job import Job
from sort_assets.running.termination import end_process_group

_READY, _TAKEN = b"r", b"t"
_ANSWERS_WITHIN_S = 120.0
"""Packages on a slow share may take a minute to import; a process that is started anew would take as long."""
_DEVICE_FILES = "/dev/nvidia"
_OPEN_FILES = Path("/proc/self/fd")


class ProcessAhead:
    """A process that prepares itself, and waits for a job.

    Parameters
    ----------
    function : str
        "module:name" of what prepares it. What that raises, the job will meet again.
    arguments : Mapping[str, Any]
        By name; what JSON can hold.
    """

    def __init__(self, function: str, arguments: Mapping[str, Any]) -> None:
        self._ready: bool | None = None
        reading, writing = os.pipe()
        self._answers_end, answering = os.pipe()
        try:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-m", "sort_assets.running.worker", f"ahead:{reading}:{answering}", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                pass_fds=(reading, answering),
            )
        except BaseException:
            os.close(writing)
            os.close(self._answers_end)
            raise
        finally:
            os.close(reading)
            os.close(answering)
        self._jobs = os.fdopen(writing, "w", encoding="utf-8")
        path = [path for path in sys.path if path]
        self._send(Job(function=function, arguments=dict(arguments), import_path=path).model_dump(mode="json"))

    def give(self, folder: Path) -> bool:
        """Have it run the job of a folder, with the environment that this process has now, once it is prepared.

        Returns
        -------
        bool
            Whether it does; if not, it has ended, or does not get ready.
        """
        message = {"folder": str(folder), "environment": dict(os.environ)}
        does = self.is_ready() and self._send(message) and self._answers(_TAKEN)
        self._close()
        return does

    def is_ready(self) -> bool:
        """Wait until it is prepared; whether it is: it may have ended, or take too long."""
        if self._ready is None:
            self._ready = self._answers(_READY)
        return self._ready

    def end(self) -> None:
        """End it, with everything that it has started."""
        self._close()
        if end_process_group(self.process, 0.0):
            self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def _answers(self, answer: bytes) -> bool:
        waiting = select.poll()
        waiting.register(self._answers_end, select.POLLIN)
        return bool(waiting.poll(_ANSWERS_WITHIN_S * 1000)) and os.read(self._answers_end, 1) == answer

    def _close(self) -> None:
        if not self._jobs.closed:
            with suppress(BrokenPipeError):
                self._jobs.close()
            os.close(self._answers_end)

    def _send(self, message: Mapping[str, Any]) -> bool:
        try:
            self._jobs.write(json.dumps(message) + "\n")
            self._jobs.flush()
        except BrokenPipeError:
            return False
        return True


class ProcessesAhead:
    """One process after the other, each started when the job before it begins.

    Parameters
    ----------
    function, arguments
        As of `ProcessAhead`.
    number : int
        How many will be needed.
    """

    def __init__(self, function: str, arguments: Mapping[str, Any], number: int) -> None:
        self._function, self._arguments, self._left = function, arguments, number
        self._next: ProcessAhead | None = None
        self.start()

    def start(self) -> None:
        """Start the next one, if another will be needed."""
        if self._next is None and self._left > 0:
            self._left -= 1
            self._next = ProcessAhead(self._function, self._arguments)

    def wait(self) -> None:
        """Wait until the process that nobody has taken is prepared, or it is clear that it will not be."""
        if self._next is not None:
            self._next.is_ready()

    def take(self) -> ProcessAhead | None:
        """The process that was started last; whoever takes it ends it. None where there is none."""
        taken, self._next = self._next, None
        return taken

    def end(self) -> None:
        """End the process that nobody has taken."""
        self._left = 0
        if (left := self.take()) is not None:
            left.end()


@contextmanager
def started_ahead(function: str, arguments: Mapping[str, Any], number: int) -> Iterator[ProcessesAhead]:
    """Start processes ahead of their jobs; those that are not taken within the block are ended at its end."""
    ahead = ProcessesAhead(function, arguments, number)
    try:
        yield ahead
    finally:
        ahead.end()


def wait_for_job(descriptor: int, answering: int) -> Path | None:
    """What the process itself does: prepare, and wait; returns the folder of its job, None when there will be none.

    Parameters
    ----------
    descriptor : int
        Of the pipe by which it is told.
    answering : int
        Of the pipe by which it says that it is prepared, and that it has taken the job.
    """
    with os.fdopen(descriptor, encoding="utf-8") as messages:
        preparation = messages.readline()
        if not preparation:
            return None
        job = Job.model_validate_json(preparation)
        sys.path[:] = [*job.import_path, *(path for path in sys.path if path not in job.import_path)]
        with suppress(Exception):  # the job will meet it again, and say so
            job.run()
        if has_opened(_DEVICE_FILES):  # too early: this process might use the device of another sort
            return None
        os.write(answering, _READY)
        message = messages.readline()
    if not message:
        return None
    os.write(answering, _TAKEN)
    os.close(answering)
    told = json.loads(message)
    os.environ.clear()
    os.environ.update(told["environment"])
    return Path(told["folder"])


def has_opened(beginning: str) -> bool:
    """Whether this process has a file open whose path begins so: what uses an NVIDIA GPU has /dev/nvidiactl."""
    for link in _OPEN_FILES.glob("*"):
        with suppress(OSError):
            if str(link.readlink()).startswith(beginning):
                return True
    return False
