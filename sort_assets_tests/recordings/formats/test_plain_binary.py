import os
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording
from spikeinterface.core import load as load_recording

from sort_assets.config import BinaryConfig, RecordingConfig
from sort_assets.errors import (
    ConfigError,
    IncompatibleFilesError,
    StreamError,
    UnknownFormatError,
    UnreadableRecordingError,
)
from sort_assets.recordings import boundaries, open_recording, prepare, recognise, sortable_streams
from sort_assets.recordings.formats.table import find_format
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.writers import write_binary, write_spikeinterface_binary

DESCRIPTION = {"sampling_hz": 30000, "channels": 16, "dtype": "int16"}


def described(
    *, gain_to_uv: float | None = 0.195, offset_to_uv: float | None = None, **binary: object
) -> RecordingConfig:
    description = BinaryConfig.model_validate({**DESCRIPTION, **binary})
    return RecordingConfig(binary=description, gain_to_uv=gain_to_uv, offset_to_uv=offset_to_uv)


@pytest.mark.parametrize(
    ("dtype", "described_as"),
    [
        ("<i2", {"dtype": "int16"}),
        (">i2", {"dtype": "int16", "byte_order": "big"}),
        ("<i4", {"dtype": "int32"}),
        ("<f4", {"dtype": "float32"}),
        (">f8", {"dtype": "float64", "byte_order": "big"}),
    ],
)
def test_a_file_is_what_the_configuration_says(
    dtype: str, described_as: dict[str, object], short: BaseRecording, tmp_path: Path
) -> None:
    path = write_binary(short, tmp_path / "recording.dat", dtype=dtype)
    config = described(**described_as)

    recording = open_recording(path, config=config)

    assert recognise(path, config).name == "plain_binary"
    assert sortable_streams(path, config) == ()
    assert recording.sampling_frequency == 30000
    np.testing.assert_allclose(
        recording.get_traces(return_in_uV=True), short.get_traces(return_in_uV=True), rtol=1e-6, atol=0.001
    )


def test_unsigned_counts_have_an_offset(short: BaseRecording, tmp_path: Path) -> None:
    offset_to_uv = -32768 * 0.195
    path = write_binary(short, tmp_path / "recording.dat", dtype="<u2", offset_to_uv=offset_to_uv)

    prepared = prepare(
        open_recording(path, config=described(dtype="uint16", offset_to_uv=offset_to_uv)),
        RecordingConfig(gain_to_uv=0.195, offset_to_uv=offset_to_uv, freq_min=None, freq_max=None, bad_channels="none"),
    )

    np.testing.assert_allclose(prepared.get_traces(), short.get_traces(return_in_uV=True), atol=0.01)


def test_a_header_is_left_out_and_channels_have_their_names(short: BaseRecording, tmp_path: Path) -> None:
    names = tuple(f"electrode {number}" for number in range(16))
    path = write_binary(short, tmp_path / "recording.dat", header=b"made by hand")

    recording = open_recording(path, config=described(header_bytes=12, channel_names=names))

    assert tuple(recording.channel_ids) == names
    np.testing.assert_allclose(recording.get_traces(), short.get_traces())


def test_a_file_named_on_its_own_may_have_any_suffix(short: BaseRecording, tmp_path: Path) -> None:
    path = write_binary(short, tmp_path / "recording.i16")

    assert open_recording(path, config=described()).get_num_samples() == 60000


def test_a_file_is_no_plain_binary_unless_something_says_so(short: BaseRecording, tmp_path: Path) -> None:
    path = write_binary(short, tmp_path / "recording.dat")

    with pytest.raises(UnknownFormatError, match=r"recording\.dat' has no known format.*recording\.binary describes"):
        open_recording(path)


def test_a_folder_of_plain_binaries_is_concatenated(short: BaseRecording, tmp_path: Path) -> None:
    for number in (10, 2):
        write_binary(short, tmp_path / f"part_{number}.dat")
    (tmp_path / "notes.txt").write_text("mouse 3")

    recording = open_recording(tmp_path, config=described())

    assert [piece.name for piece in boundaries(recording)] == ["part_2.dat", "part_10.dat"]
    assert recording.get_num_samples() == 120000


def test_a_folder_of_plain_binaries_is_not_mixed_with_other_formats(short: BaseRecording, tmp_path: Path) -> None:
    write_binary(short, tmp_path / "part_1.dat")
    write_nwb(short, tmp_path / "part_2.nwb")

    assert [piece.name for piece in boundaries(open_recording(tmp_path, config=described()))] == ["part_1.dat"]


def test_a_reload_reads_the_same(short: BaseRecording, tmp_path: Path) -> None:
    path = write_binary(short, tmp_path / "recording.dat", dtype=">i2", header=b"header")
    recording = open_recording(path, config=described(byte_order="big", header_bytes=6))
    recording.dump_to_json(tmp_path / "recording.json")

    reloaded = load_recording(tmp_path / "recording.json")

    np.testing.assert_array_equal(reloaded.get_traces(), short.get_traces())


def test_without_a_gain_there_are_no_microvolts(short: BaseRecording, tmp_path: Path) -> None:
    path = write_binary(short, tmp_path / "recording.dat")

    with pytest.raises(ConfigError, match=r"nothing says how many microvolts.*Set recording\.gain_to_uv"):
        open_recording(path, config=described(gain_to_uv=None))


@pytest.mark.parametrize("change", [{"channels": 7}, {"dtype": "float64", "channels": 7}, {"header_bytes": 3}])
def test_a_description_that_does_not_fit_the_size_is_refused(
    change: dict[str, object], short: BaseRecording, tmp_path: Path
) -> None:
    path = write_binary(short, tmp_path / "recording.dat")

    with pytest.raises(UnreadableRecordingError, match=r"not a whole number of samples.*truncated, or has another"):
        open_recording(path, config=described(**change))


def test_a_truncated_file_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    path = write_binary(short, tmp_path / "recording.dat")
    os.truncate(path, path.stat().st_size - 1)

    with pytest.raises(UnreadableRecordingError, match="not a whole number of samples"):
        open_recording(path, config=described())


@pytest.mark.parametrize(("content", "header_bytes"), [(b"", 0), (b"header", 6), (b"header", 100)])
def test_a_file_without_samples_is_refused(content: bytes, header_bytes: int, tmp_path: Path) -> None:
    (tmp_path / "recording.dat").write_bytes(content)

    with pytest.raises(UnreadableRecordingError, match="holds no samples"):
        open_recording(tmp_path / "recording.dat", config=described(header_bytes=header_bytes))


def test_there_is_no_other_stream(short: BaseRecording, tmp_path: Path) -> None:
    path = write_binary(short, tmp_path / "recording.dat")

    with pytest.raises(StreamError, match="traces"):
        open_recording(path, "lfp", described())


def test_parts_of_another_probe_are_told_by_their_size(short: BaseRecording, tmp_path: Path) -> None:
    write_binary(short, tmp_path / "part_1.dat")
    write_binary(short.select_channels(short.channel_ids[:15]).frame_slice(0, 59999), tmp_path / "part_2.dat")

    with pytest.raises(UnreadableRecordingError, match=r"part_2\.dat"):
        open_recording(tmp_path, config=described())


@pytest.mark.parametrize(
    "description",
    [
        {"channels": 0},
        {"sampling_hz": 0},
        {"dtype": "int12"},
        {"dtype": "object"},
        {"header_bytes": -1},
        {"channel_names": ["a"]},
        {"channels": 2, "channel_names": ["a", "a"]},
    ],
)
def test_a_description_that_can_not_be_is_refused(description: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(reversed(description))):
        BinaryConfig.model_validate({**DESCRIPTION, **description})


def test_a_description_goes_with_no_other_format() -> None:
    with pytest.raises(ValueError, match="format says that it is 'nwb'"):
        RecordingConfig(binary=BinaryConfig.model_validate(DESCRIPTION), format="nwb")


def test_only_the_format_that_is_asked_for_is_tried(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")

    assert recognise(path, RecordingConfig(format="nwb")).name == "nwb"
    assert find_format(path, RecordingConfig(format="maxwell")) is None
    with pytest.raises(UnknownFormatError, match=r"recording\.nwb' is no recording of the format 'maxwell'"):
        open_recording(path, config=RecordingConfig(format="maxwell"))


def test_a_folder_holds_the_files_of_the_format_that_is_asked_for(short: BaseRecording, tmp_path: Path) -> None:
    write_nwb(short, tmp_path / "part_1.nwb")
    write_spikeinterface_binary(short, tmp_path / "part_2")

    with pytest.raises(IncompatibleFilesError, match="its format is"):
        open_recording(tmp_path)
    recording = open_recording(tmp_path, config=RecordingConfig(format="nwb"))
    assert [piece.name for piece in boundaries(recording)] == ["part_1.nwb"]
    with pytest.raises(UnknownFormatError, match="holds no recording of the format 'maxwell'"):
        open_recording(tmp_path, config=RecordingConfig(format="maxwell"))


def test_a_format_that_does_not_exist_is_named_with_those_that_do(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")

    with pytest.raises(ConfigError, match=r"'nbw'.*Set it to one of: nwb, maxwell"):
        open_recording(path, config=RecordingConfig(format="nbw"))


def test_the_stream_that_is_given_goes_before_the_configured_one(short: BaseRecording, tmp_path: Path) -> None:
    path = write_nwb({"ProbeA": short, "ProbeB": short.select_channels(short.channel_ids[:8])}, tmp_path / "two.nwb")
    config = RecordingConfig(stream="acquisition/ProbeA")

    assert open_recording(path, config=config).get_num_channels() == 16
    assert open_recording(path, "acquisition/ProbeB", config).get_num_channels() == 8
