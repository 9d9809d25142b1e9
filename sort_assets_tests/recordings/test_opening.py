from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, NumpyRecording, append_recordings
from spikeinterface.preprocessing import scale

from sort_assets.config import RecordingConfig
from sort_assets.errors import (
    IncompatibleFilesError,
    MissingRecordingError,
    UnknownFormatError,
    UnreadableRecordingError,
)
from sort_assets.recordings import Boundary, boundaries, open_recording
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.clock_check import clock, doubts_about_times
from sort_assets.recordings.files_in_time import seconds_into_file
from sort_assets.recordings.preprocessing import cut_to_range
from sort_assets.testing.ground_truth import make_ground_truth
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import cut_second_half, recording_of
from sort_assets_tests.recordings.writers import write_maxwell, write_spikeinterface_binary

SECOND = 30000


@pytest.fixture
def parts(short: BaseRecording, tmp_path: Path) -> Path:
    """part_1 (0 to 0.5 s), part_2 (0.5 to 1.5 s) and part_10 (1.5 to 2 s) of `short`, each with its own start time."""
    folder = tmp_path / "session"
    folder.mkdir()
    for name, start, stop, time_s in (("10", 45000, 60000, 100.0), ("1", 0, 15000, 5.0), ("2", 15000, 45000, 50.0)):
        write_nwb(short.frame_slice(start, stop), folder / f"part_{name}.nwb", starting_time_s=time_s)
    return folder


def test_a_single_file_is_one_piece_with_its_start_time(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb", starting_time_s=12.5)

    assert boundaries(open_recording(path)) == [Boundary("recording.nwb", 0, 60000, 12.5)]


def test_files_in_a_folder_are_concatenated_as_people_count(short: BaseRecording, parts: Path) -> None:
    recording = open_recording(parts)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    assert boundaries(recording) == [
        Boundary("part_1.nwb", 0, 15000, 5.0),
        Boundary("part_2.nwb", 15000, 45000, 50.0),
        Boundary("part_10.nwb", 45000, 60000, 100.0),
    ]


def test_a_concatenated_recording_keeps_probe_and_gains(short: BaseRecording, parts: Path) -> None:
    recording = open_recording(parts)

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    np.testing.assert_allclose(recording.get_channel_gains(), short.get_channel_gains())


def test_hidden_files_and_notes_are_ignored(parts: Path) -> None:
    (parts / ".part_3.nwb").touch()
    (parts / "notes.txt").write_text("mouse 3")
    (parts / "plots").mkdir()

    assert len(boundaries(open_recording(parts))) == 3


def test_a_truncated_file_among_others_is_named(parts: Path) -> None:
    cut_second_half(parts / "part_2.nwb")

    with pytest.raises(UnreadableRecordingError, match=r"part_2\.nwb' is truncated"):
        open_recording(parts)


@pytest.mark.parametrize("content", [(), ("notes.txt",)])
def test_a_folder_without_recordings_is_refused(content: tuple[str, ...], tmp_path: Path) -> None:
    for name in content:
        (tmp_path / name).write_text("mouse 3")

    with pytest.raises(UnknownFormatError, match="holds no recording"):
        open_recording(tmp_path)


def test_what_does_not_exist_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingRecordingError, match="absent"):
        open_recording(tmp_path / "absent")


def test_the_stream_is_opened_in_every_file(short: BaseRecording, tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_maxwell({"well000": short, "well001": short}, tmp_path / name)

    recording = open_recording(tmp_path, "well001")

    assert recording.get_num_samples() == 2 * short.get_num_samples()


def _fewer_channels(short: BaseRecording) -> BaseRecording:
    return short.select_channels(short.channel_ids[:8])


def _other_gain(short: BaseRecording) -> BaseRecording:
    return recording_of(short.get_traces(), short, gain_to_uv=0.5)


def _other_offset(short: BaseRecording) -> BaseRecording:
    other = recording_of(short.get_traces(), short)
    other.set_channel_offsets(10.0)
    return other


def _other_type(short: BaseRecording) -> BaseRecording:
    return scale(short, dtype="float32")


def _other_rate(short: BaseRecording) -> BaseRecording:
    return make_ground_truth(duration_s=1.0, sampling_frequency=25000)[0]


def _other_places(short: BaseRecording) -> BaseRecording:
    other = recording_of(short.get_traces(), short)
    probe = other.get_probegroup().probes[0]
    probe.move([0, 100])
    other.set_probe(probe)
    return other


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (_fewer_channels, "its channels are others"),
        (_other_gain, "its gains are others"),
        (_other_offset, "its offsets are others"),
        (_other_type, "its sample type is float32, that of the other is int16"),
        (_other_rate, "its sampling rate is 25000 Hz, that of the other is 30000 Hz"),
        (_other_places, "its channel locations are others"),
    ],
)
def test_files_that_do_not_fit_together_are_named_with_the_difference(
    change: Callable[[BaseRecording], BaseRecording], difference: str, short: BaseRecording, tmp_path: Path
) -> None:
    write_nwb(short, tmp_path / "part_1.nwb")
    write_nwb(change(short), tmp_path / "part_2.nwb")

    with pytest.raises(IncompatibleFilesError, match=rf"part_2\.nwb'.*{difference}"):
        open_recording(tmp_path)


RATES_HZ = (29_997.123_456_7, 29_999.523_326_6)  # 80 ppm


def _write_at_two_rates(recording: BaseRecording, folder: Path) -> None:
    """The same samples in two files, of which the second starts at 10 s."""
    for number, rate_hz in enumerate(RATES_HZ):
        part = NumpyRecording([recording.get_traces()], rate_hz, channel_ids=recording.channel_ids)
        part.set_probegroup(recording.get_probegroup())
        part.set_channel_gains(0.5)
        part.set_channel_offsets(0.0)
        write_nwb(part, folder / f"part_{number}.nwb", starting_time_s=10.0 * number)


@pytest.mark.parametrize(("seconds", "allowed_ppm"), [(0.4, None), (1.0, 81.0)])
def test_rates_that_hardly_differ_are_concatenated_and_every_file_keeps_its_clock(
    seconds: float, allowed_ppm: float | None, short: BaseRecording, tmp_path: Path
) -> None:
    samples = round(seconds * SECOND)
    _write_at_two_rates(short.frame_slice(0, samples), tmp_path)

    recording = open_recording(tmp_path, config=RecordingConfig(max_rate_difference_ppm=allowed_ppm))

    assert recording.get_num_samples() == 2 * samples
    clock = recording_clock(recording)
    assert [piece.rate_hz for piece in clock.pieces] == list(RATES_HZ)
    last_s = [samples - 1, 2 * samples - 1]
    np.testing.assert_allclose(
        clock.times_s(last_s), [(samples - 1) / RATES_HZ[0], 10.0 + (samples - 1) / RATES_HZ[1]], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("allowed_ppm", [None, 79.0])
def test_rates_that_differ_by_more_are_refused_in_all_their_digits(
    allowed_ppm: float | None, short: BaseRecording, tmp_path: Path
) -> None:
    _write_at_two_rates(short, tmp_path)

    with pytest.raises(IncompatibleFilesError) as refusal:
        open_recording(tmp_path, config=RecordingConfig(max_rate_difference_ppm=allowed_ppm))

    assert "its sampling rate is 29999.5233266 Hz, that of the other is 29997.1234567 Hz" in str(refusal.value)
    assert "4.8 samples over the shorter file" in str(refusal.value)
    assert "recording.max_rate_difference_ppm to at least 80.1" in str(refusal.value.remedy)


def test_files_of_several_formats_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    write_nwb(short, tmp_path / "part_1.nwb")
    write_maxwell(short, tmp_path / "part_2.h5")

    with pytest.raises(IncompatibleFilesError, match=r"part_2\.h5'.*its format is maxwell"):
        open_recording(tmp_path)


def test_segments_are_concatenated(short: BaseRecording, tmp_path: Path) -> None:
    two = append_recordings([short.frame_slice(0, SECOND), short.frame_slice(SECOND, 2 * SECOND)])
    folder = write_spikeinterface_binary(two, tmp_path / "saved")

    recording = open_recording(folder)

    assert recording.get_num_segments() == 1
    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    assert [(piece.name, piece.start_sample, piece.end_sample) for piece in boundaries(recording)] == [
        ("saved/segment_0", 0, SECOND),
        ("saved/segment_1", SECOND, 2 * SECOND),
    ]


def test_segments_that_each_begin_at_zero_are_all_there(short: BaseRecording, tmp_path: Path) -> None:
    traces = short.get_traces()
    two = NumpyRecording([traces[:SECOND], traces[SECOND:]], short.sampling_frequency)
    two.set_probegroup(short.get_probegroup())
    two.set_channel_gains(0.195)
    two.set_channel_offsets(0.0)

    recording = open_recording(write_spikeinterface_binary(two, tmp_path / "saved"))

    np.testing.assert_array_equal(recording.get_traces(), traces)
    assert clock(recording).passed


def test_samples_that_two_files_share_are_there_once(short: BaseRecording, tmp_path: Path) -> None:
    write_nwb(short.frame_slice(0, 40_000), tmp_path / "part_1.nwb", starting_time_s=5.0)
    write_nwb(short.frame_slice(30_000, 60_000), tmp_path / "part_2.nwb", starting_time_s=6.0)

    recording = open_recording(tmp_path)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    assert "10000 samples were left out" in clock(recording).description


def test_files_that_overlap_by_their_clocks_alone_are_kept_and_told(short: BaseRecording, tmp_path: Path) -> None:
    write_nwb(short.frame_slice(0, 30_000), tmp_path / "part_1.nwb", starting_time_s=5.0)
    write_nwb(short.frame_slice(30_000, 60_000), tmp_path / "part_2.nwb", starting_time_s=5.5)

    recording = open_recording(tmp_path)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    assert "'part_2.nwb' begins at 5.500 s" in clock(recording).description


@pytest.mark.parametrize(("part", "is_doubtful"), [({"start_s": 1.2}, False), ({"end_s": 0.8}, False), ({}, True)])
def test_what_is_doubtful_about_the_order_of_files_is_that_of_the_part_which_is_sorted(
    part: dict[str, float], is_doubtful: bool, short: BaseRecording, tmp_path: Path
) -> None:
    write_nwb(short.frame_slice(0, 30_000), tmp_path / "part_1.nwb", starting_time_s=5.0)
    write_nwb(short.frame_slice(30_000, 60_000), tmp_path / "part_2.nwb", starting_time_s=5.5)

    cut = cut_to_range(open_recording(tmp_path), RecordingConfig(**part))

    assert bool(doubts_about_times(cut)) == is_doubtful


@pytest.mark.parametrize(
    ("part", "is_there_twice"), [({"start_s": 1.0}, True), ({"start_s": 1.0, "end_s": 2.5}, False)]
)
def test_a_copy_is_told_where_a_part_of_it_is_sorted_with_the_same_of_the_first(
    part: dict[str, float], is_there_twice: bool, short: BaseRecording, tmp_path: Path
) -> None:
    for name in ("part_1", "part_1 (copy)"):
        write_nwb(short, tmp_path / f"{name}.nwb")

    cut = cut_to_range(open_recording(tmp_path), RecordingConfig(**part))

    assert any("is it a copy?" in doubt for doubt in doubts_about_times(cut)) == is_there_twice


@pytest.mark.parametrize(
    ("part", "left_out"),
    [({}, 9_000), ({"start_s": 1.1}, 0), ({"end_s": 0.9}, 0), ({"start_s": 0.5, "end_s": 1.1}, 9_000)],
)
def test_samples_left_out_are_those_of_the_part_which_is_sorted(
    part: dict[str, float], left_out: int, short: BaseRecording, tmp_path: Path
) -> None:
    write_nwb(short.frame_slice(0, 30_000), tmp_path / "part_1.nwb", starting_time_s=5.0)
    write_nwb(short.frame_slice(21_000, 60_000), tmp_path / "part_2.nwb", starting_time_s=5.7)

    cut = cut_to_range(open_recording(tmp_path), RecordingConfig(**part))

    assert clock(cut).values["overlapping_samples"] == left_out


def test_how_far_a_sample_is_into_its_file_is_known_of_all_but_the_first() -> None:
    pieces = [
        Boundary("a.nwb", 0, 100, 5.0),
        Boundary("b.nwb", 100, 200, 0.0),
        Boundary("b.nwb/segment_1", 200, 300, 40.0),
    ]

    assert [seconds_into_file(pieces, sample, 100.0) for sample in (0, 99, 100, 150, 250)] == [
        None,
        None,
        0.0,
        0.5,
        40.5,
    ]


def test_a_copy_of_a_file_is_told(short: BaseRecording, tmp_path: Path) -> None:
    for name in ("part_1", "part_1 (copy)"):
        write_nwb(short, tmp_path / f"{name}.nwb")

    assert "is it a copy?" in clock(open_recording(tmp_path)).description


def test_boundaries_survive_saving(parts: Path, tmp_path: Path) -> None:
    recording = open_recording(parts)

    saved = open_recording(parts).save(folder=tmp_path / "saved", n_jobs=1, progress_bar=False)

    assert boundaries(saved) == boundaries(recording)


def test_a_recording_that_says_nothing_is_one_piece(short: BaseRecording) -> None:
    assert boundaries(short) == [Boundary("recording", 0, 60000, 0.0)]
