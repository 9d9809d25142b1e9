import os
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, NumpyRecording
from spikeinterface.core import load as load_recording

from sort_assets.config import RecordingConfig
from sort_assets.errors import IncompatibleFilesError, StreamError, UnknownFormatError, UnreadableRecordingError
from sort_assets.recordings import boundaries, open_recording, recognise, sortable_streams
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.completeness import missing_parts
from sort_assets_tests.recordings.files import cut_second_half
from sort_assets_tests.recordings.writers import write_intan

KINDS = ("rhd", "rhs")
LAYOUTS = ("one_file", "file_per_signal_type", "file_per_channel")
BLOCK = 128


def _write(recording: BaseRecording, folder: Path, kind: str, layout: str) -> Path:
    return write_intan(recording, folder / f"recording.{kind}", kind=kind, layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_holds_the_microvolts_of_the_amplifiers(
    kind: str, layout: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = _write(short, tmp_path, kind, layout)

    recording = open_recording(path)

    assert recognise(path).name == "intan"
    assert sortable_streams(path) == ()
    assert recording.channel_ids.tolist() == [f"A-{index:03d}" for index in range(16)]
    assert recording.sampling_frequency == short.sampling_frequency
    assert recording.get_num_samples() == (60000 // BLOCK * BLOCK if layout == "one_file" else 60000)
    expected = short.get_traces(end_frame=recording.get_num_samples(), return_in_uV=True)
    np.testing.assert_allclose(recording.get_traces(return_in_uV=True), expected, atol=0.001)


@pytest.mark.parametrize("version", [(1, 0), (1, 2), (1, 3), (2, 0)])
def test_older_versions_are_read(version: tuple[int, int], short: BaseRecording, tmp_path: Path) -> None:
    path = write_intan(short, tmp_path / "recording.rhd", version=version)

    recording = open_recording(path)

    expected = short.get_traces(end_frame=recording.get_num_samples(), return_in_uV=True)
    np.testing.assert_allclose(recording.get_traces(return_in_uV=True), expected, atol=0.001)


def test_channels_of_several_ports_are_told_apart(short: BaseRecording, tmp_path: Path) -> None:
    many = _recording_of(np.tile(short.get_traces(end_frame=1280), 5))

    recording = open_recording(write_intan(many, tmp_path / "recording.rhd"))

    assert recording.channel_ids[[0, 63, 64, 79]].tolist() == ["A-000", "A-063", "B-000", "B-015"]
    assert np.unique(recording.get_channel_groups(), return_counts=True)[1].tolist() == [64, 16]
    np.testing.assert_allclose(recording.get_traces(return_in_uV=True), many.get_traces(return_in_uV=True), atol=0.001)


def test_a_folder_of_files_cut_each_minute_is_one_recording(short: BaseRecording, tmp_path: Path) -> None:
    part = short.frame_slice(0, 100 * BLOCK)
    for number in (0, 1, 2):
        name = f"mouse_240101_12{number:02d}00.rhd"
        write_intan(part, tmp_path / name, first_sample=number * 100 * BLOCK)

    recording = open_recording(tmp_path)

    assert recording.get_num_samples() == 300 * BLOCK
    times = [piece.start_time_s for piece in boundaries(recording)]
    np.testing.assert_allclose(times, [0.0, 100 * BLOCK / 30000, 200 * BLOCK / 30000])
    np.testing.assert_array_equal(recording.get_traces(start_frame=200 * BLOCK), recording.get_traces(end_frame=12800))


def test_files_of_different_headstages_do_not_fit_together(short: BaseRecording, tmp_path: Path) -> None:
    write_intan(short, tmp_path / "part_1.rhd")
    write_intan(short.select_channels(short.channel_ids[:8]), tmp_path / "part_2.rhd")

    with pytest.raises(IncompatibleFilesError, match="its channels are others"):
        open_recording(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_reload_reads_the_same(layout: str, short: BaseRecording, tmp_path: Path) -> None:
    recording = open_recording(_write(short, tmp_path, "rhd", layout))

    reloaded = load_recording(recording.to_dict(recursive=True))

    np.testing.assert_array_equal(reloaded.get_traces(), recording.get_traces())


def test_there_is_no_other_stream(short: BaseRecording, tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="amplifier"):
        open_recording(write_intan(short, tmp_path / "recording.rhd"), "auxiliary")


def test_a_file_without_amplifiers_has_nothing_to_sort(tmp_path: Path) -> None:
    path = write_intan(_recording_of(np.empty((10 * BLOCK, 0), dtype="int16")), tmp_path / "recording.rhd")

    with pytest.raises(StreamError, match="holds no amplifier channels"):
        open_recording(path)


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "recording.rhd").touch()

    with pytest.raises(UnreadableRecordingError, match="is empty"):
        recognise(tmp_path / "recording.rhd")


@pytest.mark.parametrize("kind", KINDS)
def test_random_bytes_are_said_to_be_damaged(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"recording.{kind}"
    path.write_bytes(np.random.default_rng(0).bytes(5000))

    with pytest.raises(UnreadableRecordingError, match="does not begin as an Intan"):
        recognise(path)


def test_a_file_of_the_other_kind_under_the_wrong_name_is_damaged(short: BaseRecording, tmp_path: Path) -> None:
    path = write_intan(short, tmp_path / "recording.rhd", kind="rhs")

    with pytest.raises(UnreadableRecordingError, match="does not begin as an Intan"):
        recognise(path)


@pytest.mark.parametrize(
    ("num_bytes", "message"),
    [
        (10, "truncated or damaged: its header is not complete"),
        (400, "truncated or damaged: its header is not complete"),
        (-1, "truncated: it ends in the middle of a block"),
    ],
)
def test_a_file_that_was_cut_is_truncated(num_bytes: int, message: str, short: BaseRecording, tmp_path: Path) -> None:
    path = write_intan(short, tmp_path / "recording.rhd")
    os.truncate(path, num_bytes if num_bytes > 0 else path.stat().st_size + num_bytes)

    with pytest.raises(UnreadableRecordingError, match=rf"recording\.rhd' is {message}"):
        open_recording(path)


def test_a_file_with_a_header_alone_holds_no_samples(short: BaseRecording, tmp_path: Path) -> None:
    path = write_intan(short.frame_slice(0, BLOCK - 1), tmp_path / "recording.rhd")

    with pytest.raises(UnreadableRecordingError, match="holds no samples"):
        open_recording(path)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("file_per_signal_type", "amplifier.dat"),
        ("file_per_signal_type", "time.dat"),
        ("file_per_channel", "amp-A-005.dat"),
        ("file_per_channel", "time.dat"),
    ],
)
def test_a_folder_with_a_truncated_file_is_refused(
    layout: str, name: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = _write(short, tmp_path, "rhd", layout)
    cut_second_half(path / name)

    with pytest.raises(UnreadableRecordingError, match="is truncated: its"):
        open_recording(path)


def test_a_folder_that_lacks_a_channel_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    path = _write(short, tmp_path, "rhd", "file_per_channel")
    (path / "amp-A-005.dat").unlink()

    with pytest.raises(UnreadableRecordingError, match=r"lacks the samples of 1 channels: amp-A-005\.dat"):
        open_recording(path)


def test_a_file_that_would_be_taken_for_a_channel_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    path = _write(short, tmp_path, "rhd", "file_per_channel")
    (path / "sorted").mkdir()
    (path / "sorted" / "amplitudes.dat").write_bytes(b"\0" * 120000)

    with pytest.raises(UnreadableRecordingError, match="one for each channel and in this order"):
        open_recording(path)


def test_a_header_without_its_folder_is_no_recording(short: BaseRecording, tmp_path: Path) -> None:
    path = _write(short, tmp_path, "rhd", "file_per_signal_type")

    with pytest.raises(UnreadableRecordingError, match=r"only the header.*Name the folder"):
        open_recording(path / "info.rhd")

    (path / "time.dat").unlink()
    with pytest.raises(UnreadableRecordingError, match=r"the file time\.dat that belongs to it is missing"):
        open_recording(path)


def test_other_folders_are_not_taken_for_intan(tmp_path: Path) -> None:
    (tmp_path / "time.dat").touch()

    with pytest.raises(UnknownFormatError):
        recognise(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lost_samples_are_found(layout: str, short: BaseRecording, tmp_path: Path) -> None:
    first = write_intan(short, tmp_path / f"first_{layout}", layout=layout)
    second = write_intan(short, tmp_path / f"second_{layout}", layout=layout, first_sample=63000)
    joined = tmp_path / "joined.rhd"
    if layout == "one_file":
        # The second file's blocks after the first's: what a careless merge makes.
        blocks = 60000 // BLOCK * (BLOCK * (2 * 16 + 2 + 4) + 3 * BLOCK // 4 * 2 + 2)
        joined.write_bytes(first.read_bytes() + second.read_bytes()[-blocks:])
    else:
        joined = first
        for file in first.glob("*.dat"):
            with file.open("ab") as end:
                end.write((second / file.name).read_bytes())

    recording = open_recording(joined)

    (jump,) = recording_clock(recording).jumps
    blocks = 60_000 // BLOCK * BLOCK  # of which a single file consists
    assert jump.sample == (blocks if layout == "one_file" else 60_000)
    assert jump.samples == 63_000 - jump.sample


def _recording_of(traces: np.ndarray) -> BaseRecording:
    recording = NumpyRecording([traces], 30000.0)
    recording.set_channel_gains(0.195)
    recording.set_channel_offsets(0.0)
    return recording


@pytest.mark.parametrize("layout", ["file_per_signal_type", "file_per_channel"])
@pytest.mark.parametrize("rest_bytes", [1, 2, 3])
def test_a_folder_whose_sample_numbers_end_within_one_can_be_accepted(
    rest_bytes: int, layout: str, short: BaseRecording, tmp_path: Path
) -> None:
    folder = write_intan(short, tmp_path / "recording", layout=layout)
    numbers = (folder / "time.dat").read_bytes()
    (folder / "time.dat").write_bytes(numbers[: len(numbers) - 4 + rest_bytes])

    recording = open_recording(folder, config=RecordingConfig(accept_incomplete=True))

    assert recording.get_num_channels() == 16
    assert recording.get_num_samples() >= short.get_num_samples() - 1
    assert any("time.dat' is truncated" in part for part in missing_parts(recording))


@pytest.mark.parametrize(("rate", "message"), [(np.nan, "states nan samples"), (1e30, "states 1e\\+30 samples")])
def test_a_rate_that_can_t_be_is_told(rate: float, message: str, short: BaseRecording, tmp_path: Path) -> None:
    path = write_intan(short, tmp_path / "recording.rhd")
    content = path.read_bytes()
    path.write_bytes(content[:8] + np.float32(rate).tobytes() + content[12:])

    with pytest.raises(UnreadableRecordingError, match=message):
        open_recording(path)


def test_a_name_in_capitals_among_others_is_told_and_not_left_out(short: BaseRecording, tmp_path: Path) -> None:
    write_intan(short, tmp_path / "part_1.rhd")
    (tmp_path / "part_1.rhd").with_name("part_2.RHD").write_bytes((tmp_path / "part_1.rhd").read_bytes())

    with pytest.raises(UnreadableRecordingError, match=r"part_2\.RHD.*Rename it to 'part_2\.rhd'"):
        open_recording(tmp_path)
