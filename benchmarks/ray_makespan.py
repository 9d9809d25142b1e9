"""How long 8 recordings take on 2 declared GPUs of a Ray, against the ideal.

Run `python -m benchmarks.ray_makespan`: it starts a Ray of a head and two nodes on this machine, and ends it. The
sorter sleeps for a known time, so that the numbers say what Ray and Dagster add, and not how fast the machine is.
"""

import tempfile
import time
from pathlib import Path

import dagster as dg

from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.faults import misbehaving_sorter
from sort_assets_tests.fixtures.home import IN_PROCESS, Home, make_home, materialize_words
from sort_assets_tests.fixtures.ray_cluster import RayNode, node_environment, running_ray
from sort_assets_tests.fixtures.ready import UPSTREAM
from sort_assets_tests.platform.engines.ray.runs import on_ray, slow_sort

SORT_S = 60
RECORDINGS = 8
GPUS = 2


def main() -> None:
    """Measure, and print."""
    folder = Path(tempfile.mkdtemp(prefix="ray-makespan-"))
    plugin = _install(folder / "site-packages")
    recording, _ = make_ground_truth(duration_s=10.0, num_channels=4, num_units=2)
    source = write_nwb(recording, folder / "short.nwb")
    home = make_home(folder / "home")
    keys = [home.register(home.link(source, f"r{number}.nwb")) for number in range(RECORDINGS)]
    for key in keys:
        assert home.materialize(key, *UPSTREAM, config=IN_PROCESS).success
    nodes = [RayNode(f"gpu{number}", 2, 1, node_environment(plugin)) for number in range(1, GPUS + 1)]
    with running_ray(*nodes, head_environment=node_environment(plugin)) as cluster:
        home = on_ray(home, cluster)
        with home.instance() as instance:
            instance.event_log_storage.set_concurrency_slots("gpu", GPUS)
        began = time.time()
        config = slow_sort("hang", seconds=SORT_S)
        runs = [
            home.start(
                *materialize_words(key, "sorting", config=config, config_file=folder / f"{key}.json"),
                output=folder / f"{key}.log",
                python_path=plugin,
            )
            for key in keys
        ]
        assert [run.wait(timeout=3600) for run in runs] == [0] * RECORDINGS
        _print(home, time.time() - began)


def _install(folder: Path) -> Path:
    info = folder / "misbehaving_sorter-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "misbehaving_sorter.py").write_text(Path(misbehaving_sorter.__file__).read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving-sorter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sort_assets.backends]\nmisbehaving = misbehaving_sorter:MisbehavingBackend\n"
    )
    return folder


def _print(home: Home, makespan_s: float) -> None:
    kinds = {
        dg.DagsterEventType.STEP_WORKER_STARTING,
        dg.DagsterEventType.STEP_WORKER_STARTED,
        dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.STEP_SUCCESS,
    }
    starts, sorts = [], []
    with home.instance() as instance:
        for run in instance.get_runs(limit=RECORDINGS):
            at = {entry.dagster_event_type: entry.timestamp for entry in instance.all_logs(run.run_id, of_type=kinds)}
            starts.append(at[dg.DagsterEventType.STEP_START] - at[dg.DagsterEventType.STEP_WORKER_STARTING])
            sorts.append((at[dg.DagsterEventType.STEP_START], at[dg.DagsterEventType.STEP_SUCCESS]))
    ideal_s = RECORDINGS * SORT_S / GPUS
    busy_s = sum(end - start for start, end in sorts)
    first, last = min(start for start, _ in sorts), max(end for _, end in sorts)
    print(f"{RECORDINGS} recordings, {GPUS} GPUs, {SORT_S} s each: {makespan_s:.0f} s, ideal {ideal_s:.0f} s")
    print(f"from the first sort's start to the last one's end: {last - first:.0f} s")
    print(f"part of that in which the GPUs had a sort: {busy_s / GPUS / (last - first):.2f}")
    print(f"from a job's submission to its step's start: {sorted(starts)[len(starts) // 2]:.1f} s (median)")


if __name__ == "__main__":
    main()
