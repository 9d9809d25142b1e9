"""How long GPUs are held against how long they are used, with a Slurm job for each run and with one for each GPU step.

    python -m benchmarks.slurm_gpu_steps --recordings 2 --sort-seconds 30

Starts a Slurm of two nodes with a declared GPU each, and a PostgreSQL, as the tests do. The sorter sleeps for the given
time and then finds spikes by a threshold: only while it does is a GPU counted as used. Prints a table, and the load of
the machine: seconds are those of a busy machine, ratios are what counts.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import dagster as dg

from benchmarks.rows import Row, Size
from benchmarks.slurm_makespan import is_installed
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.postgres import postgres_server
from sort_assets_tests.fixtures.slurm_cluster import SlurmCluster, running_slurm
from sort_assets_tests.fixtures.slurm_lab import SlurmLab, make_lab, timed

MODES = ("runs", "runs_and_gpu_steps")
SORT = "sorting"
_LONGEST_S = 1800.0


@dataclass(frozen=True)
class _GpuJob:
    """A job that had a GPU, and when it began and ended, in seconds since 1970."""

    name: str
    start: float
    end: float


@dataclass
class Measured:
    """What was seen of a number of runs.

    Attributes
    ----------
    mode : str
        The value of SORT_ASSETS_SLURM_JOBS.
    makespan_s : float
        From the first launch to the end of the last run.
    held_s : float
        Seconds for which jobs had a GPU, of all jobs together.
    used_s : float
        Seconds for which the sorter sorted, of all runs together.
    start_s : dict
        For each step, seconds from its launch to its start in every run; without the time that its job waited in the
        queue.
    """

    mode: str
    makespan_s: float
    held_s: float
    used_s: float
    start_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def row(self) -> str:
        others = [seconds for step, all_s in self.start_s.items() if step != SORT for seconds in all_s]
        return (
            f"| `{self.mode}` | {self.makespan_s:.0f} | {self.held_s:.0f} | {self.used_s:.0f} | "
            f"{self.used_s / self.held_s:.0%} | {statistics.mean(self.start_s[SORT]):.1f} | "
            f"{statistics.mean(others):.1f} |"
        )


HEADER = (
    "| jobs | makespan (s) | GPU held (s) | GPU used (s) | used of held | start of a GPU step (s) | of another (s) |\n"
    "|---|---|---|---|---|---|---|"
)


def measure(mode: str, *, recordings: int, sort_seconds: float, assets: tuple[str, ...] = ()) -> Measured:
    """Sort recordings in a Slurm of its own, and measure that."""
    with _lab(mode) as lab, lab.home.instance() as instance:
        with tempfile.TemporaryDirectory() as folder:
            source = write_nwb(make_ground_truth(duration_s=10.0)[0], Path(folder) / "source.nwb")
            keys = [lab.add(source, f"day{number}.nwb") for number in range(recordings)]
        # A core for each job, so that the runs do not keep their own GPU steps out of the nodes.
        config = timed(sort_seconds, resources={"run": {"cpus": 1}, SORT: {"gpus": 1, "cpus": 1}})
        began = time.monotonic()
        run_ids = [lab.launch(instance, key, *assets, config=config) for key in keys]
        jobs = _wait(lab, instance, run_ids)
        makespan_s = time.monotonic() - began
        starts: dict[str, list[float]] = {}
        for run_id in run_ids:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            if run.status != dg.DagsterRunStatus.SUCCESS:
                raise RuntimeError(f"Run {run_id} is {run.status.value}.")
            for step, seconds in _starts(instance, run_id, jobs).items():
                starts.setdefault(step, []).append(seconds)
    return Measured(mode, makespan_s, sum(job.end - job.start for job in jobs), recordings * sort_seconds, starts)


@contextmanager
def _lab(mode: str) -> Iterator[SlurmLab]:
    with ExitStack() as started:
        cluster = started.enter_context(running_slurm())
        server = started.enter_context(postgres_server())
        lab = make_lab(cluster, server.new_database(), mode)
        lab.home.variables["SORT_ASSETS_SLURM_JOBS"] = mode  # type: ignore[index]
        started.enter_context(lab.home.environment())
        yield lab


def _wait(lab: SlurmLab, instance: dg.DagsterInstance, run_ids: list[str]) -> list[_GpuJob]:
    """Wait for the end of runs; returns the jobs that had a GPU."""
    gives_up = time.monotonic() + _LONGEST_S
    jobs: dict[str, _GpuJob] = {}
    while True:
        lab.watch(instance).look_after_all()
        jobs |= _gpu_jobs(lab.cluster)  # again and again, since Slurm forgets them
        runs = [instance.get_run_by_id(run_id) for run_id in run_ids]
        if all(run is not None and run.is_finished for run in runs) and not lab.cluster.unfinished():
            return list((jobs | _gpu_jobs(lab.cluster)).values())
        if time.monotonic() > gives_up:
            raise TimeoutError(f"The runs have not ended within {_LONGEST_S:.0f} s.")
        time.sleep(1)


def _gpu_jobs(cluster: SlurmCluster) -> dict[str, _GpuJob]:
    """The jobs with a GPU that are over and that Slurm remembers, by their id."""
    lines = cluster.run("squeue", "--noheader", "--states=CD,F,TO,CA,NF,OOM", "--format=%i %S %e %b %j").splitlines()
    return {
        job: _GpuJob(name, datetime.fromisoformat(start).timestamp(), datetime.fromisoformat(end).timestamp())
        for job, start, end, asked, name in map(str.split, lines)
        if "gpu" in asked and start != "N/A"
    }


def _starts(instance: dg.DagsterInstance, run_id: str, jobs: list[_GpuJob]) -> dict[str, float]:
    """Seconds from launch to start of each step; of a step that is a job, from the start of the job."""
    launched: dict[str, float] = {}
    started: dict[str, float] = {}
    for entry in instance.all_logs(run_id):
        if entry.dagster_event is None or entry.step_key is None:
            continue
        kind = entry.dagster_event.event_type
        if kind == dg.DagsterEventType.STEP_WORKER_STARTING:
            own = [job.start for job in jobs if f"{run_id}-{entry.step_key}-" in job.name]
            launched[entry.step_key] = max([entry.timestamp, *own])
        elif kind == dg.DagsterEventType.STEP_START:
            started[entry.step_key] = entry.timestamp
    return {step: started[step] - launched[step] for step in started}


def rows(size: Size) -> Iterator[Row]:
    """The part of the time that GPUs are held in which they are used; only in the whole run, since it takes minutes."""
    for mode in MODES if size == "full" else ():
        if not is_installed():
            yield Row(f"Slurm, {mode}", None, "of the time that GPUs are held", None, "Slurm is not installed")
            continue
        measured = measure(mode, recordings=2, sort_seconds=30.0)
        note = f"used {measured.used_s:.0f} s of {measured.held_s:.0f} s; makespan {measured.makespan_s:.0f} s"
        yield Row(f"Slurm, {mode}", measured.used_s / measured.held_s, "of the time that GPUs are held", None, note)


def main() -> None:
    """Measure both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=2)
    parser.add_argument("--sort-seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    print(HEADER)
    for mode in MODES:
        measured = measure(mode, recordings=arguments.recordings, sort_seconds=arguments.sort_seconds)
        print(measured.row, flush=True)
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
