"""A sorter as another lab would write one: a unit for each channel, its spikes where the channel crosses a threshold.

Tests install a copy of this file as a package of its own. It reads the recording itself and needs no `.dat`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording, BaseSorting, NumpySorting, SortingAnalyzer, create_sorting_analyzer
from spikeinterface.sortingcomponents.peak_detection import detect_peaks

from sort_assets.backends import SorterBackend
from sort_assets.backends.base import UNITS_BEFORE_CURATION
from sort_assets.recordings import open_recording, prepare


class ThresholdBackend(SorterBackend):
    """One unit per channel."""

    name = "threshold"

    def load_recording(self, rec_path: Path | BaseRecording) -> BaseRecording:
        raw = open_recording(rec_path, self.config.recording.stream) if isinstance(rec_path, Path) else rec_path
        return prepare(raw, self.config.recording, self.frozen_folder)

    def sort(
        self,
        recording: BaseRecording,
        rec_path: Path | None,
        recording_dat_path: Path | None,
        output_folder: Path,
    ) -> BaseSorting:
        output_folder.mkdir()
        given = {"rec_path": str(rec_path), "recording_dat_path": recording_dat_path}
        (output_folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
        peaks = detect_peaks(
            recording,
            method="locally_exclusive",
            method_kwargs={"detect_threshold": 6.0, "radius_um": 100.0},
            job_kwargs={"n_jobs": 1, "progress_bar": False},
        )
        return NumpySorting.from_samples_and_labels(
            [peaks["sample_index"]], [peaks["channel_index"]], recording.sampling_frequency
        )

    def extract_waveforms(
        self,
        recording: BaseRecording,
        sorting: BaseSorting,
        waveforms_folder: Path,
        curation_folder: Path,
        rec_path: Path | None = None,
        rng: np.random.Generator | None = None,
    ) -> SortingAnalyzer:
        job: dict[str, Any] = {"n_jobs": 1, "progress_bar": False}
        analyzer = create_sorting_analyzer(
            sorting, recording, format="binary_folder", folder=waveforms_folder, sparse=False, job_kwargs=job
        )
        for name in ("recording.pickle", "sorting/provenance.pkl"):
            (waveforms_folder / name).unlink(missing_ok=True)
        analyzer.compute("random_spikes", seed=self.config.waveform.seed)
        analyzer.compute(["waveforms", "templates", "noise_levels"], **job)
        curation_folder.mkdir()
        listed = {"unit_ids": sorting.unit_ids.tolist()}
        (curation_folder / UNITS_BEFORE_CURATION).write_text(json.dumps(listed), encoding="utf-8")
        return analyzer
