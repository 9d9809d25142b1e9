"""How long recordings take on two nodes of a Slurm, against the ideal, and what a run costs beyond its sort.

    python -m benchmarks.slurm_makespan --recordings 8 --seconds 30 --pairs 2

It starts a PostgreSQL and a Slurm of two nodes with a GPU each on this machine, and ends them. The daemon of
`sort-assets up` launches the runs. The sorter sleeps for a known time, so that the numbers say what Slurm and Dagster
add, and not how fast the machine is. `--pairs` compares with the local engine: so many recordings are sorted with each
engine, one after the other.
"""

import argparse
import itertools
import math
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg

from benchmarks.rows import Row, Size
from sort_assets.platform.execution.executor import GPU_POOL
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.fixtures.graphql import WebServer
from sort_assets_tests.fixtures.home import staging_of
from sort_assets_tests.fixtures.postgres import PostgresServer, postgres_server
from sort_assets_tests.fixtures.ready import UPSTREAM
from sort_assets_tests.fixtures.servers import up
from sort_assets_tests.fixtures.slurm_cluster import NODES, SlurmCluster, running_slurm
from sort_assets_tests.fixtures.slurm_lab import SlurmLab, make_lab, timed

_LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchPipelineExecution(executionParams: $parameters) { __typename ... on LaunchRunSuccess { run { runId } } }
}
"""


@dataclass(frozen=True)
class Run:
    """When what happened to a run that sorts, in seconds since the epoch.

    Attributes
    ----------
    run_id : str
    launched, started, sorting, sorted, ended : float
        It was put into Dagster's queue, its worker began, its step began and succeeded, and the run ended.
    host : str
        The node that sorted.
    said : str
        What the run's log says.
    """

    run_id: str
    launched: float
    started: float
    sorting: float
    sorted: float
    ended: float
    host: str
    said: str

    def overhead_s(self, sort_s: float) -> float:
        """What the run took beyond its sort."""
        return self.ended - self.launched - sort_s


def rows(size: Size) -> Iterator[Row]:
    """The time between the first sort's start and the last one's end; only in the whole run, since it takes minutes."""
    recordings, sort_s = 8, 30.0
    what = f"Slurm, {recordings} sorts of {sort_s:g} s on {len(NODES)} nodes"
    if size != "full":
        return
    if not is_installed():
        yield Row(what, None, "x the ideal", None, "Slurm is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="slurm-makespan-") as temporary:
        folder = Path(temporary)
        source = _brief(folder)
        with postgres_server() as postgres, running_slurm() as cluster:
            lab = _lab(cluster, postgres, "lab")
            keys = add_ready(lab, source, recordings)
            with up(lab.home, folder / "up.log") as (server, _):
                runs = sort(lab, server, keys, sort_s)
        took_s = max(run.sorted for run in runs) - min(run.sorting for run in runs)
        note = "from the first sort's start to the last one's end; " + "; ".join(in_words(runs, sort_s))
        yield Row(what, took_s / _ideal_s(len(runs), sort_s), "x the ideal", None, note)


def is_installed() -> bool:
    """Whether this machine has Slurm's controller."""
    return shutil.which("slurmctld", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--pairs", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slurm-makespan-") as temporary:
        folder = Path(temporary)
        source = _brief(folder)
        with postgres_server() as postgres, running_slurm() as cluster:
            lab = _lab(cluster, postgres, "lab")
            keys = add_ready(lab, source, asked.pairs + asked.recordings)
            with up(lab.home, folder / "up.log") as (server, _):
                if asked.pairs:
                    local = _lab(cluster, postgres, "local")
                    local = replace(local, home=local.home.without("SORT_ASSETS_ENGINE"))
                    with up(local.home, folder / "local.log") as (other, _):
                        theirs = add_ready(local, source, asked.pairs)
                        _compare([(lab, server, keys), (local, other, theirs)], asked.pairs)
                runs = sort(lab, server, keys[asked.pairs :], asked.seconds)
            for line in in_words(runs, asked.seconds):
                print(line, flush=True)
            print(f"left: {left_of(lab, keys) or 'nothing'}")


def _brief(folder: Path) -> Path:
    recording, _ = make_ground_truth(duration_s=3.0, num_channels=4, num_units=2)
    return write_nwb(recording, folder / "brief.nwb")


def _ideal_s(recordings: int, sort_s: float) -> float:
    return math.ceil(recordings / len(NODES)) * sort_s


def add_ready(lab: SlurmLab, source: Path, number: int) -> list[str]:
    """Let recordings arrive, and materialize what comes before their sorting; returns their keys."""
    keys = [lab.add(source, f"makespan{one}.nwb") for one in range(number)]
    for key in keys:
        assert lab.home.materialize(key, *UPSTREAM, config=timed()).success
    return keys


def sort(lab: SlurmLab, server: WebServer, keys: Sequence[str], sort_s: float) -> list[Run]:
    """Launch a sort of each recording at the same time; returns the runs when all have succeeded."""
    launched = [_launch(server, key, sort_s) for key in keys]
    ended = [server.wait_for(run_id, 600 + len(keys) * sort_s) for run_id in launched]
    assert ended == ["SUCCESS"] * len(keys), ended
    with lab.home.instance() as instance:
        return [_run(lab, instance, run_id, key) for run_id, key in zip(launched, keys, strict=True)]


def in_words(runs: Sequence[Run], sort_s: float) -> Iterator[str]:
    """What was measured, as sentences."""
    first, last = min(run.launched for run in runs), max(run.ended for run in runs)
    begun, sorted_ = min(run.sorting for run in runs), max(run.sorted for run in runs)
    ideal_s = _ideal_s(len(runs), sort_s)
    per_node = {node: sum(run.host == node for run in runs) for node in NODES}
    yield f"{len(runs)} recordings, {len(NODES)} nodes, {sort_s:.0f} s each {_load()}: sorted on {per_node}"
    yield f"from the launch to the end of the last run: {last - first:.0f} s, ideal {ideal_s:.0f} s"
    yield (
        f"from the first sort's start to the last one's end: {sorted_ - begun:.0f} s, "
        f"{(sorted_ - begun) / ideal_s:.2f} of the ideal"
    )
    waits = sorted(
        later.sorting - earlier.sorted
        for node in NODES
        for earlier, later in itertools.pairwise(
            sorted((run for run in runs if run.host == node), key=lambda run: run.sorting)
        )
    )
    if waits:
        yield f"from a sort's end to the start of the next on its node: {statistics.median(waits):.1f} s (median)"
    yield f"runs that Slurm let wait, with its reason in their log: {sum('is pending' in run.said for run in runs)}"


def left_of(lab: SlurmLab, keys: Sequence[str]) -> str:
    """What runs that have ended left behind: jobs, folders in which results are made, and slots; empty for nothing."""
    lab.cluster.wait_for(lambda: not lab.cluster.unfinished(), "the end of all jobs")
    staged = [str(folder) for key in keys for folder in staging_of(lab.home, key, "sorting")]
    with lab.home.instance() as instance:
        pool = instance.event_log_storage.get_concurrency_info(GPU_POOL)
    slots = [f"{pool.active_slot_count} slots"] if pool.active_slot_count else []
    return ", ".join([*staged, *slots])


def _lab(cluster: SlurmCluster, postgres: PostgresServer, name: str) -> SlurmLab:
    lab = make_lab(cluster, postgres.new_database(), name)
    sys.path.insert(0, lab.home.variables["PYTHONPATH"].split(os.pathsep)[0])  # until this process ends
    return lab


def _compare(engines: Sequence[tuple[SlurmLab, WebServer, Sequence[str]]], pairs: int) -> None:
    """Sort with one engine after the other, and print what runs took beyond their sort."""
    sort_s = 5.0
    runs: list[list[Run]] = [[] for _ in engines]
    for pair in range(pairs):
        for (lab, server, keys), measured in zip(engines, runs, strict=True):
            measured += sort(lab, server, keys[pair : pair + 1], sort_s)
    for name, measured in zip(("Slurm", "local engine"), runs, strict=True):
        overheads = [run.overhead_s(sort_s) for run in measured]
        parts = {
            "until the run's worker has started": [run.started - run.launched for run in measured],
            "until its step has": [run.sorting - run.started for run in measured],
            "in the step": [run.sorted - run.sorting - sort_s for run in measured],
            "after it": [run.ended - run.sorted for run in measured],
        }
        shown = ", ".join(f"{part} {statistics.median(took):.1f} s" for part, took in parts.items())
        print(
            f"{name}: {statistics.median(overheads):.1f} s per run beyond its sort "
            f"({', '.join(f'{one:.1f}' for one in overheads)}); {shown} (medians) {_load()}",
            flush=True,
        )


def _launch(server: WebServer, key: str, sort_s: float) -> str:
    location = {"repositoryLocationName": "sort_assets", "repositoryName": "__repository__"}
    parameters = {
        "selector": {**location, "pipelineName": "sort_recording", "assetSelection": [{"path": ["sorting"]}]},
        "runConfigData": {"resources": {"backend": {"config": timed(sort_s)}}},
        "mode": "default",
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": key}]},
    }
    return str(server.ask(_LAUNCH, parameters=parameters)["launchPipelineExecution"]["run"]["runId"])


def _run(lab: SlurmLab, instance: dg.DagsterInstance, run_id: str, key: str) -> Run:
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run_id]))
    events = [entry for entry in instance.all_logs(run_id) if entry.dagster_event]
    at = {entry.dagster_event_type: entry.timestamp for entry in events}
    assert record.start_time is not None
    assert record.end_time is not None
    return Run(
        run_id,
        record.create_timestamp.timestamp(),
        record.start_time,
        at[dg.DagsterEventType.STEP_START],
        at[dg.DagsterEventType.STEP_SUCCESS],
        record.end_time,
        lab.home.store.artefact(key, "sorting").manifest.host,
        "\n".join(entry.dagster_event.message or "" for entry in events if entry.dagster_event),
    )


def _load() -> str:
    return f"[load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores]"


if __name__ == "__main__":
    main()
