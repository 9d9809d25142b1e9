"""The job of a run is submitted, found by its name, and cancelled; what is known of it stands in tags of the run."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg

# Without public names, though every run launcher is made of them (dagster-docker, dagster-k8s).
from dagster._core.events import EngineEventData, JobFailureData, RunFailureReason
from dagster._grpc.types import ExecuteRunArgs
from dagster_shared.error import SerializableErrorInfo

from sort_assets.config.settings import Roots, read_environment
from sort_assets.errors import EngineUnavailableError, HostOutOfMemoryError, SortAssetsError
from sort_assets.platform.engines.slurm.commands import SlurmCommands, SlurmJob
from sort_assets.platform.engines.slurm.job_end import JobEnd, has_begun
from sort_assets.platform.engines.slurm.job_script import CANCEL_SIGNAL, job_script, prepare_log
from sort_assets.platform.engines.slurm.options import EXCLUDED_NODES_TAG, job_options
from sort_assets.platform.pipeline.run_requests import RunRequests
from sort_assets.platform.store.dead_staging import record_out_of_memory
from sort_assets.platform.store.store import Store

JOB_TAG = "sort_assets/slurm_job"
"""The id of the job and, since a retried run inherits its parent's tags, the run that it belongs to."""
STATE_TAG = "sort_assets/slurm_state"
"""What Slurm last said of the job: its state, with the reason why it is pending or the node on which it runs."""
BEING_SUBMITTED = "being submitted"
NOT_ANSWERED = "Slurm does not answer"
"""States of a run whose job has no id yet."""
BEING_CANCELLED = "being cancelled"
_NAME = "sort_assets-"
_NO_JOB = "none"
_BEGUN = ("IN_PROGRESS", "FAILURE")


@dataclass(frozen=True)
class RunJobs:
    """The jobs of the runs of an instance.

    Attributes
    ----------
    instance : dg.DagsterInstance
    commands : SlurmCommands
    """

    instance: dg.DagsterInstance
    commands: SlurmCommands

    @classmethod
    def of(cls, instance: dg.DagsterInstance) -> "RunJobs":
        """With Slurm as the environment says to reach it."""
        return cls(instance, SlurmCommands(read_environment().slurm_prefix.split()))

    def submit(self, run: dg.DagsterRun) -> bool:
        """Submit the job of a run; says whether Slurm took it. If it does not answer, that is to be tried again.

        Raises
        ------
        SortAssetsError
            When Slurm refuses the job, or it can't be made.
        """
        again = state_of(run) == NOT_ANSWERED
        self._note(run, _NO_JOB, BEING_SUBMITTED)
        roots = Roots.from_environment()
        log = prepare_log(roots.store, run.run_id)
        requests = RunRequests(self.instance, run)
        chosen = {name: str(value) for name, value in requests.settings.config.resources.slurm.items()}
        needs = requests.of_run(without_gpu_steps=read_environment().slurm_jobs == "runs_and_gpu_steps")
        options = {**job_options(needs, run, chosen), "output": "/dev/null", "no-requeue": "", "chdir": "/"}
        assert run.job_code_origin is not None  # Dagster submits no run without it
        words = ExecuteRunArgs(
            job_origin=run.job_code_origin,
            run_id=run.run_id,
            instance_ref=self.instance.get_ref(),
            set_exit_code_on_failure=True,
        ).get_command_args()
        script = job_script(run.run_id, words[words.index("api") :])
        try:
            # A job that Slurm took without an answer must not be followed by a second one.
            found = self.commands.find(job_name(run.run_id)) if again else None
            job = found.job if found else self.commands.submit(script, name=job_name(run.run_id), options=options)
        except EngineUnavailableError as error:
            self._note(run, _NO_JOB, NOT_ANSWERED)
            if not again:
                self.tell(run, f"The job can't be submitted now; it is tried again until Slurm takes it. {error}")
            return False
        self._note(run, job, "PENDING")
        asked = " ".join(f"--{name}={value}" if value else f"--{name}" for name, value in options.items())
        reasons = {name: dg.MetadataValue.text(why) for name, why in needs.why.items()}
        self.tell(
            run,
            f"Submitted as Slurm job {job}.",
            {"job": job, "options": asked, "log": dg.MetadataValue.path(str(log)), **reasons},
        )
        return True

    def cancel(self, run: dg.DagsterRun, job: SlurmJob) -> None:
        """Cancel the job of a run; one that is running gets to end its run by itself.

        Raises
        ------
        EngineUnavailableError
            When Slurm does not answer.
        """
        self.commands.cancel(job.job, with_signal=CANCEL_SIGNAL if has_begun(job) else "")
        self._note(run, job.job, BEING_CANCELLED)

    def tell(self, run: dg.DagsterRun, message: str, metadata: dict[str, dg.MetadataValue | str] | None = None) -> None:
        """Say something in the log of a run."""
        self.instance.report_engine_event(message, run, EngineEventData(metadata=dict(metadata or {})))

    def note_state(self, run: dg.DagsterRun, job: SlurmJob, state: str) -> None:
        """Remember what Slurm says of a job."""
        self._note(run, job.job, state)

    def fail(self, run: dg.DagsterRun, end: JobEnd, *, node: str = "") -> None:
        """Report the failure of a run, and remember what its retries should know.

        Parameters
        ----------
        run : dg.DagsterRun
        end : JobEnd
            With a failure.
        node : str
            Where the job ran.
        """
        assert end.error is not None
        if isinstance(end.error, HostOutOfMemoryError):
            try:
                self._record_out_of_memory(run, end.error, node)
            except (OSError, SortAssetsError) as problem:
                self.tell(run, f"That memory ran out can't be kept for the next attempt: {problem}")
        if end.unfit_node:
            self._leave_out(run, end.unfit_node)
        # Dagster tries no run again that failed because of a step, whatever else it tries again.
        reason = RunFailureReason.UNKNOWN if end.try_again else RunFailureReason.STEP_FAILURE
        error = SerializableErrorInfo(str(end.error), [], type(end.error).__name__)
        self.instance.report_run_failed(run, end.message, JobFailureData(error=error, failure_reason=reason))

    def _record_out_of_memory(self, run: dg.DagsterRun, error: HostOutOfMemoryError, node: str) -> None:
        """Keep it for the steps that were at work, or else for the first one: the run as a whole had the memory."""
        requests = RunRequests(self.instance, run)
        if requests.recording is None:
            return
        stats = self.instance.get_run_step_stats(run.run_id)
        begun = {one.step_key for one in stats if one.status is not None and one.status.value in _BEGUN}
        store = Store(Roots.from_environment().store)
        for asset in [one for one in requests.assets if one in begun] or requests.assets[:1]:
            record_out_of_memory(store, requests.recording, asset, run_id=run.run_id, error=error, host=node or None)

    def _leave_out(self, run: dg.DagsterRun, node: str) -> None:
        """Let the retries of a run, which inherit its tags, not start on a node."""
        nodes = [one for one in run.tags.get(EXCLUDED_NODES_TAG, "").split(",") if one]
        self.instance.add_run_tags(run.run_id, {EXCLUDED_NODES_TAG: ",".join(sorted({*nodes, node}))})

    def _note(self, run: dg.DagsterRun, job: str, state: str) -> None:
        self.instance.add_run_tags(run.run_id, {JOB_TAG: f"{job} of run {run.run_id[:8]}", STATE_TAG: state})


def job_name(run_id: str) -> str:
    """The name of the job of a run."""
    return f"{_NAME}{run_id}"


def run_of_job(job: SlurmJob) -> str | None:
    """The id of the run whose job this is; None of another's job."""
    return job.name.removeprefix(_NAME) if job.name.startswith(_NAME) else None


def known_job(run: dg.DagsterRun) -> str | None:
    """The id of a run's job; None while Slurm has not taken it, or for a run that is none."""
    job = run.tags.get(JOB_TAG, "").partition(" ")[0]
    return job if _is_own(run) and job != _NO_JOB else None


def state_of(run: dg.DagsterRun) -> str:
    """What Slurm last said of a run's job; empty for a run that has none."""
    return run.tags.get(STATE_TAG, "") if _is_own(run) else ""


def _is_own(run: dg.DagsterRun) -> bool:
    # A retried run has the tags of the run before it, until they are replaced.
    return run.tags.get(JOB_TAG, "").endswith(f" of run {run.run_id[:8]}")


def log_of(store: Path, run_id: str) -> str:
    """What the job of a run wrote; empty where that can't be read."""
    try:
        return prepare_log(store, run_id).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
