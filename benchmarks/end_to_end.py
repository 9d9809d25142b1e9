"""The platform against a plain SpikeInterface script, on one synthetic recording, in the same run.

Example: ``.venv/bin/python benchmarks/end_to_end.py --minutes 2 --channels 32 --repeat 2 --json result.json``

All files are in a temporary folder, also DAGSTER_HOME. Linux only: this process adopts and waits for every descendant
of what it measures, so that the kernel adds up CPU time and writing, however short they lived. Only memory is sampled.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from spikeinterface.comparison import compare_sorter_to_ground_truth, compare_two_sorters
from spikeinterface.core import BaseSorting, load

from sort_assets.config import resolve_config
from sort_assets.config.settings import DAGSTER_HOME_VARIABLE, LEASES_VARIABLE, RECORDINGS_VARIABLE, STORE_VARIABLE
from sort_assets.errors import SortAssetsError
from sort_assets.machine.cores import usable_cores
from sort_assets.platform.arrivals.registration import register_recording
from sort_assets.platform.cli.demo import PRESET, WELL_DETECTED
from sort_assets.platform.execution.home import open_instance, prepare_home
from sort_assets.platform.pipeline.catalog import PIPELINE
from sort_assets.platform.pipeline.jobs import sort_recording
from sort_assets.platform.store.handles import StoredSorting
from sort_assets.platform.store.manifest import package_versions
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb

Numbers = dict[str, float]

CHECKOUT = Path(__file__).resolve().parents[1]
SAMPLE_EVERY_S = 0.2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
WALL, CPU = "wall s", "CPU s (user + system)"


class BenchmarkError(RuntimeError):
    """One of the two did not do its work."""


def memory_peak(stopped: threading.Event) -> int:
    """Largest sum of the descendants' proportional set sizes (PSS), in bytes.

    PSS divides pages that several processes map among them, so that forks are not counted twice; mapped pages of
    files, such as the `.dat`, are in it. It is slow to read: only when resident memory has grown by a percent.
    """
    peak = 0
    resident: dict[frozenset[int], int] = {}
    while not stopped.wait(SAMPLE_EVERY_S):
        tree = psutil.Process().children(recursive=True)
        pids, now = frozenset(process.pid for process in tree), _memory(tree, "memory_info", "rss")
        if now > 1.01 * resident.get(pids, 0):
            resident[pids] = now
            peak = max(peak, _memory(tree, "memory_full_info", "pss"))
    return peak


def _memory(processes: list[psutil.Process], call: str, kind: str) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
            total += getattr(getattr(process, call)(), kind)
    return total


def measure(command: list[str], log: Path) -> tuple[float, float, Numbers]:
    """Run a command, and all that it starts, to the end; returns when it ran (Unix time) and what it used."""
    os.sync()  # What was written before is not to be paid for now.
    before, begin = _counters(), time.time()
    with log.open("wb") as output, ThreadPoolExecutor(max_workers=1) as sampler:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
        stopped = threading.Event()
        peak = sampler.submit(memory_peak, stopped)
        try:
            status = process.wait()
            end = time.time()
            while left := psutil.Process().children():  # those that outlive their parent, as a forkserver does
                _, alive = psutil.wait_procs(left, timeout=60)
                if alive:
                    raise BenchmarkError(f"still running a minute after the end: {alive}")
        finally:
            stopped.set()
            for child in psutil.Process().children(recursive=True):
                child.kill()
    if status != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise BenchmarkError(f"exit status {status} of {' '.join(command)}\n{tail}")
    used = {name: value - before[name] for name, value in _counters().items()}
    numbers = {
        WALL: end - begin,
        CPU: used["descendants"],
        "MB written (write_bytes)": used["write_bytes"],
        "MB handed to write() (wchar)": used["wchar"],
        "MB of memory, peak of summed PSS": peak.result() / 1e6,
        "cores used by others meanwhile": (used["machine"] - used["descendants"] - used["own"]) / used["time"],
        "CPU s of measuring, in no other row": used["own"],
    }
    return begin, end, numbers


def _counters() -> Numbers:
    """Kernel counters: the machine's, this process's, and those of the descendants that it waited for."""
    written = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    machine = psutil.cpu_times()
    return {
        "time": time.time(),
        "descendants": sum(os.times()[2:4]),
        "own": time.process_time(),
        # Not idle; what the hypervisor took is in it.
        "machine": machine.user + machine.nice + machine.system + machine.irq + machine.softirq + machine.steal,
        # With the descendants'; this process itself writes next to nothing.
        **{name: int(written[name]) / 1e6 for name in ("write_bytes", "wchar")},
    }


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


def run_platform(nwb: Path, folder: Path, job_kwargs: Mapping[str, Any]) -> tuple[Numbers, BaseSorting]:
    """Register the recording on an instance of its own, and run the job as the demo does."""
    home, store = folder / "home", folder / "store"
    os.environ |= {DAGSTER_HOME_VARIABLE: str(home), STORE_VARIABLE: str(store), RECORDINGS_VARIABLE: str(nwb.parent)}
    os.environ[LEASES_VARIABLE] = str(folder / "leases")  # so that nobody else's sort is waited for
    with contextlib.chdir(CHECKOUT):  # where the instance's settings are found
        roots = prepare_home()
    with open_instance() as instance:
        start = time.time()
        (registered,) = register_recording(instance, nwb, roots)
        registering_s = time.time() - start
        backend = {"preset": PRESET, "execution": {"n_jobs": job_kwargs["n_jobs"]}}
        (home / "run.yaml").write_text(json.dumps({"resources": {"backend": {"config": backend}}}), encoding="utf-8")
        command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "sort_assets.definitions"]
        command += ["-j", sort_recording.name, "-c", str(home / "run.yaml")]
        command += ["--tags", json.dumps({"dagster/partition": registered.key})]
        begin, end, numbers = measure(command, home / "job.log")
        (run,) = instance.get_runs()
        stats = instance.get_run_step_stats(run.run_id)
    steps = {each.step_key: (each.start_time, each.end_time) for each in stats if each.start_time and each.end_time}
    numbers |= {"MB left on disk": _megabytes(home, store), "s to register, before all this": registering_s}
    return numbers | _seconds(begin, end, steps), StoredSorting(roots, registered.key).load()


def run_plain(nwb: Path, folder: Path, job_kwargs: Mapping[str, Any]) -> tuple[Numbers, BaseSorting]:
    """Run the plain script with the configuration that the platform resolves."""
    folder.mkdir()
    settings = resolve_config(PRESET).config.model_dump_json()
    command = [
        sys.executable,
        str(CHECKOUT / "benchmarks/plain_spikeinterface.py"),
        str(nwb),
        str(folder),
        settings,
        json.dumps(job_kwargs),
    ]
    begin, end, numbers = measure(command, folder / "script.log")
    steps = json.loads((folder / "steps.json").read_text(encoding="utf-8"))
    numbers["MB left on disk"] = _megabytes(folder)
    return numbers | _seconds(begin, end, steps), load(folder / "sorting")


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
    pairs, counts = comparison.hungarian_match_12.items(), comparison.match_event_count
    both = sum(counts.at[unit, match] for unit, match in pairs if match in other.unit_ids)
    return float(both / (one.to_spike_vector().size + other.to_spike_vector().size - both))


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
    if given.channels < 11:
        parser.error("--channels: detection of bad channels by coherence needs at least 11")
    if ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) != 0:  # PR_SET_CHILD_SUBREAPER
        raise BenchmarkError("this kernel does not let a process adopt its descendants")
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(given.jobs))
    console = Console(width=110, highlight=False)
    setting = {"cores": os.cpu_count(), "python": sys.version.split()[0], **package_versions(), **vars(given)}
    console.print(", ".join(f"{name} {value}" for name, value in setting.items()))
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sort_assets-benchmark-") as work:
        nwb = Path(work) / "recordings" / "ground_truth.nwb"
        nwb.parent.mkdir()
        recording, truth = make_ground_truth(60 * given.minutes, given.channels, given.channels // 2, lazy=True)
        write_nwb(recording, nwb)
        job_kwargs = {"n_jobs": given.jobs, "chunk_duration": given.plain_chunk, "pool_engine": given.plain_engine}
        runs = {"platform": run_platform, "plain": run_plain}
        order = sorted(runs, key=lambda side: side != given.first)
        for index in range(given.repeat):
            numbers, found = dict[str, Numbers](), dict[str, BaseSorting]()
            with tempfile.TemporaryDirectory(dir=work) as folder:
                for side in order:
                    numbers[side], found[side] = runs[side](nwb, Path(folder) / side, job_kwargs)
                    numbers[side] |= quality(truth, found[side])
                same = agreement(found["platform"], found["plain"])
            rounds.append({"first": order[0], "agreement": same, **numbers})
            table = Table("", "platform", "plain", "ratio", title=f"round {index + 1}, {order[0]} first")
            for name, value in numbers["platform"].items():
                plain = numbers["plain"].get(name)
                ratio = f"{value / plain:.3f}" if plain and plain > 0.01 else ""
                table.add_row(name, f"{value:.3f}", "" if plain is None else f"{plain:.3f}", ratio)
            console.print(table)
            console.print(f"agreement of the two sortings, share of the spikes of either: {same:.4f}")
            order.reverse()
    for what in (WALL, CPU):
        ratio = statistics.median(each["platform"][what] / each["plain"][what] for each in rounds)
        console.print(f"platform / plain, median of {len(rounds)}, {what}: {ratio:.3f}")
    if given.json:
        report = json.dumps({"setting": setting, "rounds": rounds}, indent=1, default=str)
        given.json.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (BenchmarkError, SortAssetsError, OSError) as error:
        sys.exit(f"The benchmark failed: {error}")
