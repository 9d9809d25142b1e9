"""What every sorter backend must do, as tests."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from sort_assets.backends import SorterBackend, create_backend
from sort_assets.backends.base import UNITS_BEFORE_CURATION
from sort_assets.config import SortingPipelineConfig
from sort_assets.errors import ConfigError, MissingProbeError
from sort_assets.recordings import refuse_pickles
from sort_assets.recordings.binary import description_path, read_dat
from sort_assets.recordings.synthetic import make_ground_truth, write_nwb
from sort_assets.testing.comparison import spike_depths_uv, unit_accuracies
from sort_assets.testing.sort_run import SortRun, make_sort_input, run_sort

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording, BaseSorting, SortingAnalyzer

EXTENSIONS = ("random_spikes", "waveforms", "templates", "noise_levels")
"""Of the analyzer that `SorterBackend.extract_waveforms` returns."""
SHORT_S = 2.0
"""Length of the recordings in the tests that do not sort."""
_OFFSET_COUNTS = 2000
# Writing filters chunk by chunk, with margins that are not endless.
_FILTER_TOLERANCE_UV = 0.01
_MOST_SCALINGS = 100

GroundTruth = tuple["BaseRecording", "BaseSorting"]


class SorterBackendConformance:
    """Tests of one backend. Subclass it, and name the backend.

    Attributes
    ----------
    backend_name : str
        The name under which the backend is registered.
    params : Mapping[str, Any]
        The sorter's parameters in these tests.
    device : str
        "cpu", "cuda" or "auto".
    minimum_accuracy : float
        From which a known unit counts as recovered: true positives over all spikes of both units together.
    minimum_recovered : float
        Share of the known units that must be recovered.
    needs_probe : bool
        Whether the sorter needs channel locations.
    checks_params : bool
        Whether the backend knows which parameters its sorter takes.
    """

    backend_name: ClassVar[str]
    params: ClassVar[Mapping[str, Any]] = {}
    device: ClassVar[str] = "cpu"
    minimum_accuracy: ClassVar[float] = 0.8
    minimum_recovered: ClassVar[float] = 0.75
    needs_probe: ClassVar[bool] = True
    checks_params: ClassVar[bool] = True

    @classmethod
    def make_config(cls, **sections: Mapping[str, Any]) -> SortingPipelineConfig:
        """The configuration of these tests, with what a test wants to be different in a section."""
        values: dict[str, dict[str, Any]] = {
            "recording": {"bad_channels": "none"},
            "sorter": {"name": cls.backend_name, "params": dict(cls.params), "device": cls.device},
            "waveform": {"max_spikes_per_unit": 50},
            "execution": {"n_jobs": 1},
        }
        for section, changes in sections.items():
            values[section] |= changes
        return SortingPipelineConfig.model_validate(values)

    @classmethod
    def make_backend(cls, config: SortingPipelineConfig) -> SorterBackend:
        """The backend under test; override it to test one that is not registered."""
        return create_backend(config)

    @pytest.fixture
    def backend(self) -> SorterBackend:
        """A new backend, for one test."""
        return self.make_backend(self.make_config())

    @pytest.fixture(scope="class")
    @classmethod
    def ground_truth(cls) -> GroundTruth:
        """A recording with a probe and gains, and the spikes in it."""
        return _ground_truth()

    @pytest.fixture(scope="class")
    @classmethod
    def short(cls, ground_truth: GroundTruth) -> GroundTruth:
        """The first seconds of it, with the samples far from zero, as some amplifiers have them."""
        from spikeinterface.preprocessing import scale

        recording, sorting = ground_truth
        end = int(SHORT_S * recording.sampling_frequency)
        shifted = scale(recording.frame_slice(0, end), offset=_OFFSET_COUNTS, dtype="int16")
        return shifted, sorting.frame_slice(0, end)

    @pytest.fixture(scope="class")
    @classmethod
    def recording_file(cls, short: GroundTruth, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The short recording as a file; override it where the backend reads other formats."""
        return write_nwb(short[0], tmp_path_factory.mktemp("file") / "recording.nwb")

    @pytest.fixture(scope="class")
    @classmethod
    def recording_folder(cls, short: GroundTruth, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The short recording as a folder of two files."""
        folder = tmp_path_factory.mktemp("session")
        half = short[0].get_num_samples() // 2
        write_nwb(short[0].frame_slice(0, half), folder / "part_1.nwb")
        write_nwb(short[0].frame_slice(half, 2 * half), folder / "part_2.nwb")
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def sort_input(
        cls, ground_truth: GroundTruth, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[BaseRecording, Path | None]:
        """What the platform would sort: the view of the `.dat`, and its path, or the lazy recording."""
        return make_sort_input(cls.make_backend(cls.make_config()), ground_truth[0], tmp_path_factory.mktemp("dat"))

    @pytest.fixture(scope="class")
    @classmethod
    def sort_run(
        cls,
        sort_input: tuple[BaseRecording, Path | None],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> SortRun:
        """The sort that all tests of the class share."""
        return run_sort(cls.make_backend(cls.make_config()), *sort_input, tmp_path_factory.mktemp("sort"))

    @pytest.fixture(scope="class")
    @classmethod
    def extracted(
        cls,
        ground_truth: GroundTruth,
        sort_input: tuple[BaseRecording, Path | None],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> tuple[SortingAnalyzer, Path, Path]:
        """Waveforms of the known units: the analyzer, its folder and the folder for curation."""
        folder = tmp_path_factory.mktemp("extracted")
        backend = cls.make_backend(cls.make_config())
        analyzer = backend.extract_waveforms(
            sort_input[0], ground_truth[1], folder / "waveforms", folder / "curation", rng=np.random.default_rng(7)
        )
        return analyzer, folder / "waveforms", folder / "curation"

    def test_keeps_its_configuration(self) -> None:
        config = self.make_config()

        assert self.make_backend(config).config is config

    def test_is_ready_with_the_parameters_of_these_tests(self, backend: SorterBackend) -> None:
        backend.check_ready()

    def test_loads_a_file(self, backend: SorterBackend, recording_file: Path, short: GroundTruth) -> None:
        _assert_loaded(backend.load_recording(recording_file), short)

    def test_loads_a_folder_of_files_one_after_the_other(
        self, backend: SorterBackend, recording_folder: Path, short: GroundTruth
    ) -> None:
        _assert_loaded(backend.load_recording(recording_folder), short)

    def test_loads_a_recording_that_is_already_open(self, backend: SorterBackend, short: GroundTruth) -> None:
        _assert_loaded(backend.load_recording(short[0]), short)

    def test_loads_lazily(self, backend: SorterBackend, short: GroundTruth) -> None:
        counting = _counting(short[0])

        backend.load_recording(counting)

        assert counting.segments[0].samples_read < 0.1 * short[0].get_num_samples()

    def test_loads_the_same_recording_with_a_frozen_configuration(
        self, backend: SorterBackend, recording_file: Path, tmp_path: Path
    ) -> None:
        frozen = self.make_backend(backend.freeze_recording(recording_file, tmp_path))
        frozen.frozen_folder = tmp_path

        np.testing.assert_array_equal(
            frozen.load_recording(recording_file).get_traces(), backend.load_recording(recording_file).get_traces()
        )

    def test_writes_the_recording_to_half_a_count_or_not_at_all(
        self, backend: SorterBackend, short: GroundTruth, tmp_path: Path
    ) -> None:
        recording = backend.load_recording(short[0])
        dat_path = tmp_path / "traces.dat"

        backend.write_recording(recording, dat_path)

        if not backend.writes_dat:
            assert list(tmp_path.iterdir()) == []
            return
        assert set(tmp_path.iterdir()) == {dat_path, description_path(dat_path)}
        written = read_dat(dat_path)
        half_a_count = 0.5 * float(written.get_channel_gains()[0]) if written.dtype.kind == "i" else 0.0
        np.testing.assert_allclose(
            written.get_traces(return_in_uV=True),
            recording.get_traces(),
            rtol=0,
            atol=half_a_count + _FILTER_TOLERANCE_UV,
        )
        np.testing.assert_array_equal(written.channel_ids, recording.channel_ids)
        np.testing.assert_array_equal(written.get_channel_locations(), recording.get_channel_locations())

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

    @pytest.mark.parametrize("factor", [-1.0, 0.0, 1.0, 2.0, math.nan, math.inf])
    def test_a_factor_that_does_not_lower_changes_nothing(self, backend: SorterBackend, factor: float) -> None:
        config = backend.config

        assert backend.scale_oom_params(factor) is False

        assert backend.config is config

    def test_scaling_says_whether_something_changed_and_ends_at_a_floor(self, backend: SorterBackend) -> None:
        for _ in range(_MOST_SCALINGS):
            before = backend.config
            changed = backend.scale_oom_params(0.5)
            assert changed == (backend.config != before)
            if not changed:
                return
        pytest.fail(f"still scales after {_MOST_SCALINGS} times")

    def test_scaling_replaces_the_configuration_and_leaves_the_old_one_alone(self) -> None:
        config = self.make_config()
        backend = self.make_backend(config)

        scaled = backend.scale_oom_params(0.5)

        assert config == self.make_config()
        assert (backend.config is config) == (not scaled)

    def test_restoring_undoes_all_scaling_also_after_a_failure(self, backend: SorterBackend) -> None:
        before = backend.config
        snapshot = backend.snapshot_oom_params()

        with pytest.raises(MemoryError):
            _scale_and_fail(backend, snapshot)

        assert backend.config == before

    def test_a_snapshot_does_not_change_afterwards(self, backend: SorterBackend) -> None:
        snapshot = backend.snapshot_oom_params()
        copied = copy.deepcopy(snapshot)

        backend.scale_oom_params(0.5)
        backend.restore_oom_params(snapshot)
        backend.scale_oom_params(0.5)

        assert snapshot == copied

    @pytest.mark.parametrize(
        ("maximum_s", "tolerance_s"),
        [(None, 10 + 60 * SHORT_S / 60), (10.5, 10.5), (10000.0, 10 + 60 * SHORT_S / 60)],
    )
    def test_inactivity_is_tolerated_in_proportion_to_duration(
        self, short: GroundTruth, maximum_s: float | None, tolerance_s: float
    ) -> None:
        execution = {"sorter_inactivity_base_s": 10, "sorter_inactivity_per_min_s": 60}
        backend = self.make_backend(self.make_config(execution={**execution, "sorter_inactivity_max_s": maximum_s}))

        assert backend._resolve_inactivity_timeout_s(short[0]) == pytest.approx(tolerance_s)

    def test_inactivity_is_not_watched_when_that_is_disabled(self, short: GroundTruth) -> None:
        backend = self.make_backend(self.make_config(execution={"sorter_inactivity_timeout": False}))

        assert backend._resolve_inactivity_timeout_s(short[0]) is None

    def test_inactivity_is_not_watched_when_the_duration_is_unknown(self, backend: SorterBackend) -> None:
        of_unknown_duration: Any = object()

        assert backend._resolve_inactivity_timeout_s(of_unknown_duration) is None


@cache
def _ground_truth() -> GroundTruth:
    return make_ground_truth()


def _assert_loaded(loaded: BaseRecording, truth: GroundTruth) -> None:
    raw, sorting = truth
    traces = loaded.get_traces()
    assert loaded.get_num_segments() == 1
    assert traces.shape == (raw.get_num_samples(), raw.get_num_channels())
    assert traces.dtype == np.float32
    np.testing.assert_array_equal(loaded.get_channel_locations(), raw.get_channel_locations())
    # Filtered: nothing of the offset is left. In microvolts: the spikes are as large as they were put in.
    assert np.abs(traces.mean(axis=0)).max() < 1.0
    view = sorting.select_units(sorting.unit_ids)
    view.set_property(
        "main_channel_id", loaded.channel_ids[raw.ids_to_indices(sorting.get_property("main_channel_id"))]
    )
    np.testing.assert_allclose(spike_depths_uv(loaded, view), spike_depths_uv(raw, sorting), rtol=0.3)


def _scale_and_fail(backend: SorterBackend, snapshot: dict[str, Any]) -> None:
    try:
        backend.scale_oom_params(0.5)
        backend.scale_oom_params(0.7)
        raise MemoryError
    finally:
        backend.restore_oom_params(snapshot)


def _counting(recording: BaseRecording) -> BaseRecording:
    """The same recording, whose segment counts in `samples_read` what is read of it."""
    from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

    class CountingSegment(BasePreprocessorSegment):  # type: ignore[misc]
        samples_read = 0

        def get_traces(self, start_frame: int, end_frame: int, channel_indices: Any) -> np.ndarray:
            self.samples_read += end_frame - start_frame
            return np.asarray(self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices))

    class CountingRecording(BasePreprocessor):  # type: ignore[misc]
        def __init__(self, recording: BaseRecording) -> None:
            super().__init__(recording)
            self.add_recording_segment(CountingSegment(recording.segments[0]))
            self._kwargs = {"recording": recording}

    return CountingRecording(recording)
