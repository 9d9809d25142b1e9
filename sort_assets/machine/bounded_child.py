"""Questions to a driver, asked by a process that may hang: it is given up after a while, and never waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_KILLED_WITHIN_S = 1.0
_stuck: dict[tuple[object, ...], subprocess.Popen[str]] = {}
"""By question, the process that asked it last and could not be killed: another would be stuck beside it."""
_TIME_IS_OVER = "Timeout ("
"""What `faulthandler.dump_traceback_later` writes, by which a process bounds a part of its work."""


class NoAnswerError(Exception):
    """The process did not answer in time, or ended without an answer; the message says which.

    Parameters
    ----------
    message : str
    printed : str
        What it had printed until then.
    late : bool
        Whether its time was over.
    """

    def __init__(self, message: str, *, printed: str = "", late: bool = False) -> None:
        super().__init__(message)
        self.printed = printed
        self.late = late


def ask_child(program: Path, *arguments: str, limit_s: float, environment: Mapping[str, str] | None = None) -> str:
    """What a Python program prints, in a process of its own.

    A call into a driver that hangs can be interrupted in no thread, and one that sleeps in the kernel not even by
    killing its process. So the process is killed when its time is over, and left to itself: it has nothing of ours. As
    long as it is there, the same question is not asked again, so that a night of sorts does not leave hundreds of them.

    Parameters
    ----------
    program : Path
        A file that imports nothing of sort_assets, which not every process finds as this one does.
    *arguments : str
        For it.
    limit_s : float
        Seconds that it has.
    environment : mapping of str to str or None
        Variables that it has beside those of this process.

    Raises
    ------
    NoAnswerError
        When there is no answer.
    """
    question = (program, arguments, tuple(sorted((environment or {}).items())))
    if question in _stuck and _stuck[question].poll() is None:
        raise NoAnswerError("the process that asked the last time still hangs in the kernel", late=True)
    process = subprocess.Popen(
        [sys.executable, "-P", str(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        answer, complaint = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as late:
        # Of what it printed, Python hands on the bytes here.
        printed = late.output.decode(errors="replace") if isinstance(late.output, bytes) else late.output or ""
        raise NoAnswerError(f"nothing within {limit_s:g} s", printed=printed, late=True) from None
    finally:
        if process.poll() is None:
            process.kill()
            try:
                process.wait(_KILLED_WITHIN_S)
            except subprocess.TimeoutExpired:
                _stuck[question] = process
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
    if process.returncode != 0:
        last = complaint.strip().splitlines()[-1:] or ["no word"]
        message = f"the process that asked ended with {process.returncode}: {last[0]}"
        raise NoAnswerError(message, printed=answer, late=_TIME_IS_OVER in complaint)
    return answer
