"""Steps that an engine started elsewhere end soon after nobody waits for them any more.

Such a step has no parent process of ours whose death it could see. What it sees is the event log: whoever watches the
run worker fails the run there when the worker dies (`dead_runs`, or Dagster's run monitoring), and the executor reports
an attempt whose health check failed before it starts the next one.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children
from typing import NoReturn

import dagster as dg

from sort_assets.config.settings import read_environment

STEP_KEY_VARIABLE = "DAGSTER_RUN_STEP_KEY"
"""What Dagster's step delegating executors set in the environment of a step: dagster-k8s, dagster-ray and ours."""
GIVEN_UP = 70
"""Exit code of a process that ended itself because nobody waited for it."""

_POLL_S = 5.0
_GRACE_S = 10.0
_DATABASE_AWAY_S = 900.0
_DATABASE_POLL_S = 5.0
_OVER = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.SUCCESS)
_GIVEN_UP_BY = {dg.DagsterEventType.STEP_UP_FOR_RETRY, dg.DagsterEventType.STEP_FAILURE}
_TAKEN_OVER = "Another attempt of this step has taken over."


class _GivenUp(dg.DagsterExecutionInterruptedError):
    """Nobody waits for this attempt any more."""


def is_remote_step() -> bool:
    """Whether an engine started this process for one step; the processes that a run worker forks are none."""
    return STEP_KEY_VARIABLE in os.environ


def in_slurm_job() -> bool:
    """Whether this process runs in a job of Slurm, which is the engine."""
    return "SLURM_JOB_ID" in os.environ and read_environment().engine == "slurm"


def has_cores_of_its_own() -> bool:
    """Whether an engine has given this process cores that no other step uses."""
    return is_remote_step() or in_slurm_job()


def run_is_over_in(instance: dg.DagsterInstance) -> Callable[[str], bool | None]:
    """A function that says of a run of an instance, by its id, whether it is over; None of one that is not known."""

    def is_over(run_id: str) -> bool | None:
        run = instance.get_run_by_id(run_id)
        return None if run is None else run.status in _OVER

    return is_over


@dataclass(frozen=True)
class StepAttempt:
    """One attempt of a step of a run.

    Attributes
    ----------
    instance : dg.DagsterInstance
    run_id : str
    step_key : str
    retry_number : int
        How many attempts were before it.
    """

    instance: dg.DagsterInstance
    run_id: str
    step_key: str
    retry_number: int

    @classmethod
    def of(cls, context: dg.AssetExecutionContext) -> "StepAttempt":
        """The attempt that is being executed."""
        step_key = context.get_step_execution_context().step.key
        return cls(context.instance, context.run.run_id, step_key, context.retry_number)

    def why_run_is_over(self) -> str | None:
        """Why the run is over, as a sentence; None while it is not."""
        run = self.instance.get_run_by_id(self.run_id)
        if run is None:
            return f"Run {self.run_id} was deleted."
        return f"Run {self.run_id} is over: {run.status.value}." if run.status in _OVER else None

    def is_given_up(self) -> bool:
        """Whether the executor has reported the end of this attempt, and may have started a later one."""
        logged = self.instance.all_logs(self.run_id, of_type=_GIVEN_UP_BY)
        kinds = [one.dagster_event.event_type for one in logged if one.dagster_event and one.step_key == self.step_key]
        retries = kinds.count(dg.DagsterEventType.STEP_UP_FOR_RETRY)
        # A failure before a retry was that of an attempt which said so itself, before the executor decided otherwise.
        return retries > self.retry_number or kinds[-1:] == [dg.DagsterEventType.STEP_FAILURE]


@dataclass
class _Watch:
    """Looks whether an attempt is still waited for, in a thread, and interrupts the main thread when it is not."""

    attempt: StepAttempt
    given_up: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.ended.wait(_POLL_S):
            try:
                reason = self.attempt.why_run_is_over()
                self.given_up = self.attempt.is_given_up()
            except Exception:
                continue  # the database is away: the work may go on, and is asked about again before it is published
            if reason is not None or self.given_up:
                self._interrupt(reason or _TAKEN_OVER)
                return

    def _interrupt(self, reason: str) -> None:
        if self.ended.is_set():
            return
        print(f"{reason} This process ends.", flush=True)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGTERM)
        if not self.ended.wait(_GRACE_S):
            end_at_once()


@contextmanager
def end_with_run(attempt: StepAttempt) -> Iterator[None]:
    """Work as part of a step that an engine started elsewhere; it is interrupted when nobody waits for it any more.

    That is soon after its run has ended or was deleted, and soon after the executor has reported the end of this
    attempt of the step, which it does before it starts the next one. The step is interrupted as Dagster does it, so
    that it cleans up; if it does not end within ten seconds, it is killed. It goes on while the database is away.

    Does nothing in a process that a run worker started itself, which `die_with_run_worker` watches.
    """
    if not is_remote_step():
        yield
        return
    watch = _Watch(attempt)
    threading.Thread(target=watch.run, name="run-watch", daemon=True).start()
    try:
        yield
    except _GivenUp:
        watch.given_up = True
        raise
    finally:
        watch.ended.set()
        if watch.given_up:
            end_at_once()  # without an event, which would be taken for one of the attempt that runs now


def refuse_late_publication(attempt: StepAttempt) -> None:
    """Ask once more, right before a result is published, whether anybody waits for it.

    While the database is away, it is waited for, for up to a quarter of an hour.

    Raises
    ------
    dagster.DagsterExecutionInterruptedError
        When the run is over, or another attempt of the step has taken over.
    """
    gives_up = time.monotonic() + _DATABASE_AWAY_S
    while True:
        try:
            reason, given_up = attempt.why_run_is_over(), is_remote_step() and attempt.is_given_up()
            break
        except Exception:
            if time.monotonic() > gives_up:
                raise
            time.sleep(_DATABASE_POLL_S)
    if given_up:
        raise _GivenUp(_TAKEN_OVER)
    if reason is not None:
        raise dg.DagsterExecutionInterruptedError(f"{reason} What this step has made is not published.")


def end_at_once() -> NoReturn:
    """End this process without any clean-up; the kernel releases its locks."""
    for child in active_children():
        child.kill()  # a forked one has inherited the locks of this process, and would keep them
    os._exit(GIVEN_UP)
