"""Steps that need a GPU as Slurm jobs of their own, while the run worker and the other steps stay where they are."""

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from sort_assets.errors import JobLostError
from sort_assets.platform.engines.slurm.commands import SlurmCommands
from sort_assets.platform.engines.slurm.step_jobs import cancel_left_over
from sort_assets.platform.execution.dead_runs import fail_dead_runs
from sort_assets.platform.store.dead_staging import leftovers
from sort_assets.platform.store.failures import failed_attempts
from sort_assets_tests.fixtures.home import materialize_words, staging_of
from sort_assets_tests.fixtures.postgres import PostgresServer
from sort_assets_tests.fixtures.slurm_cluster import SlurmCluster
from sort_assets_tests.fixtures.slurm_lab import SlurmLab, make_lab, timed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]


@dataclass(frozen=True)
class Ready:
    """A lab in which a recording is ready to be sorted."""

    lab: SlurmLab
    recording: str
    folder: Path

    def versions(self) -> list[str]:
        return self.lab.home.store.versions(self.recording, "sorting")

    def staging(self) -> list[Path]:
        return staging_of(self.lab.home, self.recording, "sorting")

    @contextmanager
    def run(self, *, seconds: float = 0.0, taken_bytes: int = 0, **sections: Mapping[str, Any]) -> Iterator["Run"]:
        """A run on the control host that sorts the recording; what is left of it ends with the block."""
        cluster = self.lab.cluster
        config = timed(seconds, taken_bytes=taken_bytes, **sections)
        words = materialize_words(self.recording, "sorting", config=config, config_file=self.folder / "run.json")
        with self.lab.home.instance() as instance:
            before = frozenset(run.run_id for run in instance.get_runs())
            left = frozenset(self.staging())
            worker = self.lab.home.start(*words, output=self.folder / "run.log")
            try:
                yield Run(self, instance, worker, before, left)
            finally:
                worker.kill()
                worker.wait()
                for job in _jobs_of_steps(cluster):
                    cluster.run("scancel", job)
                cluster.wait_for(lambda: not _jobs_of_steps(cluster), "the end of all jobs")


@dataclass(frozen=True)
class Run:
    """A run whose GPU step is a job."""

    ready: Ready
    instance: dg.DagsterInstance
    worker: "subprocess.Popen[bytes]"
    earlier: frozenset[str]
    left: frozenset[Path]
    """Staging folders that killed steps of earlier runs have left."""

    @property
    def records(self) -> list[dg.DagsterRun]:
        return [run for run in self.instance.get_runs() if run.run_id not in self.earlier]

    @property
    def record(self) -> dg.DagsterRun:
        (only,) = self.records
        return only

    def events(self, kind: dg.DagsterEventType) -> list[str]:
        """What events of the run say."""
        logged = [entry for run in self.records for entry in self.instance.all_logs(run.run_id, of_type=kind)]
        return [entry.dagster_event.message or "" for entry in logged if entry.dagster_event]

    def options(self) -> list[str]:
        """With what the jobs were submitted."""
        logged = self.instance.all_logs(self.record.run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTING)
        return [entry.dagster_event.event_specific_data.metadata["options"].value for entry in logged]  # type: ignore[union-attr]

    def failures(self, kind: dg.DagsterEventType) -> list[str]:
        """The errors with which attempts ended."""
        logged = self.instance.all_logs(self.record.run_id, of_type=kind)
        return [entry.dagster_event.event_specific_data.error.message for entry in logged]  # type: ignore[union-attr]

    def slots(self) -> list[Any]:
        return list(self.instance.event_log_storage.get_concurrency_info("gpu").claimed_slots)

    def wait_until_sorting(self) -> str:
        """Wait until the sort has begun; returns its job."""

        def has_begun() -> bool:
            return any(path.is_dir() for path in self.ready.staging() if path not in self.left)

        self.ready.lab.cluster.wait_for(has_begun, "the sort", 400)
        (job,) = _jobs_of_steps(self.ready.lab.cluster)
        return job

    def wait_for_job(self, state: str) -> str:
        """Wait until the step's job is in a state; returns it."""
        cluster = self.ready.lab.cluster
        cluster.wait_for(lambda: state in _jobs_of_steps(cluster).values(), f"a job that is {state}", 300)
        (job,) = _jobs_of_steps(cluster)
        return job

    def wait_for_words(self, words: str) -> None:
        """Wait until the log of the run says something."""

        def is_said() -> bool:
            return any(line.startswith(words) for line in self.events(dg.DagsterEventType.ENGINE_EVENT))

        self.ready.lab.cluster.wait_for(is_said, words, 300)

    def kill_step(self) -> None:
        """Kill the process of the step, on whichever node."""
        conf = self.ready.lab.cluster.environment["SLURM_CONF"]
        (found,) = [
            process
            for process in psutil.process_iter(["cmdline", "environ"])
            if "execute_step" in (process.info["cmdline"] or [])
            and (process.info["environ"] or {}).get("SLURM_CONF") == conf
        ]
        found.kill()

    def cancel(self) -> None:
        """Cancel the run as the UI does, and wait for its end."""
        self.instance.report_run_canceling(self.record)
        self.worker.send_signal(signal.SIGINT)
        self.wait()

    def wait(self, timeout: float = 300) -> int:
        return self.worker.wait(timeout=timeout)

    def output(self) -> str:
        return (self.ready.folder / "run.log").read_text()[-3000:]


def _jobs_of_steps(cluster: SlurmCluster) -> dict[str, str]:
    """The states of unfinished jobs of steps, by their id."""
    lines = cluster.run("squeue", "--noheader", "--format=%i %T %j").splitlines()
    return {job: state for job, state, name in map(str.split, lines) if name.startswith("sort_assets_step-")}


@pytest.fixture(scope="module")
def ready(
    slurm: SlurmCluster, postgres: PostgresServer, short_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ready:
    lab = make_lab(slurm, postgres.new_database(), "steps")
    lab.home.variables["SORT_ASSETS_SLURM_JOBS"] = "gpu_steps"  # type: ignore[index]
    folder = tmp_path_factory.mktemp("steps")
    with lab.home.environment():
        recording = lab.add(short_file, "one.nwb")
    words = materialize_words(
        recording, "preprocessed_recording", "binary_dat", config=timed(), config_file=folder / "run.json"
    )
    before = slurm.states()
    prepared = lab.home.command(*words, timeout=200)
    assert prepared.status == 0, prepared.output[-3000:]
    assert slurm.states() == before  # a CPU step is no job
    return Ready(lab, recording, folder)


@pytest.fixture
def two_busy_gpus(ready: Ready) -> Iterator[None]:
    """Other jobs have both GPUs of the cluster."""
    cluster = ready.lab.cluster
    others = [cluster.submit("sleep 600", "--gres=gpu:1") for _ in range(2)]
    cluster.wait_for(lambda: [cluster.states()[job] for job in others] == ["RUNNING"] * 2, "two busy GPUs")
    yield
    for job in others:
        cluster.run("scancel", job)
    cluster.wait_for(lambda: not cluster.unfinished(), "the end of all jobs")


def test_a_step_whose_process_is_killed_is_tried_again_in_another_job(ready: Ready) -> None:
    versions = set(ready.versions())

    with ready.run(seconds=9) as run:
        first = run.wait_until_sorting()
        ready.lab.cluster.wait_for(
            lambda: any(
                line.startswith(f"Slurm job {first} is running on n")
                for line in run.events(dg.DagsterEventType.ENGINE_EVENT)
            ),
            "where the job runs",
        )
        run.kill_step()
        status = run.wait()
        submitted = run.events(dg.DagsterEventType.STEP_WORKER_STARTING)
        run_id = run.record.run_id

    assert status == 0, run.output()
    assert len(submitted) == 2
    assert submitted[0] == f'Submitted "sorting" as Slurm job {first}.'
    assert len(set(ready.versions()) - versions) == 1
    (failed,) = failed_attempts(ready.lab.home.store, ready.recording, "sorting", run_id=run_id)
    assert type(failed.error) is JobLostError
    assert "ended by signal 9" in failed.error.message
    assert ready.staging() == []
    assert run.slots() == []


def test_when_the_run_worker_is_killed_the_job_ends_and_nothing_is_published(ready: Ready) -> None:
    versions = ready.versions()

    with ready.run(seconds=300) as run:
        run.wait_until_sorting()
        run.worker.kill()
        run.worker.wait()
        with ready.lab.home.environment():
            reported = fail_dead_runs(run.instance)
        cluster = ready.lab.cluster
        seconds = cluster.wait_for(lambda: not _jobs_of_steps(cluster), "the end of the job", 120)
        status = run.record.status
        materialized = run.events(dg.DagsterEventType.ASSET_MATERIALIZATION)
        run_id = run.record.run_id

    assert reported == [run_id]
    assert status == dg.DagsterRunStatus.FAILURE
    assert seconds < 120
    assert materialized == []
    assert run.slots() == []
    assert ready.versions() == versions
    assert ready.staging() == []


@pytest.mark.release
def test_a_job_that_reaches_its_time_limit_is_tried_once_more_with_twice_the_time(ready: Ready) -> None:
    with ready.run(seconds=95, resources={"sorting": {"gpus": 1, "time_limit_h": 1 / 60}}) as run:
        status = run.wait(500)
        options = run.options()
        retried = run.failures(dg.DagsterEventType.STEP_UP_FOR_RETRY)

    assert status == 0, run.output()
    assert ["--time=1 " in one for one in options] == [True, False]
    assert "--time=2 " in options[1]
    assert "was ended at its time limit of 00:01:00" in retried[0]
    assert "resources.sorting.time_limit_h" in retried[0]


@pytest.mark.release
def test_a_job_that_takes_too_much_memory_is_tried_again_with_more(ready: Ready) -> None:
    resources = {"sorting": {"gpus": 1, "memory_gb": 1.2}}

    with ready.run(seconds=15, taken_bytes=1_300_000_000, resources=resources) as run:
        status = run.wait(500)
        options = run.options()
        retried = run.failures(dg.DagsterEventType.STEP_UP_FOR_RETRY)

    assert status == 0, run.output()
    assert ["--mem=1145M " in one for one in options] == [True, False]
    assert "its request of 1.2 GB" in retried[0]


@pytest.mark.release
def test_a_job_that_somebody_cancels_by_hand_ends_the_run_and_is_not_tried_again(ready: Ready) -> None:
    with ready.run(seconds=300) as run:
        ready.lab.cluster.run("scancel", run.wait_until_sorting())
        exit_status = run.wait()
        failures = run.failures(dg.DagsterEventType.STEP_FAILURE)
        status = run.record.status

    assert exit_status != 0
    assert status == dg.DagsterRunStatus.FAILURE
    assert len(failures) == 1
    assert "was cancelled from outside (scancel)" in failures[0]
    assert run.slots() == []
    # Slurm calls a job cancelled also where its node does not answer: what it left is removed later; nobody writes it.
    folder = ready.lab.home.store.asset_folder(ready.recording, "sorting")
    assert set(leftovers(folder)) == set(ready.staging())


@pytest.mark.release
def test_when_a_node_is_lost_the_step_is_tried_again_on_the_other(ready: Ready) -> None:
    cluster = ready.lab.cluster
    with ready.run(seconds=10) as run:
        job = run.wait_until_sorting()
        node = cluster.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
        cluster.cut_off(node)
        try:
            status = run.wait(500)
            retried = run.failures(dg.DagsterEventType.STEP_UP_FOR_RETRY)
            said = run.events(dg.DagsterEventType.ENGINE_EVENT)
            run_id = run.record.run_id
        finally:
            cluster.restore(node)

    assert status == 0, run.output()
    assert len(retried) == 1
    assert "NODE_FAIL" in retried[0]
    (other,) = {"n1", "n2"} - {node}
    assert any(f"is running on {other}" in line for line in said)
    (failed,) = failed_attempts(ready.lab.home.store, ready.recording, "sorting", run_id=run_id)
    assert failed.host == node
    assert ready.staging() == []


@pytest.mark.release
@pytest.mark.usefixtures("two_busy_gpus")
def test_a_job_that_waits_in_the_queue_says_why_and_is_cancelled_with_its_run(ready: Ready) -> None:
    with ready.run() as run:
        job = run.wait_for_job("PENDING")
        run.wait_for_words(f"Slurm job {job} is pending: Resources.")
        run.cancel()
        status = run.record.status
        left = _jobs_of_steps(ready.lab.cluster)

    assert status == dg.DagsterRunStatus.CANCELED
    assert left == {}
    assert run.slots() == []


@pytest.mark.release
def test_a_step_that_runs_ends_with_its_cancelled_run(ready: Ready) -> None:
    with ready.run(seconds=300) as run:
        run.wait_until_sorting()
        run.cancel()
        status = run.record.status
        left = _jobs_of_steps(ready.lab.cluster)

    assert status == dg.DagsterRunStatus.CANCELED
    assert left == {}
    assert run.slots() == []
    assert ready.staging() == []


@pytest.mark.release
@pytest.mark.usefixtures("two_busy_gpus")
def test_the_waiting_job_of_a_run_whose_worker_died_is_cancelled_before_another_run_begins(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ready.lab.cluster.environment.items():
        monkeypatch.setenv(name, value)
    with ready.run() as run:
        job = run.wait_for_job("PENDING")
        run.worker.kill()
        run.worker.wait()
        with ready.lab.home.environment():
            fail_dead_runs(run.instance)

        cancelled = cancel_left_over(run.instance, SlurmCommands(), SlurmCommands().jobs())

    assert cancelled == [job]


@pytest.mark.release
def test_a_controller_that_is_away_for_a_while_loses_nothing(ready: Ready) -> None:
    cluster = ready.lab.cluster
    cluster.stop_controller()
    try:
        with ready.run() as run:
            try:
                run.wait_for_words("The step's job can't be submitted now; it is tried until Slurm takes it.")
            finally:
                cluster.start_controller()
            status = run.wait()
            submitted = run.events(dg.DagsterEventType.STEP_WORKER_STARTING)
    finally:
        cluster.wait_for(lambda: not cluster.unfinished(), "the end of all jobs")

    assert status == 0, run.output()
    assert len(submitted) == 1
