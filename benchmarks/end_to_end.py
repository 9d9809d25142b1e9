"""The platform against a plain SpikeInterface script, on one synthetic recording, in turn, in the same run.

    python -m benchmarks.bench end_to_end
    python -m benchmarks.end_to_end --minutes 2 --channels 32 --rounds 2

Both filter the recording, write it, sort it, and give waveforms, all metrics and curated units. The platform does what
a run of it does, in Dagster, on an instance of its own: manifests, figures, checks and checksums are in its figures.
Its report and its delivery are not, since the script has nothing like them. SpikeInterface compiles its metrics in
every process: this is part of the script's time, and the platform keeps what is compiled. Each side finds what the
round before has kept of its compiled code: the first round of all may pay for compiling.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spikeinterface.comparison import compare_sorter_to_ground_truth
from spikeinterface.core import BaseSorting, load

from benchmarks.machine import CHECKOUT
from benchmarks.process_tree import BenchmarkError, Used, measure
from benchmarks.rows import Aim, Row, Size, at_most
from sort_assets.config.layers import ConfigLayer, resolve_config
from sort_assets.config.settings import DAGSTER_HOME_VARIABLE, LEASES_VARIABLE, RECORDINGS_VARIABLE, STORE_VARIABLE
from sort_assets.machine.cores import usable_cores
from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.platform.execution.home import open_instance, prepare_home
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb

COMPARED = PIPELINE[: PIPELINE.index("curated_units") + 1]
"""The assets that the script has too."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
KILOSORT: Mapping[str, Any] = {"preset": "kilosort4_few_channels"}
CHEAP: Mapping[str, Any] = {
    "preset": "mountainsort5",
    "sorter": {"params": {"scheme": "1", "npca_per_channel": 1}},
    "execution": {"isolation": "in_process"},
}
"""A sort that takes seconds, for the tests."""


@dataclass(frozen=True)
class Setting:
    """What is sorted, how often, and how.

    Attributes
    ----------
    minutes : float
    channels : int
        There is a unit for every second one. At least 11, for the detection of bad channels by coherence.
    rounds : int
        They begin in turn with either side.
    config : mapping
        The backend's run config.
    jobs : int
        Threads and workers, of both sides.
    """

    minutes: float
    channels: int
    rounds: int = 1
    config: Mapping[str, Any] = field(default_factory=lambda: KILOSORT)
    jobs: int = usable_cores()

    def __str__(self) -> str:
        return f"{self.minutes:g} min x {self.channels} channels"


@dataclass(frozen=True)
class Sorted:
    """What one side took and found.

    Attributes
    ----------
    used : Used
    steps : dict
        Seconds of each step, by the asset's name.
    accuracy : float
        Mean over the true units, of the sort before curation.
    """

    used: Used
    steps: dict[str, float]
    accuracy: float


Side = Callable[[Path, Path, Setting], tuple[Used, dict[str, float], BaseSorting]]
SETTINGS: dict[Size, tuple[tuple[Setting, Aim | None], ...]] = {
    "small": ((Setting(minutes=0.1, channels=12, config=CHEAP), None),),
    "usual": ((Setting(minutes=2, channels=32), at_most(1.05)),),
    "full": ((Setting(minutes=2, channels=32, rounds=3), at_most(1.05)), (Setting(10, 32, 2), at_most(1.02))),
}


def rows(size: Size) -> Iterator[Row]:
    """Wall, CPU, memory, reading, writing and accuracy of both."""
    for setting, aim in SETTINGS[size]:
        yield from compare(setting, {"platform": run_platform, "script": run_plain}, aim)


def compare(setting: Setting, sides: Mapping[str, Side], aim: Aim | None) -> Iterator[Row]:
    """Let two sides sort the same recording in turn; the rows are the first one's figures by the other's."""
    rounds = list(sort_in_turn(setting, sides))
    one, other = sides
    ratio_to = f"x the {other}"

    def row(what: str, of: Callable[[Sorted], float], unit: str, aim: Aim | None = None) -> Row:
        ratio = statistics.median(of(each[one]) / max(of(each[other]), 1e-9) for each in rounds)
        parts = " and ".join(f"{of(each[one]):.1f} by {of(each[other]):.1f}" for each in rounds)
        return Row(f"{setting}, {what}", ratio, ratio_to, aim, f"{one} by {other}, in {unit}: {parts}")

    busy = " and ".join(f"{each[side].used.others_cores:.1f}" for each in rounds for side in sides)
    wall = row("wall time", lambda each: each.used.wall_s, "s", aim)
    yield Row(wall.name, wall.figure, wall.unit, wall.aim, f"{wall.note}; cores that others used: {busy}")
    yield row("CPU time", lambda each: each.used.cpu_s, "s", aim)
    yield row("memory, peak of all processes", lambda each: each.used.memory_mb, "MB (PSS)")
    yield row("handed to read()", lambda each: each.used.read_mb, "MB")
    yield row("handed to write()", lambda each: each.used.written_mb, "MB")
    yield row("written to the disk", lambda each: each.used.to_disk_mb, "MB")
    if all("sorting" in each[side].steps for each in rounds for side in sides):
        yield _more_beside_the_sort(setting, rounds, one, other)
    found = {side: statistics.mean(each[side].accuracy for each in rounds) for side in sides}
    note = ", ".join(f"{side} {accuracy:.4f}" for side, accuracy in found.items())
    yield Row(f"{setting}, mean accuracy", found[one] - found[other], f"more than the {other}", None, note)


def _more_beside_the_sort(setting: Setting, rounds: Sequence[Mapping[str, Sorted]], one: str, other: str) -> Row:
    def beside(found: Sorted) -> float:
        return found.used.wall_s - found.steps["sorting"]

    more = statistics.median(beside(each[one]) - beside(each[other]) for each in rounds)
    steps = {
        name: " and ".join(f"{each[one].steps[name]:.1f} by {each[other].steps[name]:.1f}" for each in rounds)
        for name in rounds[0][one].steps
        if all(name in each[other].steps for each in rounds)
    }
    note = f"{one} by {other}, s: " + ", ".join(f"{name} {seconds}" for name, seconds in steps.items())
    return Row(f"{setting}, more time beside the sort", more, "s", None, note)


def sort_in_turn(setting: Setting, sides: Mapping[str, Side]) -> Iterator[dict[str, Sorted]]:
    """Make the recording, and let the sides sort it, in every round the other one first."""
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(setting.jobs))
    with tempfile.TemporaryDirectory(prefix="sort_assets-end-to-end-") as work:
        nwb = Path(work) / "recordings" / "ground_truth.nwb"
        nwb.parent.mkdir()
        units = setting.channels // 2
        recording, truth = make_ground_truth(60 * setting.minutes, setting.channels, units, lazy=True)
        write_nwb(recording, nwb)
        order = list(sides)
        for _ in range(setting.rounds):
            found = {}
            with tempfile.TemporaryDirectory(dir=work) as folder:
                for side in order:
                    (Path(folder) / side).mkdir()
                    os.sync()  # What was written before is not to be paid for now.
                    used, steps, sorting = sides[side](nwb, Path(folder) / side, setting)
                    found[side] = Sorted(used, steps, mean_accuracy(truth, sorting))
            yield found
            order.reverse()


def run_platform(nwb: Path, folder: Path, setting: Setting) -> tuple[Used, dict[str, float], BaseSorting]:
    """Register the recording on an instance of its own, and materialize its assets as `dagster` does."""
    home, store = folder / "home", folder / "store"
    os.environ |= {DAGSTER_HOME_VARIABLE: str(home), STORE_VARIABLE: str(store), RECORDINGS_VARIABLE: str(nwb.parent)}
    os.environ[LEASES_VARIABLE] = str(folder / "leases")  # so that nobody else's sort is waited for
    with contextlib.chdir(CHECKOUT):  # where the instance's settings are found
        roots = prepare_home()
    execution = {**setting.config.get("execution", {}), "n_jobs": setting.jobs}
    config = {"resources": {"backend": {"config": {**setting.config, "execution": execution}}}}
    (home / "run.yaml").write_text(json.dumps(config), encoding="utf-8")
    with open_instance() as instance:
        (registered,) = register_recording(instance, nwb, roots)
        command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "sort_assets.definitions"]
        command += ["--select", ",".join(COMPARED), "--partition", registered.key, "-c", str(home / "run.yaml")]
        used = measure(command, folder / "platform.log")
        (run,) = instance.get_runs()
        stats = instance.get_run_step_stats(run.run_id)
    steps = {each.step_key: each.end_time - each.start_time for each in stats if each.start_time and each.end_time}
    return used, _complete(steps), StoredSorting(roots, registered.key).load()


def run_plain(nwb: Path, folder: Path, setting: Setting) -> tuple[Used, dict[str, float], BaseSorting]:
    """Run the plain script with the configuration that the platform resolves, and SpikeInterface's usual chunks."""
    chosen = {name: fields for name, fields in setting.config.items() if name != "preset"}
    settings = resolve_config(setting.config["preset"], [ConfigLayer("the benchmark", chosen)]).config.model_dump_json()
    job_kwargs = {"n_jobs": setting.jobs, "chunk_duration": "1s", "pool_engine": "process"}
    command = [sys.executable, "-P", str(CHECKOUT / "benchmarks/plain_spikeinterface.py")]
    used = measure([*command, str(nwb), str(folder), settings, json.dumps(job_kwargs)], folder / "script.log")
    steps = json.loads((folder / "steps.json").read_text(encoding="utf-8"))
    return used, _complete({name: end - begin for name, (begin, end) in steps.items()}), load(folder / "sorting")


def _complete(steps: dict[str, float]) -> dict[str, float]:
    if missing := set(COMPARED) - set(steps):
        raise BenchmarkError(f"These steps did not end: {', '.join(sorted(missing))}.")
    return steps


def mean_accuracy(truth: BaseSorting, found: BaseSorting) -> float:
    """How well the units match the true ones, from 0 to 1."""
    comparison = compare_sorter_to_ground_truth(truth, found, exhaustive_gt=True)
    return float(comparison.get_performance()["accuracy"].astype(float).mean())


def main(words: Sequence[str] | None = None) -> None:
    """Compare on a recording of any size, and print where the time went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the recording")
    parser.add_argument("--channels", type=int, default=32, help="there is a unit for every second one; at least 11")
    parser.add_argument("--rounds", type=int, default=1, help="they begin in turn with either")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="threads and workers, for both")
    parser.add_argument("--cheap", action="store_true", help="Mountainsort 5 instead of Kilosort 4")
    given = parser.parse_args(words)
    setting = Setting(given.minutes, given.channels, given.rounds, CHEAP if given.cheap else KILOSORT, jobs=given.jobs)
    begin = time.monotonic()
    for found in sort_in_turn(setting, {"platform": run_platform, "script": run_plain}):
        print(f"{'':24}" + "".join(f"{side:>12}" for side in found))
        for what, of in (("wall s", "wall_s"), ("CPU s", "cpu_s"), ("memory MB", "memory_mb"), ("read MB", "read_mb")):
            print(f"{what:24}" + "".join(f"{getattr(each.used, of):12.1f}" for each in found.values()))
        for step in COMPARED:
            print(f"s in {step:19}" + "".join(f"{each.steps[step]:12.1f}" for each in found.values()))
        print(f"{'mean accuracy':24}" + "".join(f"{each.accuracy:12.4f}" for each in found.values()), flush=True)
    print(f"{setting}, {time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
