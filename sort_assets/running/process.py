"""Running a function in a process of its own, which can be killed and leaves nothing behind."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sort_assets.running.ahead import ProcessAhead
from sort_assets.running.job import OUTPUT_FILE, Job, Outcome
from sort_assets.running.termination import end_process_group

_POLL_S = 1.0
_SLEEP_S = 0.25


class IsolatedProcess:
    """A job's process.

    Parameters
    ----------
    process : subprocess.Popen
        Leader of its own process group.
    folder : Path
        The job's folder.

    Attributes
    ----------
    process, folder
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def output_path(self) -> Path:
        """What the process writes to stdout and stderr."""
        return self.folder / OUTPUT_FILE

    def wait(self, on_poll: Callable[[], None] | None = None) -> Outcome | None:
        """Wait until the process has ended.

        Parameters
        ----------
        on_poll : callable or None
            Called about once a second meanwhile.

        Returns
        -------
        Outcome or None
            None when the process ended without one; its exit status is in `process.returncode`.
        """
        while not _has_ended(self.process, _POLL_S):
            if on_poll is not None:
                on_poll()
        return Outcome.read(self.folder)


@contextmanager
def isolated(
    function: str,
    arguments: Mapping[str, Any],
    folder: Path,
    *,
    grace_s: float,
    ahead: ProcessAhead | None = None,
) -> Iterator[IsolatedProcess]:
    """Run a function in a process of its own; whatever is left of the process at the end of the block is ended.

    The process is the leader of a process group, of which everything dies with this process, whatever ends it.

    Parameters
    ----------
    function : str
        "module:name".
    arguments : Mapping[str, Any]
        By name; what JSON can hold.
    folder : Path
        An existing folder for the job, its outcome and its output.
    grace_s : float
        Seconds that the process has to end by itself before it is killed.
    ahead : ProcessAhead or None
        A process that waits for the job, and ends with the block; another is started where it has ended, or is None.
    """
    job = Job(function=function, arguments=dict(arguments), import_path=[path for path in sys.path if path])
    try:
        job.write(folder)
        given = ahead is not None and ahead.give(folder)
    except BaseException:
        if ahead is not None:
            ahead.end()
        raise
    if ahead is not None and not given:
        ahead.end()
    process = ahead.process if ahead is not None and given else _started(folder)
    try:
        yield IsolatedProcess(process, folder)
    finally:
        # One that has ended may have left others of its group behind, and they need not be asked.
        if end_process_group(process, grace_s if process.poll() is None else 0.0):
            process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _started(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / OUTPUT_FILE).open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "sort_assets.running.worker", str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )


def _has_ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Wait for a process without polling all the time, which would disturb a sort that uses all cores."""
    if process.poll() is None:
        _sleep_until_the_end_of(process.pid, within_s)
    return process.poll() is not None


def _sleep_until_the_end_of(pid: int, most_s: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, an old kernel, or a container that does not allow it
        time.sleep(min(most_s, _SLEEP_S))
        return
    try:
        waiting = select.poll()  # select.select takes no descriptor above 1023
        waiting.register(descriptor, select.POLLIN)
        waiting.poll(most_s * 1000)
    finally:
        os.close(descriptor)
