"""The sensor `slurm_jobs`: what becomes of the jobs of runs is told in the runs' logs, and ends runs whose job is over.

A run stays as it is while Slurm does not answer: that nothing is known of a job says nothing about it. One question to
Slurm answers for all runs.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg

from sort_assets.config.settings import Roots
from sort_assets.errors import SortAssetsError
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

INTERVAL_S = 10
_SUBMISSION_TAKES_S = 300.0
"""After this time, whoever was submitting a job has died."""
_JUST_ENDED = timedelta(minutes=30)
_TIME_TO_END_S = 60.0
"""How long the job of a run that has ended may go on."""
_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
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
    return dg.SkipReason(RunWatch(RunJobs.of(context.instance)).look_after_all())


@dataclass
class RunWatch:
    """Looks after the runs of an instance that are jobs.

    Attributes
    ----------
    jobs : RunJobs
    """

    jobs: RunJobs
    _said: Counter[str] = field(default_factory=Counter)

    @property
    def _instance(self) -> dg.DagsterInstance:
        return self.jobs.instance

    def look_after_all(self) -> str:
        """Look after all runs once; returns what there is, as a sentence.

        Raises
        ------
        EngineError
            When Slurm does not answer, or there is none; nothing has been changed then.
        """
        records = self._instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
        unfinished = {record.dagster_run.run_id: record for record in records if self._is_ours(record.dagster_run)}
        ended = self._ended_lately()
        if not unfinished and not ended:
            return "No run is a job of Slurm."
        known = {run_id: job for job in self.jobs.commands.jobs().values() if (run_id := run_of_job(job))}
        for run_id, record in unfinished.items():
            run = self._instance.get_run_by_id(run_id)
            # It may have ended between the two questions, and its job with it.
            if run is not None and run.status in _UNFINISHED:
                self._look_after(run, known.get(run_id), record.update_timestamp)
        for run_id, end_time in ended.items():
            job = known.get(run_id)
            if job is None or is_over(job):
                continue
            # The UI can only mark a run that is starting as canceled, and does not tell the launcher.
            if job.state == "PENDING" or time.time() - end_time > _TIME_TO_END_S:
                self.jobs.commands.cancel(job.job)
                self._said["cancelled, for the run is over"] += 1
        return f"Jobs: {', '.join(f'{count} {state}' for state, count in sorted(self._said.items())) or 'none'}."

    def _is_ours(self, run: dg.DagsterRun) -> bool:
        # A run is starting when Dagster has handed it to the launcher; the command line executes its own.
        return run.status == dg.DagsterRunStatus.STARTING or bool(state_of(run))

    def _ended_lately(self) -> dict[str, float]:
        """When runs ended whose job may be left, by run."""
        lately = dg.RunsFilter(statuses=_OVER, updated_after=datetime.now(UTC) - _JUST_ENDED)
        records = self._instance.get_run_records(lately)
        return {
            record.dagster_run.run_id: record.end_time or record.update_timestamp.timestamp()
            for record in records
            if known_job(record.dagster_run)
        }

    def _look_after(self, run: dg.DagsterRun, job: SlurmJob | None, updated: datetime) -> None:
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
        is_left = (
            datetime.now(UTC) - updated.replace(tzinfo=updated.tzinfo or UTC)
        ).total_seconds() > _SUBMISSION_TAKES_S
        if state_of(run) != NOT_ANSWERED and not is_left:
            self._said[BEING_SUBMITTED] += 1
            return
        try:
            self._said["submitted" if self.jobs.submit(run) else "not taken"] += 1
        except SortAssetsError as error:
            self.jobs.fail(run, JobEnd.by(error))

    def _follow(self, run: dg.DagsterRun, job: SlurmJob, updated: datetime) -> None:
        self._said[job.state.lower()] += 1
        if run.status == dg.DagsterRunStatus.CANCELING:
            if state_of(run) != BEING_CANCELLED:  # Slurm did not answer, or somebody else reported it
                self.jobs.cancel(run, job)
            elif _seconds_since(updated) > _TIME_TO_END_S:
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
