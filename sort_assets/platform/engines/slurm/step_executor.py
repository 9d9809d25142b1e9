"""The executor of runs whose GPU steps are Slurm jobs, while the other steps are processes beside the run worker.

Dagster's multiprocess executor executes both: for a step that needs a GPU, the iterator that follows a child process is
replaced by one that follows a job. So the other steps start as fast as ever, and all that guards a run stays in place.
A job writes its events into the event log itself; what is read back from there are the few that the executor waits for.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

# Without public names, though every step handler is made of them (dagster-docker, dagster-k8s).
from dagster._core.events import EngineEventData
from dagster._core.execution.plan.objects import StepFailureData, StepRetryData, UserFailureData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor import multiprocess
from dagster_shared.error import SerializableErrorInfo

from sort_assets.errors import EngineError, EngineUnavailableError, SortAssetsError
from sort_assets.platform.engines.slurm.commands import SlurmJob
from sort_assets.platform.engines.slurm.job_end import is_over
from sort_assets.platform.engines.slurm.step_jobs import Attempt, StepJobs, cancel_left_over
from sort_assets.platform.execution.step_needs import LOCAL_GPU_TAG

if TYPE_CHECKING:
    from dagster._core.execution.context.system import IStepContext, PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.step_dependency_config import StepDependencyConfig

_PAUSE_S = 0.25
_READ_EVERY_S = 1.0
_SHORTEST_S, _LONGEST_S = 5.0, 60.0
"""How often Slurm is asked about a job: rarely while it waits or runs for long. One squeue costs the controller little,
and a hundred runs are a hundred squeues."""
_RETRY_SUBMISSION_S = 15.0
_TO_END_BY_ITSELF_S = 45.0
_RETRY_DELAY_S = 2.0
_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
    dg.DagsterEventType.RESOURCE_INIT_FAILURE,
}
_READ = {*_ENDS, dg.DagsterEventType.STEP_OUTPUT}
_INTERRUPTED = dg.DagsterExecutionInterruptedError.__name__


class GpuStepJobsExecutor(dg.Executor):
    """Executes a run with Dagster's multiprocess executor, and its GPU steps as jobs of Slurm.

    Parameters
    ----------
    inner : dg.Executor
        The multiprocess executor.
    """

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> RetryMode:
        """Whether steps are retried."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> "StepDependencyConfig":
        """Which upstream outputs a step waits for."""
        return self._inner.step_dependency_config

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the steps, after jobs of runs that are over are cancelled."""
        origin = plan_context.reconstructable_job.get_python_origin()
        jobs = StepJobs(plan_context.instance, plan_context.dagster_run, origin, self.retries)
        try:
            cancel_left_over(jobs.instance, jobs.commands, jobs.commands.jobs())
        except EngineError as error:
            plan_context.log.warning(f"Jobs of runs that are over could not be looked for. {error}")
        with _gpu_steps_in(jobs):
            yield from self._inner.execute(plan_context, execution_plan)


@contextmanager
def _gpu_steps_in(jobs: StepJobs) -> Iterator[None]:
    """Let the multiprocess executor of this process follow jobs in place of child processes, for steps with a GPU."""
    in_process = multiprocess.execute_step_out_of_process

    # Called with its arguments in this order, by no name.
    def execute_step(*given: Any) -> Iterator[dg.DagsterEvent | None]:
        _, _, context, step, _, processes, term_events, _, known_state, _ = given
        if LOCAL_GPU_TAG not in step.tags or not jobs.needs(step.key).gpus:
            return in_process(*given)
        processes[step.key] = _Job()
        number = known_state.get_retry_state().get_attempt_count(step.key) + 1
        return _Followed(jobs, context, Attempt(step.key, number, known_state), term_events[step.key]).events()

    multiprocess.execute_step_out_of_process = execute_step  # type: ignore[assignment]
    try:
        yield
    finally:
        multiprocess.execute_step_out_of_process = in_process


class _Job:
    """In place of a child process: the executor asks whether it lives before it lets it be terminated."""

    def is_alive(self) -> bool:
        return True


@dataclass
class _Followed:
    """A step whose job is followed.

    Attributes
    ----------
    jobs : StepJobs
    context : IStepContext
    attempt : Attempt
    terminated : multiprocessing.Event
        Set when the run is cancelled.
    """

    jobs: StepJobs
    context: "IStepContext"
    attempt: Attempt
    terminated: Any
    _job: SlurmJob | None = None
    _seen: set[int] = field(default_factory=set)
    _told: str = ""
    _away: bool = False
    _is_told_to_end: bool = False

    def events(self) -> Iterator[dg.DagsterEvent | None]:
        """Submit the job and follow it to its end: the events that the executor waits for, and None between them."""
        ended = False
        try:
            self._events_of_job()  # those of earlier attempts
            for event in self._all():
                # The executor may start the next attempt, and forget this iterator, as soon as it has seen this event.
                ended = ended or (event is not None and event.event_type in _ENDS)
                yield event
            ended = True
        finally:
            if not ended:  # the run worker gives up all steps
                self._cancel_quietly()

    def _all(self) -> Iterator[dg.DagsterEvent | None]:
        yield from self._submit()
        if self._job is None:
            return
        began = asked = read = time.monotonic()
        end_by = float("inf")
        while True:
            now = time.monotonic()
            if now - read >= _READ_EVERY_S:
                read = now
                events = self._events_of_job()
                yield from events
                if any(event.event_type in _ENDS for event in events):
                    return
            if self.terminated.is_set() and not self._is_told_to_end:
                end_by = now + _TO_END_BY_ITSELF_S
                asked = float("-inf")
            pause_s = min(_LONGEST_S, max(_SHORTEST_S, (now - began) / 20))
            if now - asked >= (_SHORTEST_S if self.terminated.is_set() else pause_s):
                asked = now
                over = yield from self._ask(at_once=now > end_by)
                if over:
                    return
            time.sleep(_PAUSE_S)
            yield None

    def _submit(self) -> Iterator[dg.DagsterEvent | None]:
        tried = float("-inf")
        while self._job is None:
            if self.terminated.is_set():
                yield self._cancelled("The run was cancelled before the step's job was submitted.")
                return
            if time.monotonic() - tried < _RETRY_SUBMISSION_S:
                time.sleep(_PAUSE_S)
                yield None
                continue
            tried = time.monotonic()
            try:
                job, options = self.jobs.submit(self.attempt, again=self._away)
            except EngineUnavailableError as error:
                if not self._away:
                    yield self._tell(
                        f"The step's job can't be submitted now; it is tried until Slurm takes it. {error}"
                    )
                self._away = True
            except SortAssetsError as error:
                yield self._failed(error, self.jobs.refused(self.attempt, error))
                return
            else:
                self._job = SlurmJob(job=job, state="PENDING")
                asked = " ".join(f"--{name}={value}" if value else f"--{name}" for name, value in options.items())
                why = self.jobs.needs(self.attempt.step_key).why
                yield dg.DagsterEvent.step_worker_starting(
                    self.context,
                    f'Submitted "{self.attempt.step_key}" as Slurm job {job}.',
                    metadata={
                        "job": dg.MetadataValue.text(job),
                        "options": dg.MetadataValue.text(asked),
                        "log": dg.MetadataValue.path(str(self.jobs.log(self.attempt))),
                        **{name: dg.MetadataValue.text(reason) for name, reason in why.items()},
                    },
                )

    def _ask(self, *, at_once: bool) -> Generator[dg.DagsterEvent, None, bool]:
        """Ask Slurm about the job, and cancel it where the run is cancelled; returns whether it is over."""
        assert self._job is not None
        try:
            found = self.jobs.find(self.attempt)
            job = found or self._job
            if found is not None and not is_over(found):
                self._job = found
                yield from self._told_of(found)
                if self.terminated.is_set() and (at_once or not self._is_told_to_end):
                    self.jobs.cancel(found, at_once=at_once)
                    self._is_told_to_end = True
                    if found.state == "PENDING":
                        yield self._cancelled(f"Slurm job {found.job} was cancelled before it began.")
                        return True
                return False
            if found is None and self.jobs.is_remembered(self.attempt, job):
                return False
            # What it wrote before its end is there now.
            events = self._events_of_job()
            yield from events
            if any(event.event_type in _ENDS for event in events):
                return True
            if self.terminated.is_set():
                yield self._cancelled(f"Slurm job {job.job} has ended.")
                return True
            yield self._ended(job, forgotten=found is None)
        except EngineUnavailableError:
            return False  # nothing is known of the job
        except EngineError as error:
            # Neither does a command that fails say anything of the job.
            if self._told != str(error):
                self._told = str(error)
                yield self._tell(f"What becomes of Slurm job {self._job.job} can't be found out now. {error}")
            return False
        return True

    def _ended(self, job: SlurmJob, *, forgotten: bool) -> dg.DagsterEvent:
        end = self.jobs.end(self.attempt, job, forgotten=forgotten)
        if not end.decision.retry or self.jobs.retry_mode.disabled:
            return self._failed(end.error, end.failure)
        return dg.DagsterEvent.step_retry_event(
            self.context,
            StepRetryData(error=_info(end.error), seconds_to_wait=max(_RETRY_DELAY_S, end.decision.wait_s)),
        )

    def _failed(self, error: SortAssetsError, failure: dg.Failure) -> dg.DagsterEvent:
        shown = UserFailureData(label="intentional-failure", description=failure.description, metadata=failure.metadata)
        return dg.DagsterEvent.step_failure_event(self.context, StepFailureData(_info(error), shown))

    def _cancelled(self, message: str) -> dg.DagsterEvent:
        error = SerializableErrorInfo(message, [], _INTERRUPTED)
        return dg.DagsterEvent.step_failure_event(self.context, StepFailureData(error, None))

    def _told_of(self, job: SlurmJob) -> Iterator[dg.DagsterEvent]:
        """Where the job is, whenever that is new."""
        if job.state == "PENDING":
            state = f"pending: {job.reason}" if job.reason not in ("", "None") else ""
        else:
            state = f"{job.state.lower()} on {job.node}" if job.node else job.state.lower()
        if state and state != self._told:
            self._told = state
            yield self._tell(f"Slurm job {job.job} is {state}.")

    def _tell(self, message: str) -> dg.DagsterEvent:
        return dg.DagsterEvent.engine_event(self.context, message, EngineEventData())

    def _events_of_job(self) -> list[dg.DagsterEvent]:
        """New events of the step, up to the one that ends it."""
        # Without a cursor: PostgreSQL may show an event after later ones.
        records = self.jobs.instance.get_records_for_run(self.jobs.run.run_id, of_type=_READ).records
        new: list[dg.DagsterEvent] = []
        for record in records:
            event = record.event_log_entry.dagster_event
            if event is None or event.step_key != self.attempt.step_key or record.storage_id in self._seen:
                continue
            self._seen.add(record.storage_id)
            if not self._is_interruption(event):
                new.append(event)
        return new

    def _is_interruption(self, event: dg.DagsterEvent) -> bool:
        """Whether a step says that it was interrupted, though not by a person: Slurm says why."""
        if not event.is_step_failure or self._is_told_to_end:
            return False
        error = event.step_failure_data.error
        while error is not None:
            if error.cls_name == _INTERRUPTED:
                return True
            error = error.cause
        return False

    def _cancel_quietly(self) -> None:
        try:
            found = self.jobs.find(self.attempt)
            if found is not None and not is_over(found):
                self.jobs.cancel(found)
        except Exception:
            self.context.log.warning("The step's job could not be cancelled; it ends with its run.", exc_info=True)


def _info(error: SortAssetsError) -> SerializableErrorInfo:
    return SerializableErrorInfo(str(error), [], type(error).__name__)
