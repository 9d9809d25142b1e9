"""Steps that need a GPU as Slurm jobs of their own, while the run worker and the other steps stay where they are."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from sort_assets_tests.fixtures.home import materialize_words
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

    @contextmanager
    def run(self, *, seconds: float = 0.0, **sections: dict[str, object]) -> Iterator["Run"]:
        """A run on the control host that sorts the recording; what is left of it ends with the block."""
        words = materialize_words(
            self.recording, "sorting", config=timed(seconds, **sections), config_file=self.folder / "run.json"
        )
        with self.lab.home.instance() as instance:
            worker = self.lab.home.start(*words, output=self.folder / "run.log")
            try:
                yield Run(self, instance, worker)
            finally:
                worker.kill()
                worker.wait()
                for job in self.lab.cluster.unfinished():
                    self.lab.cluster.run("scancel", job)
                self.lab.cluster.wait_for(lambda: not self.lab.cluster.unfinished(), "the end of all jobs")


@dataclass(frozen=True)
class Run:
    """A run whose GPU step is a job."""

    ready: Ready
    instance: dg.DagsterInstance
    worker: "subprocess.Popen[bytes]"

    @property
    def record(self) -> dg.DagsterRun:
        (newest,) = self.instance.get_runs(limit=1)
        return newest

    def events(self, *kinds: dg.DagsterEventType) -> list[str]:
        logged = self.instance.all_logs(self.record.run_id, of_type=set(kinds))
        return [entry.dagster_event.message or "" for entry in logged if entry.dagster_event]

    def wait_until_sorting(self) -> str:
        """Wait until the sort has begun; returns its job."""
        staging = self.ready.lab.home.store.asset_folder(self.ready.recording, "sorting")
        self.ready.lab.cluster.wait_for(lambda: any(staging.glob(".staging-*/sorter*")), "the sort", 90)
        (job,) = self.ready.lab.cluster.unfinished()
        return job

    def wait(self) -> int:
        return self.worker.wait(timeout=120)


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
    prepared = lab.home.command(*words, timeout=200)
    assert prepared.status == 0, prepared.output[-3000:]
    return Ready(lab, recording, folder)


def test_only_the_sort_is_a_job_and_the_run_succeeds(ready: Ready) -> None:
    with ready.run() as run:
        status = run.wait()

        starting = run.events(dg.DagsterEventType.STEP_WORKER_STARTING)
        said = run.events(dg.DagsterEventType.ENGINE_EVENT)
    print(starting, said)
    assert status == 0, (ready.folder / "run.log").read_text()[-3000:]
