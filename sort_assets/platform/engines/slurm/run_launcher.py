"""Dagster's run launcher for Slurm: a run is a job, in whose allocation the run worker executes all steps."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._config.config_schema import UserConfigSchema

# Without public names, though every run launcher is made of them (dagster-docker, dagster-k8s).
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from sort_assets.errors import EngineUnavailableError, SortAssetsError
from sort_assets.platform.engines.slurm.job_end import JobEnd
from sort_assets.platform.engines.slurm.run_jobs import RunJobs, job_name, state_of


class SlurmRunLauncher(RunLauncher, ConfigurableClass):
    """Submits runs to Slurm, and cancels their jobs.

    What becomes of a job, the sensor `slurm_jobs` notices (`run_watch`): Dagster's run monitoring would not ask about
    runs that wait in Slurm's queue.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """How the instance names this class."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No configuration: every host reads its own environment."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],  # noqa: ARG003 - there is none
    ) -> "SlurmRunLauncher":
        """The launcher."""
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Submit the job of a run; where Slurm does not answer, the sensor tries it again.

        A run whose job Slurm refuses has failed, with what Slurm said. Dagster would not say that.
        """
        jobs = RunJobs.of(self._instance)
        try:
            jobs.submit(context.dagster_run)
        except SortAssetsError as error:
            jobs.fail(context.dagster_run, JobEnd.by(error))

    def terminate(self, run_id: str) -> bool:
        """Cancel a run: a job that runs is told to end its run, one that waits is taken out of the queue."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        jobs = RunJobs.of(self._instance)
        if run.status != dg.DagsterRunStatus.CANCELING:
            self._instance.report_run_canceling(run)
        try:
            job = jobs.commands.find(job_name(run_id)) if state_of(run) else None
            if job is not None:
                jobs.cancel(run, job)
        except EngineUnavailableError as error:
            jobs.tell(run, f"The job can't be cancelled now; it is tried again until Slurm answers. {error}")
        else:
            if job is None or job.state == "PENDING":
                self._instance.report_run_canceled(run, "The run was cancelled before its job began.")
        return True

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """What Slurm last said of the job of a run."""
        state = state_of(run)
        return f"Slurm last said of its job: {state}." if state else None
