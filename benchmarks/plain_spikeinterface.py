"""The same work as somebody would write it by hand, with SpikeInterface alone: what `end_to_end.py` compares with.

Arguments: NWB file, folder for the results and the steps' times, parameters and job arguments (both JSON). Each step is
named after the platform's asset that holds the same result.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import spikeinterface.core as si
import spikeinterface.preprocessing as spre
from spikeinterface.curation import remove_excess_spikes
from spikeinterface.extractors import read_nwb_recording
from spikeinterface.sorters import run_sorter

EXTENSIONS = (
    "spike_amplitudes",
    "spike_locations",
    "unit_locations",
    "correlograms",
    "isi_histograms",
    "template_similarity",
)
steps: dict[str, tuple[float, float]] = {}


@contextmanager
def step(name: str) -> Iterator[None]:
    """Note when a step began and ended, in Unix time."""
    begin = time.time()
    yield
    steps[name] = (begin, time.time())


def sort(nwb: Path, folder: Path, settings: dict[str, Any], jobs: int) -> None:
    """From the NWB file to curated units, with the intermediate results in `folder`."""
    preparing, sorter, waveform = settings["recording"], settings["sorter"], settings["waveform"]

    with step("preprocessed_recording"):
        raw = read_nwb_recording(nwb)
        microvolts = spre.scale_to_uV(raw)
        _, labels = spre.detect_bad_channels(
            microvolts, method="coherence+psd", seed=preparing["bad_channel_seed"], job_kwargs={"n_jobs": 1}
        )
        good = microvolts.select_channels(microvolts.channel_ids[~np.isin(labels, ["dead", "noise"])])
        filtered = spre.bandpass_filter(good, freq_min=preparing["freq_min"], freq_max=preparing["freq_max"])

    with step("binary_dat"):
        gain_uv = float(raw.get_channel_gains()[0])
        counts = spre.scale(filtered, gain=1 / gain_uv, dtype="int16")
        counts.set_channel_gains(gain_uv)
        counts.set_channel_offsets(0.0)
        recording = counts.save(format="binary", folder=folder / "binary")

    with step("sorting"):
        params = dict(sorter["params"])
        if sorter["name"].startswith("kilosort"):
            import torch

            torch.set_num_threads(jobs)
            params["torch_device"] = sorter["device"]
        found = run_sorter(sorter["name"], recording, folder=folder / "sorter", **params)
        sorting = remove_excess_spikes(found, recording).save(folder=folder / "sorting")

    with step("waveforms"):
        seed = waveform["seed"]
        storage = {"format": "binary_folder", "folder": folder / "analyzer", "return_in_uV": True, "seed": seed}
        sparsity = {"sparse": True, "method": "radius", "radius_um": waveform["radius_um"]}
        analyzer = si.create_sorting_analyzer(sorting, recording, **storage, **sparsity)
        analyzer.compute("random_spikes", max_spikes_per_unit=waveform["max_spikes_per_unit"], seed=seed)
        analyzer.compute("waveforms", ms_before=waveform["ms_before"], ms_after=waveform["ms_after"])
        analyzer.compute("templates")
        analyzer.compute("noise_levels", random_slices_kwargs={"seed": seed})
        analyzer.compute(list(EXTENSIONS))

    with step("unit_metrics"):
        analyzer.compute(["quality_metrics", "template_metrics"])

    with step("curated_units"):
        metrics = analyzer.get_extension("quality_metrics").get_data()
        limits = settings["curation"]
        kept = metrics["num_spikes"] >= (limits["min_spikes"] or 0)
        kept &= metrics["firing_rate"] >= (limits["min_firing_rate_hz"] or 0)
        kept &= metrics["snr"] >= (limits["min_snr"] or 0)
        sorting.select_units(metrics.index[kept].to_numpy()).save(folder=folder / "curated")
        metrics.to_csv(folder / "metrics.csv")


if __name__ == "__main__":
    nwb_file, results = Path(sys.argv[1]), Path(sys.argv[2])
    settings_given, job_kwargs = json.loads(sys.argv[3]), json.loads(sys.argv[4])
    si.set_global_job_kwargs(**job_kwargs, progress_bar=False)
    sort(nwb_file, results, settings_given, job_kwargs["n_jobs"])
    (results / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
