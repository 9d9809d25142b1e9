"""What the sensor `slurm_jobs` does, with programs that stand for Slurm's commands."""

from pathlib import Path

import dagster as dg
import pytest

from sort_assets.errors import EngineError
from sort_assets.platform.engines.slurm.commands import SlurmCommands
from sort_assets.platform.engines.slurm.run_jobs import JOB_TAG, STATE_TAG, RunJobs, job_name
from sort_assets.platform.engines.slurm.run_watch import RunWatch


@dg.op
def _nothing() -> None: ...


@dg.job
def _a_job() -> None:
    _nothing()


def _run_with_job(instance: dg.DagsterInstance, job: str) -> str:
    run = instance.create_run_for_job(_a_job, status=dg.DagsterRunStatus.STARTING)
    instance.add_run_tags(run.run_id, {JOB_TAG: f"{job} of run {run.run_id[:8]}", STATE_TAG: "PENDING"})
    return run.run_id


def _program(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)


def test_a_run_that_cannot_be_looked_after_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with dg.DagsterInstance.ephemeral() as instance:
        first, ended, last = (_run_with_job(instance, job) for job in "123")
        jobs = [f"1,RUNNING,{job_name(first)},n1,None", f"2,COMPLETED,{job_name(ended)},n1,None"]
        jobs.append(f"3,RUNNING,{job_name(last)},n2,None")
        _program(tmp_path, "squeue", "".join(f"echo {job}\n" for job in jobs))
        _program(tmp_path, "scontrol", "echo 'scontrol: error: out of order' >&2; exit 1")

        with pytest.raises(EngineError, match="1 of 3 runs could not be looked after") as told:
            RunWatch(RunJobs(instance, SlurmCommands())).look_after_all()

        states = [run.tags[STATE_TAG] for one in (first, last) if (run := instance.get_run_by_id(one)) is not None]
    assert ended[:8] in told.value.message
    assert states == ["RUNNING on n1", "RUNNING on n2"]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED])
def test_jobs_of_steps_that_are_left_of_runs_which_are_over_are_cancelled(
    status: dg.DagsterRunStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SORT_ASSETS_ENGINE", "slurm")
    monkeypatch.setenv("SORT_ASSETS_SLURM_JOBS", "gpu_steps")
    cancelled = tmp_path / "cancelled"
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(_a_job, status=status)
        other = instance.create_run_for_job(_a_job, status=dg.DagsterRunStatus.FAILURE)
        step = f"sort_assets_step-{run.run_id}-sorting"
        jobs = [f"1,PENDING,{step}-1,,Resources", f"2,RUNNING,{step}-2,n1,None", f"3,COMPLETED,{step}-3,n1,None"]
        jobs.append(f"4,RUNNING,sort_assets_step-{'0' * 36}-sorting-1,n1,None")  # of another Dagster instance
        _program(tmp_path, "squeue", "".join(f"echo {job}\n" for job in jobs))
        _program(tmp_path, "scancel", f'echo "${{@: -1}}" >> {cancelled}')

        said = RunWatch(RunJobs(instance, SlurmCommands())).look_after_all()

    assert other.run_id != run.run_id
    if status == dg.DagsterRunStatus.FAILURE:
        assert cancelled.read_text() == "1\n"  # the one that runs notices by itself that its run is over
        assert said == "Jobs: 1 cancelled, for the run is over."
    else:
        assert not cancelled.exists()
