"""What happens to units after the sort: waveforms, metrics, curation, report and delivery, each in its own process.

    python -m benchmarks.bench after_the_sort
    python -m benchmarks.bench after_the_sort --size full     # 500 units, 10 minutes of 384 channels: 14 GB in TMPDIR

A synthetic recording is written into a temporary folder, then each step does what the platform's step does, with as
threads as this process may use cores. The pass of `waveforms` is also compared with SpikeInterface's functions,
which read the recording once for each. Seconds of the processor are user and system.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from spikeinterface.core import (
    BaseSorting,
    NumpyFolderSorting,
    SortingAnalyzer,
    create_sorting_analyzer,
    generate_ground_truth_recording,
    generate_sorting,
)
from spikeinterface.core.sortinganalyzer import get_extension_class

from benchmarks.rows import Row, Size, at_most
from sort_assets.backends import create_backend
from sort_assets.config import SortingPipelineConfig
from sort_assets.config.rules import RecordingSettings
from sort_assets.curation.criteria import criteria_of
from sort_assets.curation.curate import curate
from sort_assets.curation.history import CurationHistory, replay
from sort_assets.exports.delivery import write_delivery
from sort_assets.exports.session import session_facts
from sort_assets.exports.units import delivered_units
from sort_assets.machine.cores import job_kwargs, usable_cores
from sort_assets.metrics.compiled import keep_spike_trains_compiled
from sort_assets.metrics.extensions import complete_analyzer
from sort_assets.metrics.tables import read_table, write_table
from sort_assets.metrics.unit_metrics import UnitMetrics, compute_unit_metrics
from sort_assets.recordings.clock import clock_from_start
from sort_assets.recordings.dat_file import read_dat, write_dat
from sort_assets.testing.ground_truth import GAIN_TO_UV, make_probe

RATE_HZ = 30_000.0
FIRING_RATES_HZ = (1.0, 15.0)


@dataclass(frozen=True)
class Shape:
    """Of the recording."""

    channels: int
    units: int
    minutes: float


SHAPES: dict[Size, Shape] = {"small": Shape(16, 6, 0.1), "usual": Shape(96, 100, 2), "full": Shape(384, 500, 10)}
PART_OF_DURATION = 0.15
"""How long all steps together may take, as a part of the recording, on 8 cores and in full size."""
CORES_OF_THE_AIM = 8


def rows(size: Size) -> Iterator[Row]:
    """Each step, all together beside the recording's duration, and the one pass beside SpikeInterface's several."""
    shape = SHAPES[size]
    what = f"{shape.units} units, {shape.minutes:g} min x {shape.channels} channels"
    with tempfile.TemporaryDirectory(prefix="sort_assets-after-") as temporary:
        folder = Path(temporary)
        make_recording(folder, shape)
        used = {}
        for name in STEPS:
            # In the smallest size only the output counts.
            used[name] = run_step(name, folder) if size == "small" else _in_a_process(name, folder)
            note = f"{used[name]['wall_s']:.1f} s by the clock, {used[name]['memory_gb']:.1f} GB resident"
            yield Row(f"{what}: {name}", used[name]["cpu_s"], "CPU s", note=note)
        ours, theirs = used[WAVEFORMS]["cpu_s"], used[SPIKEINTERFACE]["cpu_s"]
        yield Row(f"{what}: one pass beside SpikeInterface's", ours / theirs, "x its CPU", at_most(0.5))
        after = [each["wall_s"] for name, each in used.items() if name != SPIKEINTERFACE]
        cores = usable_cores()
        aim = at_most(PART_OF_DURATION) if size == "full" and cores >= CORES_OF_THE_AIM else None
        note = (
            f"on {cores} cores, by the clock; imports are not in it; the aim is for {CORES_OF_THE_AIM} cores, full size"
        )
        yield Row(f"{what}: all steps", sum(after) / (60 * shape.minutes), "x the recording", aim, note)


def make_recording(folder: Path, shape: Shape) -> None:
    """Write the recording and its spikes, a chunk at a time."""
    rng = np.random.default_rng(0)
    sorting: BaseSorting = generate_sorting(
        num_units=shape.units,
        sampling_frequency=RATE_HZ,
        durations=[60 * shape.minutes],
        firing_rates=rng.uniform(*FIRING_RATES_HZ, size=shape.units),
        refractory_period_ms=4.0,
        seed=0,
    )
    recording, _ = generate_ground_truth_recording(
        durations=[60 * shape.minutes],
        sampling_frequency=RATE_HZ,
        sorting=sorting,
        probe=make_probe(shape.channels),
        noise_kwargs={"noise_levels": 8.0, "strategy": "tile_pregenerated"},
        seed=0,
    )
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    # What a sorter does not say.
    sorting.delete_property("main_channel_id")
    cores = usable_cores()
    write_dat(recording, folder / "traces.dat", dtype="int16", gain_to_uv=GAIN_TO_UV, n_jobs=cores)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The extractor is not serializable")
        sorting.save(folder=folder / "sorting", format="numpy_folder")


class _Steps:
    """The steps of the platform, without it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = SortingPipelineConfig()
        self._job_kwargs = job_kwargs(self._config.execution)
        self._recording = read_dat(folder / "traces.dat")

    def waveforms(self) -> None:
        sorting = NumpyFolderSorting(self._folder / "sorting")
        curation = self._folder / "curation"
        backend = create_backend(self._config)
        backend.extract_waveforms(self._recording, sorting, self._folder / "analyzer", curation)

    def further_extensions(self) -> None:
        analyzer = SortingAnalyzer.load_from_binary_folder(
            self._folder / "analyzer", recording=self._recording, lazy=True
        )
        complete_analyzer(analyzer, job_kwargs=self._job_kwargs)

    def spikeinterface(self) -> None:
        """What `waveforms` does in one pass."""
        waveform, target = self._config.waveform, self._folder / "theirs"
        sorting = NumpyFolderSorting(self._folder / "sorting")
        analyzer = create_sorting_analyzer(
            sorting,
            self._recording,
            format="binary_folder",
            folder=target,
            lazy=True,
            seed=waveform.seed,
            sparsity_kwargs={"method": "radius", "radius_um": waveform.radius_um},
            job_kwargs=self._job_kwargs,
        )
        analyzer.compute("random_spikes", max_spikes_per_unit=waveform.max_spikes_per_unit, seed=waveform.seed)
        window = {"ms_before": waveform.ms_before, "ms_after": waveform.ms_after}
        analyzer.compute("waveforms", **window, **self._job_kwargs)
        analyzer.compute("templates", operators=["average", "std"])
        analyzer.compute("noise_levels", random_slices_kwargs={"seed": waveform.seed}, **self._job_kwargs)
        analyzer.compute({"spike_amplitudes": {}, "spike_locations": {}}, **self._job_kwargs)
        shutil.rmtree(target)

    def unit_metrics(self) -> None:
        found = compute_unit_metrics(self._load(), self._config.metrics, job_kwargs=self._job_kwargs)
        write_table(found.table, self._folder / "metrics.parquet")

    def curated_units(self) -> None:
        metrics = UnitMetrics(read_table(self._folder / "metrics.parquet"), {})
        curated = curate(self._load(), metrics, self._config.curation, job_kwargs=self._job_kwargs)
        write_table(curated.table, self._folder / "decisions.parquet")
        (self._folder / "history.json").write_text(curated.history.model_dump_json(), encoding="utf-8")

    def sorting_report(self) -> None:
        # Here, as only this step needs matplotlib.
        from sort_assets.reports import draw_unit_figures

        analyzer = self._curated()
        figures = self._folder / "figures"
        figures.mkdir()
        draw_unit_figures(
            figures,
            analyzer=analyzer,
            sorting=analyzer.sorting,
            metrics=read_table(self._folder / "metrics.parquet"),
            decisions=read_table(self._folder / "decisions.parquet"),
            criteria=criteria_of(self._config.curation),
            duration_s=self._recording.get_duration(),
        )

    def spike_data(self) -> None:
        analyzer = self._curated()
        metrics, decisions = (read_table(self._folder / f"{name}.parquet") for name in ("metrics", "decisions"))
        table = metrics.join(decisions[[name for name in decisions if name not in metrics]])
        clock = clock_from_start(self._recording.get_num_samples(), RATE_HZ, 0.0)
        units = delivered_units(analyzer, table, self._config.delivery, clock=clock)
        dat = self._folder / "traces.dat"
        facts = session_facts(dat, "", RecordingSettings())
        folder = self._folder / "delivery"
        write_delivery(folder, analyzer, units, self._config.delivery, facts, dat_path=dat, job_kwargs=self._job_kwargs)

    def _load(self) -> SortingAnalyzer:
        """As the platform loads it: only waveforms stay in their file."""
        keep_spike_trains_compiled()
        analyzer = SortingAnalyzer.load_from_binary_folder(self._folder / "analyzer", recording=self._recording)
        for name in analyzer.get_saved_extension_names():
            analyzer.extensions[name] = get_extension_class(name).load(analyzer, lazy=name == "waveforms")
        analyzer.format, analyzer.folder = "memory", None
        return analyzer

    def _curated(self) -> SortingAnalyzer:
        history = CurationHistory.model_validate_json((self._folder / "history.json").read_text(encoding="utf-8"))
        curated: SortingAnalyzer = replay(self._load(), history, job_kwargs=self._job_kwargs)
        return curated


WAVEFORMS = "waveforms, in one pass"
SPIKEINTERFACE = "the same by SpikeInterface's own functions"
STEPS = {
    WAVEFORMS: _Steps.waveforms,
    SPIKEINTERFACE: _Steps.spikeinterface,
    "waveforms, further extensions": _Steps.further_extensions,
    "unit_metrics": _Steps.unit_metrics,
    "curated_units": _Steps.curated_units,
    "sorting_report": _Steps.sorting_report,
    "spike_data": _Steps.spike_data,
}


def run_step(name: str, folder: Path) -> dict[str, float]:
    """Run one step in this process; returns what it took, without imports."""
    steps = _Steps(folder)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    STEPS[name](steps)
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall_s, "cpu_s": cpu_s, "memory_gb": after.ru_maxrss / 1e6}


def _in_a_process(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed with {done.returncode}:\n{done.stderr[-3000:]}")
    used: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return used


if __name__ == "__main__":
    print(json.dumps(run_step(sys.argv[1], Path(sys.argv[2]))))
