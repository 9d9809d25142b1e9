"""The sort: what is refused before it, what it gives, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sort_assets.backends import SorterBackend
from sort_assets.backends.base import UNSORTABLE
from sort_assets.errors import ConfigError, MissingProbeError, SortAssetsError, UnsortableRecordingError
from sort_assets.testing.comparison import unit_accuracies
from sort_assets.testing.conformance.subject import BackendUnderTest, GroundTruth
from sort_assets.testing.sort_run import SortRun, make_sort_input


class SortingConformance(BackendUnderTest):
    """Known units are found, what can't be sorted is refused with an explanation, and silence has no units."""

    def test_refuses_an_unknown_parameter_before_anything_runs(self, short: GroundTruth, tmp_path: Path) -> None:
        if not self.checks_params:
            pytest.skip("does not know its sorter's parameters")
        backend = self.make_backend(
            self.make_config(sorter={"params": {**self.params, "no_such_parameter_anywhere": 1}})
        )
        recording = backend.load_recording(short[0])

        with pytest.raises(ConfigError, match="no_such_parameter_anywhere"):
            backend.check_ready()
        with pytest.raises(ConfigError, match="no_such_parameter_anywhere"):
            backend.sort(recording, None, None, tmp_path / "sorter")

        assert not (tmp_path / "sorter").exists()

    def test_refuses_a_recording_without_probe(
        self, backend: SorterBackend, short: GroundTruth, tmp_path: Path
    ) -> None:
        from spikeinterface.core import NumpyRecording

        if not self.needs_probe:
            pytest.skip("needs no probe")
        loaded = backend.load_recording(short[0])
        without_probe = NumpyRecording([loaded.get_traces()], loaded.sampling_frequency)

        with pytest.raises(MissingProbeError):
            backend.sort(without_probe, None, None, tmp_path / "sorter")

        assert not (tmp_path / "sorter").exists()

    def test_finds_no_unit_where_no_channel_ever_changes(
        self, backend: SorterBackend, short: GroundTruth, tmp_path: Path
    ) -> None:
        from spikeinterface.preprocessing import scale

        silent = scale(short[0], gain=0.0, offset=0.0, dtype="int16")
        recording, dat_path = make_sort_input(backend, silent, tmp_path)

        sorting = backend.sort(recording, None, dat_path, tmp_path / "sorter")

        assert len(sorting.unit_ids) == 0
        assert sorting.sampling_frequency == recording.sampling_frequency
        reason = sorting.get_annotation(UNSORTABLE)
        assert reason is None or isinstance(SortAssetsError.from_dict(reason), UnsortableRecordingError)

    def test_sorting_fits_the_recording(self, sort_run: SortRun) -> None:
        from spikeinterface.core import BaseSorting

        samples = sort_run.sorting.to_spike_vector()["sample_index"]

        assert isinstance(sort_run.sorting, BaseSorting)
        assert sort_run.sorting.get_num_segments() == 1
        assert sort_run.sorting.sampling_frequency == sort_run.recording.sampling_frequency
        assert samples.min() >= 0
        assert samples.max() < sort_run.recording.get_num_samples()

    def test_sorting_recovers_most_of_the_known_units(self, sort_run: SortRun, ground_truth: GroundTruth) -> None:
        accuracies = unit_accuracies(ground_truth[1], sort_run.sorting)

        recovered = np.mean(accuracies >= self.minimum_accuracy)

        assert recovered >= self.minimum_recovered, f"accuracies of the known units: {np.round(accuracies, 3)}"

    def test_sorting_writes_only_into_its_folder(self, sort_run: SortRun) -> None:
        assert sort_run.written_elsewhere == ()

    def test_sorting_leaves_the_configuration_alone(self, sort_run: SortRun) -> None:
        assert sort_run.backend.config == self.make_config()
