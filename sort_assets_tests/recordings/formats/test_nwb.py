from pathlib import Path

import h5py
import numpy as np
import pytest
from spikeinterface.core import BaseRecording
from spikeinterface.preprocessing import decimate

from sort_assets.config import RecordingConfig
from sort_assets.errors import ClockGapError, StreamError, UnreadableRecordingError
from sort_assets.recordings import open_recording, sortable_streams
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.clock_check import clock as clock_check
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import recording_of


@pytest.fixture
def field_potentials(short: BaseRecording) -> BaseRecording:
    return decimate(short, 24, antialias=False)


def test_samples_gains_and_locations_are_those_written(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    np.testing.assert_allclose(recording.get_channel_gains(), 0.195)
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    assert recording.channel_ids.tolist() == short.channel_ids.tolist()


def test_compressed_samples_are_read(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", compression="gzip")

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    with h5py.File(path) as file:
        assert file["acquisition/ElectricalSeries/data"].compression == "gzip"


def test_the_start_time_is_kept(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", starting_time_s=12.5)

    assert open_recording(path).get_start_time() == 12.5


def test_a_clock_in_seconds_since_1970_keeps_its_rate_and_its_times(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True, starting_time_s=1_700_000_000.25)

    recording = open_recording(path)

    clock = recording_clock(recording)
    assert recording.sampling_frequency == 30_000
    assert abs(clock.ppm) < 1
    samples = np.arange(recording.get_num_samples())
    np.testing.assert_allclose(clock.times_s(samples) - 1_700_000_000.25, samples / 30_000, atol=1e-6, rtol=0)
    assert clock_check(recording).passed


@pytest.mark.parametrize("gaps", ["split", "refuse"])
def test_a_hole_in_the_timestamps_is_told_or_refused(gaps: str, short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True, starting_time_s=5.0)
    with h5py.File(path, "a") as file:
        file["acquisition/ElectricalSeries/timestamps"][30_000:] += 30.0
    config = RecordingConfig(gaps=gaps)
    if gaps == "refuse":
        with pytest.raises(ClockGapError, match="first by 900000 samples before sample 30000"):
            open_recording(path, config=config)
        return

    recording = open_recording(path, config=config)

    assert recording_clock(recording).times_s([29_999, 30_000]) == pytest.approx([5 + 29_999 / 30_000, 36.0])
    result = clock_check(recording)
    assert not result.passed
    assert "900000 samples (30.000 s) are missing before sample 30000" in result.description


def test_timestamps_that_are_no_numbers_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True)
    with h5py.File(path, "a") as file:
        file["acquisition/ElectricalSeries/timestamps"][12_345] = np.nan

    with pytest.raises(UnreadableRecordingError, match="timestamp of sample 12345 is no number"):
        open_recording(path)


def test_timestamps_instead_of_a_rate_are_read(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", timestamps=True, starting_time_s=3.0)

    recording = open_recording(path)

    assert recording.sampling_frequency == pytest.approx(30000, rel=1e-6)
    assert recording.get_start_time() == 3.0


def test_offsets_and_channel_wise_gains_reach_microvolts(short: BaseRecording, tmp_path: Path) -> None:
    uneven = recording_of(short.get_traces(), short)
    uneven.set_channel_gains(np.linspace(0.1, 0.4, 16))
    uneven.set_channel_offsets(25.0)
    path = write_nwb(uneven, tmp_path / "recording.nwb")

    microvolts = open_recording(path).get_traces(return_in_uV=True)

    np.testing.assert_allclose(microvolts, uneven.get_traces(return_in_uV=True), rtol=1e-5, atol=1e-3)


def test_each_fast_series_is_a_stream(short: BaseRecording, field_potentials: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb({"ProbeA": short, "ProbeB": short, "Slow": field_potentials}, tmp_path / "recording.nwb")

    assert sortable_streams(path) == ("acquisition/ProbeA", "acquisition/ProbeB")


def test_the_named_series_is_opened(short: BaseRecording, tmp_path: Path) -> None:
    reversed_traces = recording_of(short.get_traces()[::-1].copy(), short)
    path = write_nwb({"ProbeA": short, "ProbeB": reversed_traces}, tmp_path / "recording.nwb")

    recording = open_recording(path, "acquisition/ProbeB")

    np.testing.assert_array_equal(recording.get_traces(), reversed_traces.get_traces())


def test_field_potentials_beside_one_fast_series_need_no_choice(
    short: BaseRecording, field_potentials: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb({"Fast": short, "Slow": field_potentials}, tmp_path / "recording.nwb")

    assert sortable_streams(path) == ()
    assert open_recording(path).sampling_frequency == 30000


@pytest.mark.parametrize("stream", [None, "acquisition/ProbeC"])
def test_a_stream_error_lists_the_series(stream: str | None, short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb({"ProbeA": short, "ProbeB": short}, tmp_path / "recording.nwb")

    with pytest.raises(StreamError, match="acquisition/ProbeA, acquisition/ProbeB"):
        open_recording(path, stream)


def test_field_potentials_are_refused_with_their_rate(
    short: BaseRecording, field_potentials: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb({"Fast": short, "Slow": field_potentials}, tmp_path / "recording.nwb")

    with pytest.raises(StreamError, match=r"1250 samples per second.*acquisition/Fast"):
        open_recording(path, "processing/ecephys/LFP_Slow/Slow")


def test_a_file_of_field_potentials_alone_has_nothing_to_sort(field_potentials: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(field_potentials, tmp_path / "recording.nwb")

    with pytest.raises(StreamError, match="no stream that can be sorted"):
        open_recording(path)


def test_a_file_without_signal_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "recording.nwb", "w") as file:
        file.create_group("acquisition")

    with pytest.raises(UnreadableRecordingError, match="no electrical series"):
        open_recording(tmp_path / "recording.nwb")


def test_a_series_without_its_electrodes_is_unreadable_with_the_cause(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    with h5py.File(path, "a") as file:
        del file["acquisition/ElectricalSeries/electrodes"]

    with pytest.raises(UnreadableRecordingError, match="electrodes must be present"):
        open_recording(path)
