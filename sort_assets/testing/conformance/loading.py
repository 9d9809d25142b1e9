"""Loading: from the raw file to the recording that is sorted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.backends import SorterBackend
from sort_assets.recordings.dat_file import description_path, read_dat
from sort_assets.testing.comparison import spike_depths_uv
from sort_assets.testing.conformance.subject import BackendUnderTest, GroundTruth

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

# Writing filters chunk by chunk, with finite margins.
_FILTER_TOLERANCE_UV = 0.01


class LoadingConformance(BackendUnderTest):
    """Recordings are opened lazily, in microvolts and filtered, and written as they are."""

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
