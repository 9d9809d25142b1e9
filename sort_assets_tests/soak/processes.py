"""The processes of a home, by what they are: found by their environment, so that nobody else's are ever hit."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from sort_assets_tests.fixtures.home import Home

MARK_VARIABLE = "SOAK_HOME"
"""Names the home's folder, also in jobs on nodes that don't have it."""
_FORKSERVER = "multiprocessing.forkserver"
_STAGING = ".staging-"
_CLUSTER = ("unshare", "slurmd", "slurmctld", "slurmstepd", "munged", "postgres", "pg_ctl")
_RUN_LOCKS = "run_locks"
_RUN_ID = re.compile(r'"(?:pipeline_)?run_id": "([0-9a-f-]{36})"')


@dataclass(frozen=True)
class Found:
    """A process of the home.

    Attributes
    ----------
    process : psutil.Process
    role : str
        "up", "webserver", "daemon", "code server", "run worker", "forkserver", "step", "sorter", or "other".
    runs : tuple of str
        The runs that it works for.
    """

    process: psutil.Process
    role: str
    runs: tuple[str, ...] = ()


def processes_of(home: Home) -> list[psutil.Process]:
    """All processes with the home's environment, this one aside."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if (
                process.pid != os.getpid()
                and not _is_of_cluster(process)
                and process.environ().get(MARK_VARIABLE) == str(home.folder)
            ):
                found.append(process)
    return found


def _is_of_cluster(process: psutil.Process) -> bool:
    """Whether it is a part of a node, of Slurm or of the database, which the fixtures start and end."""
    return process.name() in _CLUSTER or " ".join(process.cmdline()).startswith("bash -ec hostname")


def found_processes(home: Home) -> list[Found]:
    """The living processes of the home with their roles, in the order of their ids."""
    found = []
    for process in processes_of(home):
        with suppress(psutil.Error, OSError):
            found.append(_found(process))
    return sorted(found, key=lambda one: one.process.pid)


def _found(process: psutil.Process) -> Found:
    words = process.cmdline()
    line = " ".join(words)
    if any(Path(word).name == "sort-assets" for word in words) and "up" in words:
        return Found(process, "up")
    if "sort_assets.platform.execution.webserver" in line:
        return Found(process, "webserver")
    if "sort_assets.platform.execution.daemon" in line or "dagster._daemon" in line:
        return Found(process, "daemon")
    if "grpc" in words:
        return Found(process, "code server")
    if "sort_assets.running.worker" in line:
        parent = process.parent()
        is_guard = parent is not None and "sort_assets.running.worker" in " ".join(parent.cmdline())
        return Found(process, "guard" if is_guard else "sorter", tuple(_runs_of_sorter(process, words)))
    if _FORKSERVER in line:
        parent = process.parent()
        if parent is None or _FORKSERVER not in " ".join(parent.cmdline()):
            workers = (parent, *process.children())  # of a run from the command line; of those under `up`
            return Found(process, "forkserver", tuple(run for worker in workers for run in _runs_of_worker(worker)))
        if runs := _runs_of_worker(process):
            return Found(process, "run worker", runs)
        return Found(process, "step", tuple(_runs_of_step(process)))
    runs = _runs_of_worker(process)
    # A batch script has the same words in it, and is no Python.
    return Found(process, "run worker" if runs and "python" in process.name() else "other", runs)


def _runs_of_worker(process: psutil.Process | None) -> tuple[str, ...]:
    """The run whose lock a process holds open."""
    if process is None:
        return ()
    words = process.cmdline()
    if "execute_run" in words:  # on a node of a cluster
        return tuple(dict.fromkeys(_RUN_ID.findall(" ".join(words))))
    return tuple(path.stem for path in _opened(process) if path.parent.name == _RUN_LOCKS)


def _runs_of_step(process: psutil.Process) -> Iterator[str]:
    for path in _opened(process):
        if path.name.startswith(_STAGING):
            yield from _owner(process, path)


def _runs_of_sorter(process: psutil.Process, words: list[str]) -> Iterator[str]:
    staging = next(
        (parent for word in words for parent in Path(word).parents if parent.name.startswith(_STAGING)), None
    )
    if staging is not None:
        yield from _owner(process, staging.with_name(f"{staging.name}.lock"))


def _opened(process: psutil.Process) -> list[Path]:
    """The files that a process has open, by the names that it has for them: a node has mounts of its own."""
    found = []
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(OSError):
            found.append(descriptor.readlink())
    return found


def _owner(process: psutil.Process, lock: Path) -> Iterator[str]:
    """The run that has signed a lock file, whose name is the one that the process has for it."""
    with suppress(OSError, ValueError, KeyError):
        text = Path(f"/proc/{process.pid}/root{lock}").read_text(encoding="utf-8")
        yield json.loads(text)["run_id"]
