"""The fingerprint: it notices another file, and is cheap however large the recording."""

import os
from pathlib import Path

import pytest

from sort_assets.recordings.fingerprint import fingerprint


def _chunks(folder: Path, count: int = 300, size: int = 1000) -> Path:
    """A folder like a zarr recording's: many files of one size."""
    folder.mkdir()
    for index in range(count):
        (folder / f"0.{index}").write_bytes(bytes([index % 256]) * size)
    return folder


def test_a_recording_that_moves_keeps_its_fingerprint(tmp_path: Path) -> None:
    before = fingerprint(_chunks(tmp_path / "here"))

    assert fingerprint((tmp_path / "here").rename(tmp_path / "there")) == before


@pytest.mark.parametrize("index", [0, 1, 157, 299])
def test_the_size_of_every_file_counts(index: int, tmp_path: Path) -> None:
    folder = _chunks(tmp_path / "recording")
    before = fingerprint(folder)
    os.truncate(folder / f"0.{index}", 999)

    assert fingerprint(folder) != before


def test_the_name_of_every_file_counts(tmp_path: Path) -> None:
    folder = _chunks(tmp_path / "recording")
    before = fingerprint(folder)
    (folder / "0.157").rename(folder / "0.157x")

    assert fingerprint(folder) != before


def test_other_content_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    folder = _chunks(tmp_path / "recording")
    before = fingerprint(folder)
    for file in folder.iterdir():
        file.write_bytes(bytes(1000))

    assert fingerprint(folder) != before


def test_what_is_read_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    for index in range(100):
        (folder / str(index)).touch()
        os.truncate(folder / str(index), 4 * 2**20)  # without blocks on the disk
    opened: list[Path] = []
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: opened.append(path) or real_open(path, mode))

    fingerprint(folder)

    assert len(opened) == 32
    assert min(folder.iterdir()) in opened
    assert max(folder.iterdir()) in opened
