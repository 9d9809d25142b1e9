"""A backend as another lab might write it, without SpikeInterface's runner: every channel that crosses is a unit."""

import json
from pathlib import Path

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting, SortingAnalyzer, create_sorting_analyzer

from sort_assets.backends import SorterBackend
from sort_assets.backends.base import UNITS_BEFORE_CURATION
from sort_assets.recordings import open_recording, prepare

THRESHOLD_UV = -60.0
REFRACTORY_SAMPLES = 30


class ThresholdBackend(SorterBackend):
    """Sorts the lazy recording, writes no `.dat`, and has nothing to scale."""

    name = "threshold"

    def load_recording(self, rec_path: Path | BaseRecording) -> BaseRecording:
        recording = open_recording(rec_path) if isinstance(rec_path, Path) else rec_path
        return prepare(recording, self.config.recording)

    def sort(
        self,
        recording: BaseRecording,
        rec_path: Path | None,
        recording_dat_path: Path | None,
        output_folder: Path,
    ) -> BaseSorting:
        output_folder.mkdir()
        traces = recording.get_traces()
        lowest = traces.argmin(axis=1)
        depths = traces.min(axis=1)
        spikes: list[int] = []
        for sample in np.flatnonzero(depths < THRESHOLD_UV).tolist():
            if not spikes or sample - spikes[-1] > REFRACTORY_SAMPLES:
                spikes.append(sample)
            elif depths[sample] < depths[spikes[-1]]:
                spikes[-1] = sample
        np.save(output_folder / "spikes.npy", spikes)
        return NumpySorting.from_samples_and_labels([np.array(spikes)], [lowest[spikes]], recording.sampling_frequency)

    def extract_waveforms(
        self,
        recording: BaseRecording,
        sorting: BaseSorting,
        waveforms_folder: Path,
        curation_folder: Path,
        rec_path: Path | None = None,
        rng: np.random.Generator | None = None,
    ) -> SortingAnalyzer:
        analyzer = create_sorting_analyzer(sorting, recording, sparse=False)
        seed = self.config.waveform.seed if rng is None else int(rng.integers(2**31))
        chosen = {"max_spikes_per_unit": self.config.waveform.max_spikes_per_unit, "seed": seed}
        analyzer.compute({"random_spikes": chosen, "waveforms": {}, "templates": {}, "noise_levels": {}})
        stored = analyzer.save_as(format="binary_folder", folder=waveforms_folder)
        curation_folder.mkdir(exist_ok=True)
        listed = {"unit_ids": sorting.unit_ids.tolist()}
        (curation_folder / UNITS_BEFORE_CURATION).write_text(json.dumps(listed))
        return stored
