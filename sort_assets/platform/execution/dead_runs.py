"""Runs whose worker was killed: they are detected, reported as failed, and give back their pool slots.

Dagster's default run launcher can't ask whether a run worker is alive: a run whose worker was killed stays started for
ever, and keeps its slot of the GPU pool. So each worker holds a lock on a file, which the kernel releases at its death.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg

# Without public names, though every run launcher is made of them (dagster-docker, dagster-k8s).
from dagster._core.events import JobFailureData, RunFailureReason
from dagster_shared.error import SerializableErrorInfo

from sort_assets.errors import InstanceError, RunWorkerLostError
from sort_assets.machine.file_system import is_local
from sort_assets.machine.host import HostIdentity
from sort_assets.platform.store.locks import Locked, exclusive_lock

_FOLDER = "run_locks"
_SUFFIX = ".lock"
_CODE_SERVER_TAG = ".dagster/grpc_info"
"""With the address of the code server that launched a run."""
_CODE_SERVER_S = 30.0
_LISTENS_S = 1.0
_first_seen_dead: dict[str, float] = {}
"""When this process first saw that the worker of a run was dead, by the run's id."""
_AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@contextmanager
def run_worker_lock(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold the lock that shows that this process is the worker of a run and is alive.

    While it is held, the lock's file says which host this is. At the end the file is emptied and removed, so that a
    process which has opened it meanwhile does not mistake an ended worker for a dead one.

    Raises
    ------
    InstanceError
        When another process is the worker of this run.
    """
    path = _lock_folder(instance) / f"{run_id}{_SUFFIX}"
    path.parent.mkdir(exist_ok=True)
    with ExitStack() as held:
        try:
            descriptor = held.enter_context(exclusive_lock(path))
        except Locked:
            raise InstanceError(
                f"Another process is executing run {run_id} (it holds '{path}').",
                remedy="Let it finish, or terminate it; then launch a new run.",
            ) from None
        os.write(descriptor, HostIdentity.here().model_dump_json().encode())
        try:
            yield
        finally:
            _remove(path, descriptor)


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report every unfinished run whose worker on this host has died as failed, and free its pool slots.

    Runs of other hosts and of other executors are skipped. Several processes may call this at once.

    Returns
    -------
    list of str
        The ids of the runs that were reported.
    """
    return [path.stem for path in sorted(_lock_folder(instance).glob(f"*{_SUFFIX}")) if _fail_if_dead(instance, path)]


def _fail_if_dead(instance: dg.DagsterInstance, path: Path) -> bool:
    if not _is_of_this_host(path):
        return False
    try:
        with exclusive_lock(path) as descriptor:
            # Empty: meanwhile the worker has ended by itself, or another process has reported its death.
            run = instance.get_run_by_id(path.stem) if os.pread(descriptor, 1, 0) else None
            if run is not None and _is_left_to_its_code_server(run):
                return False
            reported = run is not None and report_death_of_worker(instance, run)
            _remove(path, descriptor)
            _first_seen_dead.pop(path.stem, None)
            return reported
    except Locked:
        return False  # the worker lives, or another process is reporting its death


def _is_left_to_its_code_server(run: dg.DagsterRun) -> bool:
    """Whether the code server that launched a run is there to report it, which it does within seconds as a rule.

    Reported by both, a run would end twice.
    """
    launched_by = run.tags.get(_CODE_SERVER_TAG)
    if launched_by is None or run.status not in _AT_WORK:
        return False
    first_seen = _first_seen_dead.setdefault(run.run_id, time.monotonic())
    return time.monotonic() - first_seen < _CODE_SERVER_S and _listens(launched_by)


def _listens(address: str) -> bool:
    try:
        server = json.loads(address)
        if "socket" in server:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_LISTENS_S)
                connection.connect(server["socket"])
        else:
            socket.create_connection((server["host"], server["port"]), timeout=_LISTENS_S).close()
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return True


def report_death_of_worker(instance: dg.DagsterInstance, run: dg.DagsterRun, exit_code: int | None = None) -> bool:
    """Free the slots of a run whose worker has died on this host, and end the run unless it has ended.

    A run that somebody was canceling has been canceled. Any other one has failed, and is launched again by Dagster's
    daemon, as `run_retries` in dagster.yaml says.

    Parameters
    ----------
    instance : DagsterInstance
    run : DagsterRun
    exit_code : int or None
        Of the worker where that is known; negative for a signal.

    Returns
    -------
    bool
        Whether the run had not ended.
    """
    if unfinished := not run.is_finished:
        worker = f"The worker of this run, a process on {HostIdentity.here().name},"
        if run.status == dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, f"{worker} has died while the run was being canceled.")
        else:
            error = RunWorkerLostError(f"{worker} {_how(exit_code)} Its steps ended with it.", remedy=_remedy_for(run))
            info = SerializableErrorInfo(str(error), [], type(error).__name__)
            failure = JobFailureData(error=info, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
            instance.report_run_failed(run, f"{type(error).__name__}: {error}", failure)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return unfinished


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "has died: it was killed, the memory was used up, or the machine was restarted."
    if exit_code == -signal.SIGKILL:
        return "was killed (signal 9), as the kernel does when the memory is used up."
    return f"was ended by signal {-exit_code}." if exit_code < 0 else f"ended with status {exit_code} without a word."


def _remedy_for(run: dg.DagsterRun) -> str:
    if run.remote_job_origin is None:  # of the command line; the daemon does not know what to launch
        return "Launch the run again."
    return (
        "Look whether memory ran out (`journalctl -k`). `sort-assets up` launches the run again by itself, up to "
        "twice; after that, launch it with `sort-assets retry-failed`."
    )


def _is_of_this_host(path: Path) -> bool:
    """Whether the worker that wrote a lock file ran on this host, which may have been restarted since.

    False before it holds the lock, and where other hosts may have written it: two of them may have the same name.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    here = HostIdentity.here()
    try:
        there = HostIdentity.model_validate_json(text)
    except ValueError:
        return text == here.name  # what earlier versions wrote
    if here.has_kernel_of(there) or here.was_rebooted_since(there):
        return True
    # A container that was restarted with its machine is told from another's only by where its home lies.
    return is_local(path.parent) and here.may_be(there)


def _remove(path: Path, descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    path.unlink(missing_ok=True)


def _lock_folder(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / _FOLDER
