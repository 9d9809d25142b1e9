"""`recording.reader` and `recording.arguments`: any reader of SpikeInterface's list, by name."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from spikeinterface.core import BaseRecording
from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict
from spikeinterface.extractors.mdaextractors import MdaRecordingExtractor

from sort_assets.config import RecordingConfig
from sort_assets.errors import ConfigError, UnreadableRecordingError
from sort_assets.recordings import open_recording
from sort_assets.recordings.formats.chosen_reader import FOLDER_READERS
from sort_assets.recordings.headers import read_header
from sort_assets_tests.recordings.writers import makers

WHITEMATTER = {"sampling_frequency": 25000.0, "num_channels": 4}


def _config(reader: str, **arguments: object) -> RecordingConfig:
    return RecordingConfig.model_validate({"reader": reader, "arguments": arguments})


@pytest.fixture
def whitematter_file(tmp_path: Path) -> Path:
    """A header of 8 bytes, and int16 samples of four channels, as SpikeInterface's reader has WhiteMatter's files."""
    samples = np.arange(20000, dtype="<i2").reshape(-1, 4)
    path = tmp_path / "HSW_2026_11_30.rawbin"
    path.write_bytes(bytes(8) + samples.tobytes())
    return path


@pytest.mark.parametrize("reader", ["whitematter", "read_whitematter"])
def test_a_file_that_says_nothing_of_itself_is_opened_with_arguments(reader: str, whitematter_file: Path) -> None:
    recording = open_recording(whitematter_file, config=_config(reader, **WHITEMATTER))

    assert recording.sampling_frequency == 25000.0
    np.testing.assert_array_equal(recording.get_traces(), np.arange(20000).reshape(-1, 4))
    np.testing.assert_allclose(recording.get_channel_gains(), 0.190734863)
    assert read_header(whitematter_file, _config(reader, **WHITEMATTER)).streams[0].channels == 4


def test_a_folder_is_opened(short: BaseRecording, tmp_path: Path) -> None:
    MdaRecordingExtractor.write_recording(short, tmp_path / "mouse1", verbose=False)

    recording = open_recording(tmp_path / "mouse1", config=_config("mda"))

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())


def test_paths_among_the_arguments_start_at_the_recording(tmp_path: Path) -> None:
    counts = np.arange(4000, dtype=np.int16).reshape(-1, 4)
    makers.write_neuroscope(counts, tmp_path / "day.dat")
    (tmp_path / "about").mkdir()
    (tmp_path / "day.xml").rename(tmp_path / "about" / "rig.xml")

    recording = open_recording(tmp_path / "day.dat", config=_config("neuroscope", xml_file_path="about/rig.xml"))

    np.testing.assert_array_equal(recording.get_traces(), counts)


def test_a_reader_that_does_not_exist_is_refused_with_those_that_do(whitematter_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"recording\.reader is 'kilowatt'.*alphaomega.*whitematter"):
        open_recording(whitematter_file, config=_config("kilowatt"))


def test_an_argument_that_the_reader_does_not_take_is_refused_with_those_that_it_takes(whitematter_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"rate_hz.*does not take.*sampling_frequency, num_channels"):
        open_recording(whitematter_file, config=_config("whitematter", rate_hz=1.0))


def test_an_argument_that_is_missing_is_named(whitematter_file: Path) -> None:
    with pytest.raises(ConfigError, match="needs the arguments num_channels"):
        open_recording(whitematter_file, config=_config("whitematter", sampling_frequency=25000.0))


def test_a_folder_is_not_given_to_a_reader_of_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'spike2' opens a file"):
        open_recording(tmp_path, config=_config("spike2"))


def test_what_the_reader_can_not_read_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.smr").write_bytes(b"nothing of the kind")

    with pytest.raises(UnreadableRecordingError, match=r"a\.smr"):
        open_recording(tmp_path / "a.smr", config=_config("spike2"))


def test_a_reader_replaces_format_and_binary() -> None:
    with pytest.raises(ValidationError, match="format and binary must be null"):
        RecordingConfig(reader="mda", format="nwb")
    with pytest.raises(ValidationError, match="reader names none"):
        RecordingConfig(arguments={"stream_id": "0"})


def test_the_data_version_knows_nothing_of_a_reader_that_is_not_set() -> None:
    assert not {"reader", "arguments"} & set(RecordingConfig().for_data_version())
    assert _config("mda").for_data_version()["reader"] == "mda"


def test_the_readers_of_folders_are_those_whose_signature_says_so() -> None:
    of_folders = {
        name for name, one in recording_extractor_full_dict.items() if "folder_path" in signature(one).parameters
    }

    assert of_folders - {"binaryfolder", "zarr"} == FOLDER_READERS


@pytest.mark.parametrize(
    ("write", "file_name", "reader", "arguments"),
    [
        (partial(makers.write_mcs_hdf5, reverse=True), "mea.h5", "read_mcsh5", {"stream_id": 0}),
        (partial(makers.write_mcs_hdf5, reverse=True), "mea.h5", "mcsh5", {}),
        (makers.write_tdt, "Block-1", "tdt", {"stream_name": "RSn1"}),
    ],
)
def test_what_is_repaired_of_a_reader_is_so_where_it_was_chosen(
    write: Callable[..., Path], file_name: str, reader: str, arguments: dict[str, object], tmp_path: Path
) -> None:
    counts = np.random.default_rng(3).normal(0, 60, (3072, 4)).round().astype(np.int16)
    path = write(counts, tmp_path / file_name)

    recording = open_recording(path, config=RecordingConfig(reader=reader, arguments=arguments, gain_to_uv=1.0))

    np.testing.assert_array_equal(recording.get_traces(), counts)
