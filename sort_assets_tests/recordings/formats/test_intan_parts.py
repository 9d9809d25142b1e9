"""Which Intan files are parts of one recording, by their names."""

from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording

from sort_assets.config import RecordingConfig
from sort_assets.platform.arrivals.registration import find_recordings
from sort_assets.recordings import open_recording
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.formats.intan_parts import are_parts
from sort_assets.recordings.headers import read_header
from sort_assets_tests.recordings.writers import write_intan

FIRST = "rat7_240105_101500"


def _names(*times: str, base: str = "rat7", day: str = "240105", suffix: str = "rhd") -> set[str]:
    return {f"{base}_{day}_{time}.{suffix}" for time in times}


@pytest.mark.parametrize(
    ("folder", "entries", "expected"),
    [
        (FIRST, _names("101500", "101600"), True),
        (FIRST, {*_names("101500", "101600", "101701"), "settings.xml", "notes.txt"}, True),
        ("copied", _names("101500", "101600", "101700"), True),
        ("copied", _names("101500", "101600"), False),
        ("every five", _names("101500", "102000", "102500", suffix="rhs"), True),
        ("a lost file", _names("101500", "101600", "101800", "101900"), True),
        ("over midnight", _names("235900") | _names("000000", "000100", day="240106"), True),
        ("a day's sessions", _names("101500", "113012", "150000"), False),
        ("two animals", _names("101500", "101600") | _names("101500", "101600", base="rat8"), False),
        (FIRST, _names("101500"), False),
        (FIRST, _names("101500", "101600") | {"other.rhd"}, False),
        ("no times", _names("991500", "991600", "991700"), False),
    ],
)
def test_files_that_were_begun_every_minute_are_one_recording(folder: str, entries: set[str], expected: bool) -> None:
    assert are_parts(folder, entries) is expected


def test_a_folder_of_minutes_is_read_as_one_recording_without_a_join(short: BaseRecording, tmp_path: Path) -> None:
    folder = tmp_path / FIRST
    folder.mkdir()
    length = 128 * 150
    for index, time in enumerate(("101500", "101600", "101700")):
        part = short.frame_slice(index * length, (index + 1) * length)
        write_intan(part, folder / f"rat7_240105_{time}.rhd", first_sample=index * length)

    (found,) = find_recordings(tmp_path)
    recording = open_recording(found)

    assert recording_clock(recording).jumps == ()
    assert len(read_header(found, RecordingConfig()).streams) == 1
    np.testing.assert_allclose(
        recording.get_traces(return_in_uV=True), short.get_traces(end_frame=3 * length, return_in_uV=True), atol=0.2
    )
