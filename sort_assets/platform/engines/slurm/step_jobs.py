"""Steps that are jobs of their own: how one is submitted, found and cancelled, and what its end means.

A job's name says of which attempt of which step of which run it is. So it is found also when Slurm took it without an
answer, and when its run worker has died.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

# Without public names, though every step handler is made of them (dagster-docker, dagster-k8s).
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.retries import RetryMode
from dagster._core.origin import JobPythonOrigin
from dagster._grpc.types import ExecuteStepArgs

from sort_assets.config.settings import Roots, read_environment
from sort_assets.errors import EngineError, NodeSetupError, SortAssetsError, TimeLimitError
from sort_assets.platform.engines.slurm.commands import SlurmCommands, SlurmJob
from sort_assets.platform.engines.slurm.job_end import ENDED_ON_NODE, end_of_job, has_begun, is_over
from sort_assets.platform.engines.slurm.job_script import CANCEL_SIGNAL, job_script, prepare_log
from sort_assets.platform.engines.slurm.options import job_options
from sort_assets.platform.execution.remote_steps import STEP_KEY_VARIABLE, run_is_over_in
from sort_assets.platform.execution.retried_runs import runs_before
from sort_assets.platform.execution.step_needs import StepNeeds
from sort_assets.platform.pipeline.failure_rendering import render_failure
from sort_assets.platform.pipeline.retries import RetryDecision, decide_retry
from sort_assets.platform.pipeline.run_requests import RunRequests
from sort_assets.platform.store.dead_staging import logs_of_a_sort, remove_dead_staging, remove_ended_staging
from sort_assets.platform.store.failures import FailedAttempt, failure_folder, failures_to_learn_from, record_failure
from sort_assets.platform.store.files import entries
from sort_assets.platform.store.layout import LOCK_SUFFIX, LOGS, STAGING
from sort_assets.platform.store.locks import read_owner
from sort_assets.platform.store.store import Store

TIME_TO_END_S = 60.0
"""How long the job of a run that has ended may go on."""
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_NAME = "sort_assets_step-"
_NAME_OF_RUN = re.compile(re.escape(_NAME) + r"(?P<run_id>[0-9a-f-]{36})-.*")
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)")


@dataclass(frozen=True)
class Attempt:
    """One attempt of a step of a run.

    Attributes
    ----------
    step_key : str
        The asset's name.
    number : int
        The first is 1.
    known_state : KnownExecutionState
        What Dagster knows of the run's steps; it travels to the job.
    """

    step_key: str
    number: int
    known_state: KnownExecutionState


@dataclass(frozen=True)
class StepEnd:
    """What the end of a job means for its step, which did not say itself how it ended.

    Attributes
    ----------
    error : SortAssetsError
    decision : RetryDecision
        Whether another attempt follows.
    failure : dg.Failure
        As Dagster shows it, where none does.
    """

    error: SortAssetsError
    decision: RetryDecision
    failure: dg.Failure


@dataclass
class StepJobs:
    """The jobs of the steps of one run.

    Attributes
    ----------
    instance : dg.DagsterInstance
    run : dg.DagsterRun
    origin : JobPythonOrigin
        From which a process loads the Dagster job of the run.
    retry_mode : RetryMode
        Whether a step may ask for another attempt.
    commands : SlurmCommands
    """

    instance: dg.DagsterInstance
    run: dg.DagsterRun
    origin: JobPythonOrigin
    retry_mode: RetryMode
    commands: SlurmCommands = field(default_factory=lambda: SlurmCommands(read_environment().slurm_prefix.split()))

    def __post_init__(self) -> None:
        self._requests = RunRequests(self.instance, self.run)
        self._store = Store(Roots.from_environment().store, run_is_over_in(self.instance))
        self._runs_before = runs_before(self.instance, self.run)

    def needs(self, step_key: str) -> StepNeeds:
        """What a step needs on this recording, after what earlier attempts ran out of."""
        return self._requests.of_step(step_key)

    def log(self, attempt: Attempt) -> Path:
        """The file that the job of an attempt writes into."""
        return prepare_log(self._store.root, self.run.run_id, _log_name(attempt))

    def submit(self, attempt: Attempt, *, again: bool) -> tuple[str, Mapping[str, str]]:
        """Submit the job of an attempt.

        Parameters
        ----------
        attempt : Attempt
        again : bool
            Whether Slurm did not answer before. It may have taken the job all the same, which is looked for.

        Returns
        -------
        str
            The job's id.
        mapping of str to str
            The options that it was submitted with.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer; to be tried again.
        SortAssetsError
            When Slurm refuses the job, or it can't be made.
        """
        options = self._options(attempt)
        found = self.find(attempt) if again else None
        if found is not None:
            return found.job, options
        self.log(attempt)
        arguments = ExecuteStepArgs(
            job_origin=self.origin,
            run_id=self.run.run_id,
            step_keys_to_execute=[attempt.step_key],
            instance_ref=self.instance.get_ref(),
            retry_mode=self.retry_mode.for_inner_plan(),
            known_state=attempt.known_state,
            should_verify_step=True,  # a job that Slurm starts late must not repeat an attempt that is over
            print_serialized_events=False,
        )
        words = list(arguments.get_command_args(skip_serialized_namedtuple=True))
        script = job_script(
            self.run.run_id,
            words[words.index("api") :],
            variables={
                "DAGSTER_RUN_JOB_NAME": self.run.job_name,
                STEP_KEY_VARIABLE: attempt.step_key,
                # Not among the words, which squeue and ps show.
                **{one["name"]: one["value"] for one in arguments.get_command_env()},
            },
            log_name=_log_name(attempt),
        )
        return self.commands.submit(script, name=self._name(attempt), options=options), options

    def find(self, attempt: Attempt) -> SlurmJob | None:
        """The job of an attempt, as Slurm knows it; None where it knows none.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer.
        """
        return self.commands.find(self._name(attempt))

    def is_remembered(self, attempt: Attempt, job: SlurmJob) -> bool:
        """Whether Slurm knows a job that it has just not listed: its controller may have come back that moment.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer.
        """
        return self.commands.details(job.job).get("JobName") == self._name(attempt)

    def cancel(self, job: SlurmJob, *, at_once: bool = False) -> None:
        """Cancel a job: one that runs is told to end by itself, unless it is to end at once.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer.
        """
        gently = has_begun(job) and not at_once
        self.commands.cancel(job.job, with_signal=CANCEL_SIGNAL if gently else "")

    def end(self, attempt: Attempt, job: SlurmJob, *, forgotten: bool) -> StepEnd:
        """What the end of a job means for its step, which did not say itself how it ended; it is kept in the store.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer.
        """
        details = self.commands.details(job.job)
        end = end_of_job(
            job,
            details,
            log=_read(self.log(attempt)),
            made_progress=False,
            forgotten=forgotten,
            step_key=attempt.step_key,
            asked_gb=self.needs(attempt.step_key).memory_gb,
        )
        error = end.error
        if error is None:
            error = EngineError(end.message, remedy="Unless that was intended, launch the run again.")
            self._record(attempt, error, job, retried=False, forgotten=forgotten)
            return StepEnd(error, RetryDecision(False, ""), render_failure(error))
        earlier = self._earlier(attempt)
        execution = self._requests.settings.config.execution
        decision = decide_retry(error, [one.error for one in earlier], execution, reduced=False)
        record = self._record(attempt, error, job, retried=decision.retry, forgotten=forgotten)
        tried = [*earlier, record]
        logs = failure_folder(self._store, record.recording, record.asset, record.version) / LOGS
        return StepEnd(error, decision, render_failure(error, tried, decision.reason, logs))

    def refused(self, attempt: Attempt, error: SortAssetsError) -> dg.Failure:
        """The failure of a step whose job Slurm refuses."""
        return render_failure(error, self._earlier(attempt))

    def _options(self, attempt: Attempt) -> dict[str, str]:
        earlier = self._earlier(attempt)
        chosen = {name: str(value) for name, value in self._requests.settings.config.resources.slurm.items()}
        options = job_options(self.needs(attempt.step_key), self.run, chosen)
        too_short = [one.error.diagnostics for one in earlier if isinstance(one.error, TimeLimitError)]
        minutes = [known for one in too_short if (known := _minutes(str(one.get("time_limit", "")))) is not None]
        if minutes:
            options["time"] = str(2 * max(minutes))
        unfit_nodes = {one.host for one in earlier if isinstance(one.error, NodeSetupError)}
        unfit = sorted({*filter(None, options.get("exclude", "").split(",")), *unfit_nodes})
        excluded = {"exclude": ",".join(unfit)} if unfit else {}
        return {**options, **excluded, "output": "/dev/null", "no-requeue": "", "chdir": "/"}

    def _name(self, attempt: Attempt) -> str:
        return f"{_NAME}{self.run.run_id}-{attempt.step_key}-{attempt.number}"

    def _earlier(self, attempt: Attempt) -> list[FailedAttempt]:
        if self._requests.recording is None:
            return []
        found = failures_to_learn_from(
            *(self._store, self._requests.recording, attempt.step_key),
            run_id=self.run.run_id,
            runs_before=self._runs_before,
        )
        return [one for one in found if one.run_id != self.run.run_id or one.attempt < attempt.number]

    def _record(
        self, attempt: Attempt, error: SortAssetsError, job: SlurmJob, *, retried: bool, forgotten: bool
    ) -> FailedAttempt:
        recording = self._requests.recording or ""
        folder = self._store.asset_folder(recording, attempt.step_key)
        left = [path for path in entries(folder, STAGING) if path.is_dir() and self._is_of(path, attempt)]
        now = datetime.now(UTC)
        made_up = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-{self.run.run_id[:8]}"
        record = record_failure(
            self._store,
            recording,
            attempt.step_key,
            version=left[-1].name.removeprefix(STAGING) if left else made_up,
            run_id=self.run.run_id,
            attempt=attempt.number,
            error=error,
            scaled={},
            logs=logs_of_a_sort(left[-1]) if left else (),
            retried=retried,
            host=job.node or None,
        )
        if not forgotten and job.state in ENDED_ON_NODE:
            for staging in left:
                remove_ended_staging(self._store, recording, attempt.step_key, staging, run_id=self.run.run_id)
        # Of a node that was cut off, what was left may still be written: the next writer, or `gc`, decides.
        remove_dead_staging(self._store, recording, attempt.step_key, run_id=self.run.run_id)
        return record

    def _is_of(self, staging: Path, attempt: Attempt) -> bool:
        owner = read_owner(staging.with_name(f"{staging.name}{LOCK_SUFFIX}"))
        return owner is not None and (owner.run_id, owner.attempt) == (self.run.run_id, attempt.number)


def cancel_left_over(instance: dg.DagsterInstance, commands: SlurmCommands, jobs: Mapping[str, SlurmJob]) -> list[str]:
    """Cancel the jobs of steps of runs that are over: their run workers died before they could.

    One that runs gets a while to notice that by itself.

    Parameters
    ----------
    instance : DagsterInstance
    commands : SlurmCommands
    jobs : mapping of str to SlurmJob
        All that Slurm knows, by their id.

    Returns
    -------
    list of str
        The ids of the jobs.

    Raises
    ------
    EngineError
        When Slurm does not answer, or there is none.
    """
    of_steps = {id_: (job, name["run_id"]) for id_, job in jobs.items() if (name := _NAME_OF_RUN.fullmatch(job.name))}
    waiting_or_at_work = {id_: (job, run_id) for id_, (job, run_id) in of_steps.items() if not is_over(job)}
    runs = sorted({run_id for _, run_id in waiting_or_at_work.values()})
    records = instance.get_run_records(dg.RunsFilter(run_ids=runs, statuses=_OVER)) if runs else []
    ended = {one.dagster_run.run_id: one.end_time or one.update_timestamp.timestamp() for one in records}
    left = [
        id_
        for id_, (job, run_id) in waiting_or_at_work.items()
        if run_id in ended and (job.state == "PENDING" or time.time() - ended[run_id] > TIME_TO_END_S)
    ]
    for id_ in left:
        commands.cancel(id_)
    return left


def _log_name(attempt: Attempt) -> str:
    return f"slurm_job_{attempt.step_key}_{attempt.number}.log"


def _read(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _minutes(limit: str) -> int | None:
    """The minutes of a time limit as scontrol shows it: "1-02:03:04"; None of "UNLIMITED"."""
    match = _TIME.fullmatch(limit)
    if match is None:
        return None
    hours = 24 * int(match["days"] or 0) + int(match["hours"])
    return 60 * hours + int(match["minutes"]) + (int(match["seconds"]) > 0)
