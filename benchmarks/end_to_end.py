"""The platform against a plain SpikeInterface script, on one synthetic recording, in the same run.

Example: ``.venv/bin/python benchmarks/end_to_end.py --minutes 2 --channels 32 --repeat 2 --json result.json``

All files are in a temporary folder, also DAGSTER_HOME. Linux only: this process adopts every descendant of what it
measures and waits for it. Then the kernel has added up their CPU time and what they wrote, however short they lived;
only memory is sampled.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from spikeinterface.comparison import compare_sorter_to_ground_truth, compare_two_sorters
from spikeinterface.core import BaseSorting, load

from sort_assets.automation.jobs import PIPELINE, sort_recording
from sort_assets.automation.registration import register_recording
from sort_assets.config import ConfigLayer, resolve_config
from sort_assets.config.cores import usable_cores
from sort_assets.demo import PRESET, WELL_DETECTED
from sort_assets.errors import SortAssetsError
from sort_assets.execution.home import HOME_VARIABLE, open_instance, prepare_home
from sort_assets.execution.leases import LEASES_VARIABLE
from sort_assets.recordings.synthetic import make_ground_truth, write_nwb
from sort_assets.storage import StoredSorting
from sort_assets.storage.manifest import package_versions
from sort_assets.storage.roots import RECORDINGS_VARIABLE, STORE_VARIABLE

Numbers = dict[str, float]

CHECKOUT = Path(__file__).resolve().parents[1]
PLAIN_SCRIPT = Path(__file__).with_name("plain_spikeinterface.py")
FEWEST_CHANNELS = 11  # of which detection of bad channels by coherence can be asked
SAMPLE_EVERY_S = 0.2
STRAGGLERS_S = 60.0
PR_SET_CHILD_SUBREAPER = 36
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
WALL, CPU = "wall s", "CPU s (user + system)"


class BenchmarkError(RuntimeError):
    """One of the two did not do its work."""


class MemoryPeak(threading.Thread):
    """Largest sum of the descendants' proportional set sizes (PSS), until `stop`.

    PSS divides pages that several processes map among them, so that forks are not counted twice; mapped pages of
    files, such as the `.dat`, are in it.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        this = psutil.Process()
        while not self._stopped.wait(SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, sum(_pss(child) for child in this.children(recursive=True)))

    def stop(self) -> None:
        """End the sampling."""
        self._stopped.set()
        self.join()


def measure(command: list[str], log: Path) -> tuple[float, float, Numbers]:
    """Run a command, and all that it starts, to the end.

    Returns
    -------
    begin, end : float
        When the command itself ran, in Unix time.
    numbers : dict
        What it used.
    """
    os.sync()  # What was written before is not to be paid for now.
    memory = MemoryPeak()
    written, cpu_s, busy_s, own_s = _written(), _children_cpu_s(), _machine_busy_s(), time.process_time()
    begin = time.time()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
        memory.start()
        try:
            status = process.wait()
            end = time.time()
            _wait_for_stragglers()
        finally:
            memory.stop()
            for left in psutil.Process().children(recursive=True):
                left.kill()
    if status != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise BenchmarkError(f"exit status {status} of {' '.join(command)}\n{tail}")
    whole_s, cpu_s, own_s = time.time() - begin, _children_cpu_s() - cpu_s, time.process_time() - own_s
    return (
        begin,
        end,
        {
            WALL: end - begin,
            CPU: cpu_s,
            "MB written (write_bytes)": (_written()["write_bytes"] - written["write_bytes"]) / 1e6,
            "MB handed to write() (wchar)": (_written()["wchar"] - written["wchar"]) / 1e6,
            "MB of memory, peak of summed PSS": memory.peak_bytes / 1e6,
            "cores used by others meanwhile": (_machine_busy_s() - busy_s - cpu_s - own_s) / whole_s,
            "CPU s of measuring, in no other row": own_s,
        },
    )


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0


def _wait_for_stragglers() -> None:
    """Wait for processes that outlive their parent, as a forkserver does for a moment."""
    while left := psutil.Process().children():
        _, alive = psutil.wait_procs(left, timeout=STRAGGLERS_S)
        if alive:
            raise BenchmarkError(f"still running {STRAGGLERS_S:.0f} s after the end: {alive}")


def _written() -> dict[str, int]:
    """What this process, which writes next to nothing, and the descendants that it waited for wrote."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _machine_busy_s() -> float:
    """CPU seconds of all cores that were not idle, those that the hypervisor took included."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _seconds(begin: float, end: float, steps: Mapping[str, tuple[float, float]]) -> Numbers:
    """Where the wall time went: the steps follow each other, so that these add up to it."""
    if missing := set(PIPELINE) - set(steps):
        raise BenchmarkError(f"these steps did not end: {', '.join(sorted(missing))}")
    first, last = steps[PIPELINE[0]][0], steps[PIPELINE[-1]][1]
    inside = {f"s in {name}": steps[name][1] - steps[name][0] for name in PIPELINE}
    return {
        "s to start, until the first step": first - begin,
        **inside,
        "s between steps": last - first - sum(inside.values()),
        "s to end, after the last step": end - last,
        "overhead: s outside of the four steps": end - begin - sum(inside.values()),
    }


def run_platform(nwb: Path, folder: Path, jobs: int) -> tuple[Numbers, BaseSorting]:
    """Register the recording on an instance of its own, and run the job as the demo does."""
    home, store = folder / "home", folder / "store"
    os.environ |= {HOME_VARIABLE: str(home), STORE_VARIABLE: str(store), RECORDINGS_VARIABLE: str(nwb.parent)}
    os.environ[LEASES_VARIABLE] = str(folder / "leases")  # so that nobody else's sort is waited for
    with contextlib.chdir(CHECKOUT):  # where the instance's settings are found
        roots = prepare_home()
    with open_instance() as instance:
        start = time.perf_counter()
        (registered,) = register_recording(instance, nwb, roots.recordings)
        registering_s = time.perf_counter() - start
        config = {"resources": {"backend": {"config": {"preset": PRESET, **_overrides(jobs)}}}}
        (folder / "run_config.yaml").write_text(json.dumps(config), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "dagster", "job", "execute", "-m", "sort_assets.definitions"),
            *("-j", sort_recording.name, "--tags", json.dumps({"dagster/partition": registered.key})),
            *("-c", str(folder / "run_config.yaml")),
        ]
        begin, end, numbers = measure(command, home / "job.log")
        (run,) = instance.get_runs()
        steps = {
            stats.step_key: (stats.start_time, stats.end_time)
            for stats in instance.get_run_step_stats(run.run_id)
            if stats.start_time is not None and stats.end_time is not None
        }
    numbers |= {"MB left on disk": _megabytes(home, store), "s to register, beforehand": registering_s}
    return numbers | _seconds(begin, end, steps), StoredSorting(roots, registered.key).load()


def run_plain(nwb: Path, folder: Path, jobs: int, *, chunk: str, engine: str) -> tuple[Numbers, BaseSorting]:
    """Run the plain script with the configuration that the platform resolves."""
    folder.mkdir()
    config = resolve_config(PRESET, [ConfigLayer("benchmark", _overrides(jobs))]).config
    job_kwargs = {"n_jobs": jobs, "chunk_duration": chunk, "pool_engine": engine}
    given = ["--settings", config.model_dump_json(), "--job-kwargs", json.dumps(job_kwargs)]
    begin, end, numbers = measure(
        [sys.executable, str(PLAIN_SCRIPT), str(nwb), str(folder), *given], folder / "script.log"
    )
    steps = json.loads((folder / "steps.json").read_text(encoding="utf-8"))
    numbers |= {"MB left on disk": _megabytes(folder), "s to register, beforehand": 0.0}
    return numbers | _seconds(begin, end, steps), load(folder / "sorting")


def _overrides(jobs: int) -> dict[str, Any]:
    return {"execution": {"n_jobs": jobs}}


def _megabytes(*folders: Path) -> float:
    files = (path for folder in folders for path in folder.rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file() and not path.is_symlink()) / 1e6


def quality(truth: BaseSorting, units: BaseSorting) -> Numbers:
    """Units found, and how well they match the true ones."""
    comparison = compare_sorter_to_ground_truth(truth, units, exhaustive_gt=True)
    accuracy = comparison.get_performance()["accuracy"].astype(float)
    return {
        f"units found, of {len(truth.unit_ids)}": len(units.unit_ids),
        f"true units of accuracy >= {WELL_DETECTED}": int((accuracy >= WELL_DETECTED).sum()),
        "mean accuracy": float(accuracy.mean()),
    }


def agreement(one: BaseSorting, other: BaseSorting) -> float:
    """Spikes that both have, in units that belong together, as a share of all spikes of either."""
    comparison = compare_two_sorters(one, other)
    pairs = comparison.hungarian_match_12.items()
    both = sum(comparison.match_event_count.at[unit, match] for unit, match in pairs if match in other.unit_ids)
    return float(both / (one.to_spike_vector().size + other.to_spike_vector().size - both))


def show(console: Console, title: str, platform: Numbers, plain: Numbers) -> None:
    """Print one round."""
    table = Table("", title=title)
    for heading in ("platform", "plain", "ratio"):
        table.add_column(heading, justify="right")
    for name, value in platform.items():
        ratio = f"{value / plain[name]:.3f}" if plain[name] > 0 else ""
        table.add_row(name, f"{value:.2f}", f"{plain[name]:.2f}", ratio)
    console.print(table)


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the recording")
    parser.add_argument("--channels", type=int, default=32, help="there is a unit for every second one")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="threads and workers, for both")
    parser.add_argument("--repeat", type=int, default=1, help="number of rounds; they begin in turn with either")
    parser.add_argument("--first", choices=("platform", "plain"), default="platform", help="begins the first round")
    parser.add_argument("--plain-chunk", default="1s", help="the script's chunks; 1s is SpikeInterface's default")
    parser.add_argument("--plain-engine", choices=("process", "thread"), default="process", help="the script's workers")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    given = parser.parse_args()
    if given.channels < FEWEST_CHANNELS:
        parser.error(f"--channels must be at least {FEWEST_CHANNELS}")
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "can't adopt the descendants")
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(given.jobs))
    console = Console(width=110, highlight=False)
    setting = {"cores": os.cpu_count(), "python": sys.version.split()[0], **package_versions()}
    setting |= {name: str(value) for name, value in vars(given).items()}
    console.print(", ".join(f"{name} {value}" for name, value in setting.items()))
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sort_assets-benchmark-") as work:
        nwb = Path(work) / "recordings" / "ground_truth.nwb"
        nwb.parent.mkdir()
        recording, truth = make_ground_truth(60 * given.minutes, given.channels, given.channels // 2, lazy=True)
        write_nwb(recording, nwb)
        for index in range(given.repeat):
            numbers: dict[str, Numbers] = {}
            found: dict[str, BaseSorting] = {}
            platform_first = (given.first == "platform") == (index % 2 == 0)
            with tempfile.TemporaryDirectory(dir=work) as name:
                for side in ("platform", "plain") if platform_first else ("plain", "platform"):
                    folder = Path(name) / side
                    if side == "platform":
                        numbers[side], found[side] = run_platform(nwb, folder, given.jobs)
                    else:
                        options = {"chunk": given.plain_chunk, "engine": given.plain_engine}
                        numbers[side], found[side] = run_plain(nwb, folder, given.jobs, **options)
                    numbers[side] |= quality(truth, found[side])
                same = agreement(found["platform"], found["plain"])
            rounds.append({"platform_first": platform_first, "agreement": same, **numbers})
            show(console, f"round {index + 1}, {next(iter(numbers))} first", numbers["platform"], numbers["plain"])
            console.print(f"agreement of the two sortings, share of the spikes of either: {same:.4f}")
    for what in (WALL, CPU):
        ratio = statistics.median(each["platform"][what] / each["plain"][what] for each in rounds)
        console.print(f"platform / plain, {what}: {ratio:.3f} (median of {len(rounds)})")
    if given.json:
        given.json.write_text(json.dumps({"setting": setting, "rounds": rounds}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (BenchmarkError, SortAssetsError, OSError) as error:
        sys.exit(f"The benchmark failed: {error}")
