"""What a recording says of itself, with every stream opened once."""

import shutil
from pathlib import Path

import pytest
from spikeinterface.core import BaseRecording

from sort_assets.config import RecordingConfig
from sort_assets.errors import StorageError, StreamError
from sort_assets.recordings.headers import RecordingHeader, read_header
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import without_rights
from sort_assets_tests.recordings.writers import write_maxwell

CONFIG = RecordingConfig()


def test_a_header_has_format_streams_and_size_and_survives_json(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell({"well000": short, "well003": short}, tmp_path / "plate.h5")

    header = read_header(path, CONFIG)

    assert header.format == "maxwell"
    assert [stream.name for stream in header.streams] == ["well000", "well003"]
    assert {stream.channels for stream in header.streams} == {short.get_num_channels()}
    assert header.streams[0].duration_s == pytest.approx(short.get_duration())
    assert header.num_bytes == path.stat().st_size
    assert RecordingHeader.from_dict(header.to_dict()) == header


def test_patterns_choose_streams_and_the_settings_one(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell({f"well00{index}": short for index in range(3)}, tmp_path / "plate.h5")

    chosen = read_header(path, CONFIG, streams=["*1", "well002"])
    named = read_header(path, RecordingConfig(stream="well002"))

    assert [stream.name for stream in chosen.streams] == ["well001", "well002"]
    assert [stream.name for stream in named.streams] == ["well002"]
    with pytest.raises(StreamError, match="well000, well001, well002"):
        read_header(path, CONFIG, streams=["well9*"])


def test_a_file_that_may_not_be_read_is_not_called_damaged(short: BaseRecording, tmp_path: Path) -> None:
    source = write_nwb(short, tmp_path / "day.nwb")
    content = source.read_bytes()
    with without_rights() as folder:
        path = folder / "day.nwb"
        path.write_bytes(content)
        path.chmod(0)

        with pytest.raises(StorageError, match=r"Permission denied.*the right to read it"):
            read_header(path, CONFIG)


def test_a_folder_of_files_is_one_recording(short: BaseRecording, tmp_path: Path) -> None:
    first = write_nwb(short, tmp_path / "part_1.nwb")
    shutil.copy(first, tmp_path / "part_2.nwb")

    (stream,) = read_header(tmp_path, CONFIG).streams

    assert stream.duration_s == pytest.approx(2 * short.get_duration())
