"""The waveforms: complete, in microvolts, and of spikes that the generator chose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sort_assets.backends import SorterBackend
from sort_assets.backends.base import UNITS_BEFORE_CURATION
from sort_assets.recordings import refuse_pickles
from sort_assets.testing.comparison import spike_depths_uv
from sort_assets.testing.conformance.subject import BackendUnderTest, GroundTruth

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, SortingAnalyzer

EXTENSIONS = ("random_spikes", "waveforms", "templates", "noise_levels")
"""Of the analyzer that `SorterBackend.extract_waveforms` returns."""


class WaveformConformance(BackendUnderTest):
    """The analyzer is stored with everything that is read of it, for any number of units."""

    def test_analyzer_holds_all_known_units(
        self, extracted: tuple[SortingAnalyzer, Path, Path], ground_truth: GroundTruth
    ) -> None:
        assert extracted[0].unit_ids.tolist() == ground_truth[1].unit_ids.tolist()

    def test_analyzer_is_stored_with_its_extensions(self, extracted: tuple[SortingAnalyzer, Path, Path]) -> None:
        from spikeinterface.core import load_sorting_analyzer

        analyzer, folder, _ = extracted

        stored = load_sorting_analyzer(folder)

        assert all(stored.has_extension(name) for name in EXTENSIONS)
        np.testing.assert_array_equal(
            stored.get_extension("templates").get_data(), analyzer.get_extension("templates").get_data()
        )

    def test_analyzer_is_stored_without_pickles(self, extracted: tuple[SortingAnalyzer, Path, Path]) -> None:
        refuse_pickles(extracted[1])

    def test_templates_are_in_microvolts(
        self, extracted: tuple[SortingAnalyzer, Path, Path], ground_truth: GroundTruth
    ) -> None:
        templates = extracted[0].get_extension("templates").get_data()

        np.testing.assert_allclose(-templates.min(axis=(1, 2)), spike_depths_uv(*ground_truth), rtol=0.3)

    def test_noise_levels_are_in_microvolts(
        self, extracted: tuple[SortingAnalyzer, Path, Path], sort_input: tuple[BaseRecording, Path | None]
    ) -> None:
        from scipy.stats import median_abs_deviation

        traces_uv = sort_input[0].get_traces(return_in_uV=True)

        np.testing.assert_allclose(
            extracted[0].get_extension("noise_levels").get_data(),
            median_abs_deviation(traces_uv, axis=0, scale="normal"),
            rtol=0.1,
        )

    def test_units_before_curation_are_listed(self, extracted: tuple[SortingAnalyzer, Path, Path]) -> None:
        listed = json.loads((extracted[2] / UNITS_BEFORE_CURATION).read_text(encoding="utf-8"))

        assert listed["unit_ids"] == extracted[0].unit_ids.tolist()

    @pytest.mark.parametrize(("seed", "same"), [(7, True), (8, False)])
    def test_the_generator_decides_which_spikes_are_chosen(
        self,
        seed: int,
        same: bool,
        extracted: tuple[SortingAnalyzer, Path, Path],
        ground_truth: GroundTruth,
        sort_input: tuple[BaseRecording, Path | None],
        backend: SorterBackend,
        tmp_path: Path,
    ) -> None:
        again = backend.extract_waveforms(
            sort_input[0], ground_truth[1], tmp_path / "waveforms", tmp_path, rng=np.random.default_rng(seed)
        )

        first_choice = extracted[0].get_extension("random_spikes").get_data()
        assert np.array_equal(again.get_extension("random_spikes").get_data(), first_choice) == same

    def test_extracts_waveforms_of_no_units(
        self, backend: SorterBackend, sort_input: tuple[BaseRecording, Path | None], tmp_path: Path
    ) -> None:
        from spikeinterface.core import NumpySorting, load_sorting_analyzer

        no_units = NumpySorting.from_unit_dict([{}], sort_input[0].sampling_frequency)

        analyzer = backend.extract_waveforms(sort_input[0], no_units, tmp_path / "waveforms", tmp_path / "curation")

        assert len(analyzer.unit_ids) == 0
        stored = load_sorting_analyzer(tmp_path / "waveforms")
        assert all(stored.has_extension(name) for name in EXTENSIONS)
        assert json.loads((tmp_path / "curation" / UNITS_BEFORE_CURATION).read_text())["unit_ids"] == []
