"""A recording that disappears while it is read."""

import re
from pathlib import Path

import pytest

from sort_assets.errors import MissingRecordingError, UnreadableRecordingError
from sort_assets.recordings.reading import reading


@pytest.mark.parametrize(
    "said", [FileNotFoundError(2, "No such file"), UnreadableRecordingError("no HDF5 file", remedy=""), ValueError("?")]
)
def test_that_it_is_gone_is_what_people_hear(tmp_path: Path, said: Exception) -> None:
    def read_while_it_is_removed(path: Path) -> None:
        with reading(path):
            path.unlink()
            raise said

    recording = tmp_path / "mouse.nwb"
    recording.touch()

    with pytest.raises(MissingRecordingError, match=re.escape("mouse.nwb' was removed or renamed")) as found:
        read_while_it_is_removed(recording)

    assert found.value.__cause__ is said


def test_what_fails_while_it_is_there_is_said_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another reason"), reading(tmp_path):
        raise ValueError("another reason")
