"""The process of a job: ``python -m sort_assets.running.worker FOLDER PARENT_PID`` runs the job of a folder.

With ``ahead:DESCRIPTOR:DESCRIPTOR`` for the folder, it prepares itself first, and is told the folder by a pipe
(`ahead`).

It is the leader of a process group of its own, and its stdin is a pipe of which its parent holds the other end. Two
things ensure that nothing of the group outlives the parent, however that ended: the kernel (on Linux) kills this
process; and a small process forked from it, the guard, kills the whole group, with whatever the sorter started. The
guard needs no interpreter lock of ours, so that a sorter that holds it changes nothing.
"""

import atexit
import contextlib
import ctypes
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from sort_assets.errors import SortAssetsError
from sort_assets.running.ahead import wait_for_job
from sort_assets.running.job import OUTPUT_FILE, Job, Outcome

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.5
_AHEAD = "ahead:"
FAILED = 1
UNUSED = 70
ORPHANED = 71


def main() -> int:
    """Run the job; returns the exit status."""
    where, parent = sys.argv[1], int(sys.argv[2])
    lifeline = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _die_with(parent)
    pipes = [int(one) for one in where.removeprefix(_AHEAD).split(":")] if where.startswith(_AHEAD) else []
    _fork_guard(lifeline, pipes)
    os.close(lifeline)
    if pipes:
        told = wait_for_job(*pipes)
        if told is None:
            return UNUSED
        folder = told
        with (folder / OUTPUT_FILE).open("ab") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
    else:
        folder = Path(where)
    job = Job.read(folder)
    sys.path[:] = [*job.import_path, *(path for path in sys.path if path not in job.import_path)]
    try:
        outcome = Outcome(result={"value": job.run()})
    except SortAssetsError as error:
        traceback.print_exc()
        outcome = Outcome(failure=error.to_dict())
    except Exception:
        traceback.print_exc()
        outcome = Outcome(traceback=traceback.format_exc())
    outcome.write(folder)
    return 0 if outcome.result is not None else FAILED


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(ORPHANED)


def _fork_guard(lifeline: int, pipes: list[int]) -> None:
    """Fork the guard, before there are threads and much memory; the pipes end with this process, and not with it."""
    worker = os.getpid()
    if os.fork() != 0:
        return
    for pipe in pipes:
        os.close(pipe)
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # The pipe becomes readable when the parent's end is closed, which the kernel does when the parent dies.
    while os.getppid() == worker and not select.select([lifeline], [], [], _POLL_S)[0]:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def _leave(status: int) -> NoReturn:
    """End this process without taking its modules apart, for which a sorter with torch needs a second of its device."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _leave(main())
