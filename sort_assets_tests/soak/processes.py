"""The processes of a home, by what they are: found by their environment, so that nobody else's are ever hit."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from sort_assets.config.settings import DAGSTER_HOME_VARIABLE
from sort_assets_tests.fixtures.home import Home

_FORKSERVER = "multiprocessing.forkserver"
_STAGING = ".staging-"
_RUN_LOCKS = "run_locks"


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
    folder = home.variables[DAGSTER_HOME_VARIABLE]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(DAGSTER_HOME_VARIABLE) == folder:
                found.append(process)
    return found


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
    if "dagster._daemon" in line:
        return Found(process, "daemon")
    if "grpc" in words:
        return Found(process, "code server")
    if "sort_assets.running.worker" in line:
        parent = process.parent()
        is_guard = parent is not None and "sort_assets.running.worker" in " ".join(parent.cmdline())
        return Found(process, "guard" if is_guard else "sorter", tuple(_runs_of_sorter(words)))
    if _FORKSERVER in line:
        parent = process.parent()
        if parent is None or _FORKSERVER not in " ".join(parent.cmdline()):
            return Found(process, "forkserver", _runs_of_worker(parent))
        return Found(process, "step", tuple(_runs_of_step(process)))
    runs = _runs_of_worker(process)
    return Found(process, "run worker" if runs else "other", runs)


def _runs_of_worker(process: psutil.Process | None) -> tuple[str, ...]:
    """The run whose lock a process holds open."""
    if process is None:
        return ()
    opened = [Path(file.path) for file in process.open_files()]
    return tuple(path.stem for path in opened if path.parent.name == _RUN_LOCKS)


def _runs_of_step(process: psutil.Process) -> Iterator[str]:
    for file in process.open_files():
        path = Path(file.path)
        if path.name.startswith(_STAGING):
            with suppress(OSError, ValueError, KeyError):
                yield json.loads(path.read_text(encoding="utf-8"))["run_id"]


def _runs_of_sorter(words: list[str]) -> Iterator[str]:
    staging = next(
        (parent for word in words for parent in Path(word).parents if parent.name.startswith(_STAGING)), None
    )
    if staging is not None:
        with suppress(OSError, ValueError, KeyError):
            yield json.loads(staging.with_name(f"{staging.name}.lock").read_text(encoding="utf-8"))["run_id"]
