"""How long recordings take on 2 declared GPUs of a Ray, against the ideal.

    python -m benchmarks.bench ray_makespan --size full

It starts a Ray of a head and two nodes on this machine, and ends it. The sorter sleeps for a known time, so that the
numbers say what Ray and Dagster add, and not how fast the machine is.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from benchmarks.rows import Row, Size
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.faults import misbehaving_sorter
from sort_assets_tests.fixtures.home import IN_PROCESS, Home, make_home, materialize_words
from sort_assets_tests.fixtures.ray_cluster import RayNode, node_environment, running_ray
from sort_assets_tests.fixtures.ready import UPSTREAM
from sort_assets_tests.platform.engines.ray.runs import on_ray, slow_sort

RECORDINGS: dict[Size, int] = {"small": 2, "usual": 0, "full": 8}
SORT_S: dict[Size, float] = {"small": 2.0, "usual": 0.0, "full": 60.0}
GPUS = 2


def rows(size: Size) -> Iterator[Row]:
    """How long the recordings take by the ideal; only in the whole run, since it takes minutes."""
    if RECORDINGS[size]:
        with tempfile.TemporaryDirectory(prefix="ray-makespan-") as temporary:
            yield from _measure(Path(temporary), RECORDINGS[size], SORT_S[size])


def _measure(folder: Path, recordings: int, sort_s: float) -> Iterator[Row]:
    plugin = _install(folder / "site-packages")
    recording, _ = make_ground_truth(duration_s=10.0, num_channels=4, num_units=2)
    source = write_nwb(recording, folder / "short.nwb")
    home = make_home(folder / "home")
    keys = [home.register(home.link(source, f"r{number}.nwb")) for number in range(recordings)]
    for key in keys:
        assert home.materialize(key, *UPSTREAM, config=IN_PROCESS).success
    nodes = [RayNode(f"gpu{number}", 2, 1, node_environment(plugin)) for number in range(1, GPUS + 1)]
    with running_ray(*nodes, head_environment=node_environment(plugin)) as cluster:
        home = on_ray(home, cluster)
        with home.instance() as instance:
            instance.event_log_storage.set_concurrency_slots("gpu", GPUS)
        began = time.time()
        config = slow_sort("hang", seconds=sort_s)
        runs = [
            home.start(
                *materialize_words(key, "sorting", config=config, config_file=folder / f"{key}.json"),
                output=folder / f"{key}.log",
                python_path=plugin,
            )
            for key in keys
        ]
        assert [run.wait(timeout=3600) for run in runs] == [0] * recordings
        yield from _figures(home, time.time() - began, recordings, sort_s)


def _install(folder: Path) -> Path:
    info = folder / "misbehaving_sorter-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "misbehaving_sorter.py").write_text(Path(misbehaving_sorter.__file__).read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving-sorter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sort_assets.backends]\nmisbehaving = misbehaving_sorter:MisbehavingBackend\n"
    )
    return folder


def _figures(home: Home, makespan_s: float, recordings: int, sort_s: float) -> Iterator[Row]:
    kinds = {
        dg.DagsterEventType.STEP_WORKER_STARTING,
        dg.DagsterEventType.STEP_WORKER_STARTED,
        dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.STEP_SUCCESS,
    }
    starts, sorts = [], []
    with home.instance() as instance:
        for run in instance.get_runs(limit=recordings):
            at = {entry.dagster_event_type: entry.timestamp for entry in instance.all_logs(run.run_id, of_type=kinds)}
            starts.append(at[dg.DagsterEventType.STEP_START] - at[dg.DagsterEventType.STEP_WORKER_STARTING])
            sorts.append((at[dg.DagsterEventType.STEP_START], at[dg.DagsterEventType.STEP_SUCCESS]))
    ideal_s = recordings * sort_s / GPUS
    busy_s = sum(end - start for start, end in sorts)
    took_s = max(end for _, end in sorts) - min(start for start, _ in sorts)
    what = f"Ray, {recordings} sorts of {sort_s:g} s on {GPUS} GPUs"
    yield Row(f"{what}, from launch to end", makespan_s / ideal_s, "x the ideal", None, f"{makespan_s:.0f} s")
    yield Row(f"{what}, from the first sort's start to the last one's end", took_s / ideal_s, "x the ideal")
    yield Row(f"{what}, part of that in which the GPUs had a sort", busy_s / GPUS / took_s, "of the time")
    yield Row(f"{what}, from a job's submission to its step's start", statistics.median(starts), "s", None, "median")
