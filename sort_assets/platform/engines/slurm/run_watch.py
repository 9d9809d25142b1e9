"""The sensor `slurm_jobs`: what becomes of the jobs of runs is told in the runs' logs, and ends runs whose job is over.

Jobs of runs and of steps that are left of runs which are over are cancelled.

A run stays as it is while Slurm does not answer: that nothing is known of a job says nothing about it. One question to
Slurm answers for all runs.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg

from sort_assets.config.settings import Roots, read_environment
from sort_assets.errors import EngineError, SortAssetsError
from sort_assets.platform.engines.slurm.commands import SlurmJob
from sort_assets.platform.engines.slurm.job_end import JobEnd, end_of_job, is_over
from sort_assets.platform.engines.slurm.run_jobs import (
    BEING_CANCELLED,
    BEING_SUBMITTED,
    NOT_ANSWERED,
    RunJobs,
    job_name,
    known_job,
    log_of,
    run_of_job,
    state_of,
)
from sort_assets.platform.engines.slurm.step_jobs import TIME_TO_END_S, cancel_left_over

INTERVAL_S = 10
_TICK_TAKES_S = 20.0
"""After this time the rest is left to the next tick: Dagster gives one up after a minute, and a command of Slurm may
take half of one."""
_AT_WORK = threading.Lock()
_SUBMISSION_TAKES_S = 300.0
"""After this time, whoever was submitting a job has died."""
_JUST_ENDED = timedelta(minutes=30)
_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_CANCELLED = "cancelled, for the run is over"
_OVER = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_HINTS: Mapping[str, str] = {
    "AccountNotAllowed": "the partition does not allow the account",
    "BadConstraints": "no node has what is asked for",
    "InvalidAccount": "the account is not known",
    "InvalidQOS": "the quality of service is not known",
    "JobHeldAdmin": "an administrator holds it",
    "JobHeldUser": "somebody holds it (`scontrol release` lets it go)",
    "JobLaunchFailure": "it could not be started",
    "PartitionConfig": "it asks for more than the partition allows",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is inactive",
    "PartitionNodeLimit": "it asks for more than the partition allows, or its nodes are down",
    "PartitionTimeLimit": "it asks for more time than the partition allows",
    "ReqNodeNotAvail": "a node that it needs is down or reserved",
    "job requeued in held state": "Slurm holds it (`scontrol release` lets it go)",
    "launch failed requeued held": "a node could not start it, and Slurm holds it (`scontrol release` lets it go)",
}
"""Reasons with which a job may wait for ever."""


@dg.sensor(
    name="slurm_jobs",
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Follows the Slurm jobs of runs: tells in each run's log what becomes of its job, ends runs whose job "
    "is over, and submits and cancels jobs for which Slurm did not answer before.",
)
def slurm_jobs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look after all runs that are jobs."""
    # Dagster starts the next tick when it has given up one, which goes on here: two would submit a job twice.
    if not _AT_WORK.acquire(blocking=False):
        return dg.SkipReason("The tick before is still at work: Slurm answers slowly.")
    try:
        return dg.SkipReason(RunWatch(RunJobs.of(context.instance)).look_after_all())
    finally:
        _AT_WORK.release()


@dataclass
class RunWatch:
    """Looks after the runs of an instance that are jobs.

    Attributes
    ----------
    jobs : RunJobs
    """

    jobs: RunJobs
    _said: Counter[str] = field(default_factory=Counter)
    _takes_jobs: bool = True

    @property
    def _instance(self) -> dg.DagsterInstance:
        return self.jobs.instance

    def look_after_all(self) -> str:
        """Look after all runs once; returns what there is, as a sentence.

        Raises
        ------
        EngineError
            When Slurm does not answer, or there is none; nothing has been changed then. When a run could not be looked
            after; the others were.
        """
        records = self._instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
        unfinished = {record.dagster_run.run_id: record for record in records if self._is_ours(record.dagster_run)}
        over = self._over_lately()
        ended = {run_id: when for run_id, (when, had_job) in over.items() if had_job}
        may_have_left_steps = bool(over) and read_environment().slurm_jobs != "runs"
        if not unfinished and not ended and not may_have_left_steps:
            return "No run is a job of Slurm."
        jobs = self.jobs.commands.jobs()
        known = {run_id: job for job in jobs.values() if (run_id := run_of_job(job))}
        left = cancel_left_over(self._instance, self.jobs.commands, jobs)
        self._said.update({_CANCELLED: len(left)} if left else {})
        # Submissions come last, since they take longest.
        due = sorted(unfinished, key=lambda run_id: run_id not in known)
        self._do_each(
            {
                **{run_id: partial(self._cancel_left, known.get(run_id), end) for run_id, end in ended.items()},
                **{
                    run_id: partial(self._look_after, run_id, known.get(run_id), unfinished[run_id].update_timestamp)
                    for run_id in due
                },
            }
        )
        return f"Jobs: {', '.join(f'{count} {state}' for state, count in sorted(self._said.items())) or 'none'}."

    def _do_each(self, tasks: Mapping[str, Callable[[], None]]) -> None:
        """Do something for each run; one that fails does not keep it from the others."""
        began = time.monotonic()
        problems: dict[str, Exception] = {}
        for run_id, task in tasks.items():
            if time.monotonic() - began > _TICK_TAKES_S:
                self._said["left to the next tick"] += 1
                continue
            try:
                task()
            except Exception as error:  # of Slurm, of the store, of the database
                problems[run_id] = error
        if problems:
            said = "; ".join(f"run {run_id[:8]}: {error}" for run_id, error in problems.items())
            raise EngineError(
                f"{len(problems)} of {len(tasks)} runs could not be looked after. {said}",
                remedy="It is tried again at the next tick. No other run waits for that.",
            ) from next(iter(problems.values()))

    def _cancel_left(self, job: SlurmJob | None, end_time: float) -> None:
        """Cancel the job of a run that is over: one that runs gets a while to end by itself."""
        if job is None or is_over(job):
            return
        # The UI can only mark a run that is starting as canceled, and does not tell the launcher.
        if job.state == "PENDING" or time.time() - end_time > TIME_TO_END_S:
            self.jobs.commands.cancel(job.job)
            self._said[_CANCELLED] += 1

    def _is_ours(self, run: dg.DagsterRun) -> bool:
        # A run is starting when Dagster has handed it to the launcher; the command line executes its own.
        return run.status == dg.DagsterRunStatus.STARTING or bool(state_of(run))

    def _over_lately(self) -> dict[str, tuple[float, bool]]:
        """When runs ended of which a job may be left, and whether they had one of their own, by run."""
        lately = dg.RunsFilter(statuses=_OVER, updated_after=datetime.now(UTC) - _JUST_ENDED)
        records = self._instance.get_run_records(lately)
        return {
            record.dagster_run.run_id: (
                record.end_time or record.update_timestamp.timestamp(),
                known_job(record.dagster_run) is not None,
            )
            for record in records
        }

    def _look_after(self, run_id: str, job: SlurmJob | None, updated: datetime) -> None:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.status not in _UNFINISHED:
            return  # it has ended since Slurm was asked, and its job with it
        if job is None and known_job(run) is None:
            self._submit(run, updated)
        elif job is None or is_over(job):
            self._end(run, job)
        else:
            self._follow(run, job, updated)

    def _submit(self, run: dg.DagsterRun, updated: datetime) -> None:
        """Submit a job that Slurm did not take before, or that whoever was about to submit it has left behind."""
        if run.status == dg.DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(run, "The run was cancelled before its job was submitted.")
            return
        if state_of(run) != NOT_ANSWERED and _seconds_since(updated) <= _SUBMISSION_TAKES_S:
            self._said[BEING_SUBMITTED] += 1
            return
        try:
            # Where Slurm did not take one job, it is not asked to take the others before the next tick.
            self._takes_jobs = self._takes_jobs and self.jobs.submit(run)
            self._said["submitted" if self._takes_jobs else "not taken"] += 1
        except SortAssetsError as error:
            self.jobs.fail(run, JobEnd.by(error))

    def _follow(self, run: dg.DagsterRun, job: SlurmJob, updated: datetime) -> None:
        self._said[job.state.lower()] += 1
        if run.status == dg.DagsterRunStatus.CANCELING:
            if state_of(run) != BEING_CANCELLED:  # Slurm did not answer, or somebody else reported it
                self.jobs.cancel(run, job)
            elif _seconds_since(updated) > TIME_TO_END_S:
                self.jobs.commands.cancel(job.job)
            return
        reason = "" if job.reason in ("", "None") else job.reason
        if job.state == "PENDING":
            state = f"PENDING: {reason}" if reason else "PENDING"
        else:
            state = f"{job.state} on {job.node}" if job.node else job.state
        if state == state_of(run):
            return
        self.jobs.note_state(run, job, state)
        if job.state == "PENDING" and reason:
            hint = _HINTS.get(reason.split(",")[0].strip().replace("_", " "))
            advice = f", that is, {hint}: unless somebody changes that, it will not start" if hint else ""
            self.jobs.tell(run, f"Slurm job {job.job} is pending: {reason}{advice}.")
        elif job.state != "PENDING":
            self.jobs.tell(run, f"Slurm job {job.job} is {state.lower().replace(job.node.lower(), job.node)}.")

    def _end(self, run: dg.DagsterRun, job: SlurmJob | None) -> None:
        """End a run whose job is over."""
        known = job or SlurmJob(job=known_job(run) or "", state="", node=state_of(run).partition(" on ")[2])
        details = self.jobs.commands.details(known.job)
        if job is None and details.get("JobName") == job_name(run.run_id):
            return  # the controller has just come back, and knows it after all
        stats = self._instance.get_run_stats(run.run_id)
        end = end_of_job(
            known,
            details,
            log=log_of(Roots.from_environment().store, run.run_id),
            made_progress=stats.steps_succeeded > 0,
            forgotten=job is None,
        )
        state = f"{known.state} on {known.node}" if known.node else known.state
        self.jobs.note_state(run, known, state if job else "forgotten by Slurm")
        self._said[(known.state or "forgotten").lower()] += 1
        fresh = self._instance.get_run_by_id(run.run_id)
        if fresh is None or fresh.status not in _UNFINISHED:
            return  # it has said itself how it ended
        if end.error is None or fresh.status == dg.DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(fresh, end.message if end.error is None else "The run was cancelled.")
        else:
            self.jobs.fail(fresh, end, node=known.node)
        self._instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _seconds_since(moment: datetime) -> float:
    # Dagster's storages give times in UTC, SQLite without saying so.
    return (datetime.now(UTC) - moment.replace(tzinfo=moment.tzinfo or UTC)).total_seconds()
