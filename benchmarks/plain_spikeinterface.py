"""The same sort as somebody would write it by hand, with SpikeInterface alone: what `end_to_end.py` compares with.

It knows nothing of sort_assets. The parameters come as JSON, so that both sides get the same.
"""

from __future__ import annotations

import argparse
import json
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

steps: dict[str, tuple[float, float]] = {}


@contextmanager
def step(name: str) -> Iterator[None]:
    """Note when a step began and ended, in Unix time."""
    begin = time.time()
    yield
    steps[name] = (begin, time.time())


def sort(nwb: Path, folder: Path, settings: dict[str, Any], jobs: int) -> None:
    """From the NWB file to waveforms, with the intermediate results in `folder`."""
    preparing, sorter, waveform = settings["recording"], settings["sorter"], settings["waveform"]

    with step("preprocessed_recording"):
        raw = read_nwb_recording(nwb)
        microvolts = spre.scale_to_uV(raw)
        seed = preparing["bad_channel_seed"]
        _, labels = spre.detect_bad_channels(
            microvolts, method="coherence+psd", seed=seed, job_kwargs={"n_jobs": 1, "progress_bar": False}
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
        import torch

        torch.set_num_threads(jobs)
        params = {"torch_device": sorter["device"], **sorter["params"]}
        found = run_sorter(sorter["name"], recording, folder=folder / "sorter", **params)
        sorting = remove_excess_spikes(found, recording).save(folder=folder / "sorting")

    with step("waveforms"):
        seed, radius_um = waveform["seed"], waveform["radius_um"]
        storage = {"format": "binary_folder", "folder": folder / "analyzer", "return_in_uV": True, "seed": seed}
        sparsity = {"sparse": True, "method": "radius", "radius_um": radius_um}
        analyzer = si.create_sorting_analyzer(sorting, recording, **storage, **sparsity)
        analyzer.compute("random_spikes", max_spikes_per_unit=waveform["max_spikes_per_unit"], seed=seed)
        analyzer.compute("waveforms", ms_before=waveform["ms_before"], ms_after=waveform["ms_after"])
        analyzer.compute("templates")
        analyzer.compute("noise_levels", random_slices_kwargs={"seed": seed})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nwb", type=Path)
    parser.add_argument("folder", type=Path, help="receives the results, and the times of the steps")
    parser.add_argument("--settings", type=json.loads, required=True, help="a SortingPipelineConfig")
    parser.add_argument("--job-kwargs", type=json.loads, required=True, help="SpikeInterface's global ones")
    given = parser.parse_args()
    si.set_global_job_kwargs(**given.job_kwargs, progress_bar=False)
    sort(given.nwb, given.folder, given.settings, given.job_kwargs["n_jobs"])
    (given.folder / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
