"""docs/how-to/add-a-format.md, followed: a module and a row are all that a format takes."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording
from spikeinterface.extractors.mdaextractors import MdaRecordingExtractor

import sort_assets.recordings.formats
from sort_assets.config import RecordingConfig
from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings import open_recording
from sort_assets.recordings.formats import table
from sort_assets.recordings.headers import read_header

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-format.md"
RECORDING = RecordingConfig(format="mda")


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's module is in the folder of formats, and its row in the table."""
    module, row = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    folder = tmp_path / "formats"
    folder.mkdir()
    (folder / "mda.py").write_text(module, encoding="utf-8")
    monkeypatch.setattr(
        sort_assets.recordings.formats, "__path__", [*sort_assets.recordings.formats.__path__, str(folder)]
    )
    monkeypatch.delitem(sys.modules, "sort_assets.recordings.formats.mda", raising=False)
    monkeypatch.setattr(table, "FORMATS", (*table.FORMATS, eval(row, vars(table))))


@pytest.fixture
def folder(short: BaseRecording, tmp_path: Path) -> Path:
    path = tmp_path / "recordings" / "mouse1"
    MdaRecordingExtractor.write_recording(short, path, verbose=False)
    return path


@pytest.mark.usefixtures("added")
def test_a_recording_is_opened(folder: Path, short: BaseRecording) -> None:
    recording = open_recording(folder)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    assert open_recording(folder, config=RECORDING).get_num_channels() == short.get_num_channels()


@pytest.mark.usefixtures("added")
def test_a_scan_finds_it_and_reads_its_header(folder: Path, short: BaseRecording) -> None:
    entries = {entry.name for entry in folder.iterdir()}

    header = read_header(folder, RecordingConfig())

    assert [one.name for one in table.FORMATS if one.may_be_folder(folder.name, entries)] == ["mda"]
    assert header.format == "mda"
    assert [stream.channels for stream in header.streams] == [short.get_num_channels()]


@pytest.mark.usefixtures("added")
def test_a_damaged_one_is_reported(folder: Path) -> None:
    (folder / "raw.mda").write_bytes(b"")

    with pytest.raises(UnreadableRecordingError, match="mouse1"):
        open_recording(folder)
