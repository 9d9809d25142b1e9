"""What happens to units after the sort, at size: time and peak memory of waveforms, further extensions and metrics.

    python benchmarks/units.py
    python benchmarks/units.py --channels 128 --units 500 --minutes 10 --jobs 2

Writes a synthetic recording into a temporary folder (384 channels for 10 minutes as int16: 14 GB; choose the place with
TMPDIR), then runs each step in a process of its own, as the platform does. Memory is what the process itself allocated
(RssAnon, sampled 20 times a second); resident memory also counts the mapped pages of the recording, which the kernel
takes back when somebody needs room. Linux only.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from spikeinterface.core import (
    BaseSorting,
    NumpyFolderSorting,
    SortingAnalyzer,
    generate_ground_truth_recording,
    generate_sorting,
)

from sort_assets.backends import create_backend
from sort_assets.config import SortingPipelineConfig
from sort_assets.machine.cores import job_kwargs
from sort_assets.metrics.extensions import complete_analyzer
from sort_assets.metrics.tables import write_table
from sort_assets.metrics.unit_metrics import compute_unit_metrics
from sort_assets.recordings.dat_file import read_dat, write_dat
from sort_assets.testing.ground_truth import GAIN_TO_UV, make_probe

RATE_HZ = 30000.0
FIRING_RATES_HZ = (1.0, 15.0)
SAMPLE_EVERY_S = 0.05
STEPS = ("extract_waveforms", "complete_analyzer", "compute_unit_metrics", "compute_unit_metrics, with PCA")


def make_recording(folder: Path, channels: int, units: int, minutes: float, jobs: int) -> BaseSorting:
    """Write the recording and its spikes, a chunk at a time."""
    rng = np.random.default_rng(0)
    sorting = generate_sorting(
        num_units=units,
        sampling_frequency=RATE_HZ,
        durations=[60 * minutes],
        firing_rates=rng.uniform(*FIRING_RATES_HZ, size=units),
        refractory_period_ms=4.0,
        seed=0,
    )
    recording, _ = generate_ground_truth_recording(
        durations=[60 * minutes],
        sampling_frequency=RATE_HZ,
        sorting=sorting,
        probe=make_probe(channels),
        noise_kwargs={"noise_levels": 8.0, "strategy": "tile_pregenerated"},
        seed=0,
    )
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    write_dat(recording, folder / "traces.dat", dtype="int16", gain_to_uv=GAIN_TO_UV, n_jobs=jobs, chunk_duration_s=1.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The extractor is not serializable")
        sorting.save(folder=folder / "sorting", format="numpy_folder")
    return sorting


def run_step(name: str, folder: Path, jobs: int) -> None:
    """Run one of the steps, and print what it took as JSON."""
    config = SortingPipelineConfig.model_validate({"execution": {"n_jobs": jobs}})
    kwargs = job_kwargs(config.execution)
    recording = read_dat(folder / "traces.dat")

    def load() -> SortingAnalyzer:
        return SortingAnalyzer.load_from_binary_folder(folder / "analyzer", recording=recording, lazy=True)

    def extract_waveforms() -> str:
        sorting = NumpyFolderSorting(folder / "sorting")
        create_backend(config).extract_waveforms(recording, sorting, folder / "analyzer", folder / "curation")
        return _size(folder / "analyzer")

    def complete() -> str:
        return json.dumps(complete_analyzer(load(), job_kwargs=kwargs))

    def metrics(pca: bool) -> str:
        chosen = config.metrics.model_copy(update={"pca": pca})
        found = compute_unit_metrics(load(), chosen, job_kwargs=kwargs)
        write_table(found.table, folder / "metrics.parquet")
        return f"{found.table.notna().any().sum()} columns with values; failed: {json.dumps(dict(found.failed))}"

    functions: tuple[Callable[[], str], ...] = (
        extract_waveforms,
        complete,
        lambda: metrics(pca=False),
        lambda: metrics(pca=True),
    )
    stopped = threading.Event()
    peaks = [0]
    sampler = threading.Thread(target=_sample, args=(peaks, stopped), daemon=True)
    sampler.start()
    start = time.perf_counter()
    note = functions[STEPS.index(name)]()
    seconds = time.perf_counter() - start
    stopped.set()
    sampler.join()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "wall_s": seconds,
                "cpu_s": used.ru_utime + used.ru_stime,
                "allocated_gb": max(peaks) / 1e6,
                "resident_gb": used.ru_maxrss / 1e6,
                "note": note,
            }
        )
    )


def _sample(peaks: list[int], stopped: threading.Event) -> None:
    while not stopped.wait(SAMPLE_EVERY_S):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                peaks[0] = max(peaks[0], int(line.split()[1]))


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e9:.2f} GB on disk"


def main() -> None:
    """Make the recording, run the steps, print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--units", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--jobs", type=int, default=2, help="workers of each step")
    parser.add_argument("--pca", action="store_true", help="also the metrics on principal components, which are slow")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        run_step(given.step, given.folder, given.jobs)
        return
    with tempfile.TemporaryDirectory(prefix="sort_assets-units-") as temporary:
        folder = Path(temporary)
        start = time.perf_counter()
        sorting = make_recording(folder, given.channels, given.units, given.minutes, given.jobs)
        print(
            f"{given.channels} channels, {given.minutes:g} minutes, {given.units} units, "
            f"{sorting.to_spike_vector().size:,} spikes; made in {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        for step in STEPS if given.pca else STEPS[:-1]:
            command = [sys.executable, __file__, "--step", step, "--folder", temporary, "--jobs", str(given.jobs)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{step} failed with {done.returncode}:\n{done.stderr[-3000:]}")
            took = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{step}: {took['wall_s']:.1f} s, {took['cpu_s']:.1f} s of CPU, at most {took['allocated_gb']:.2f} GB "
                f"allocated and {took['resident_gb']:.2f} GB resident (load {os.getloadavg()[0]:.1f}); {took['note']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
