"""Recording keys: reversible, readable, and never outside the root."""

from pathlib import Path

import pytest
from dagster._core.definitions.partitions.utils.base import INVALID_PARTITION_SUBSTRINGS

from sort_assets.errors import OutsideRecordingsRootError, RecordingKeyError
from sort_assets.recordings.key import RecordingKey

ODD_NAMES = [
    "plain.nwb",
    "two words.nwb",
    "mouse1/day2/probe.nwb",
    "-leading-dash.nwb",
    ".hidden/inner.nwb",
    "a...b....c.nwb",
    "100%.nwb",
    "comma,pipe|tilde~at@equals=.nwb",
    "line\nbreak.nwb",
    "Zürich/été.nwb",
    "not-utf8-\udcff.nwb",
]


@pytest.mark.parametrize("path", ODD_NAMES)
@pytest.mark.parametrize("stream", [None, "well003", "acquisition/ElectricalSeries 2"])
def test_a_key_leads_back_to_its_path_and_stream(path: str, stream: str | None) -> None:
    key = RecordingKey(path, stream)

    assert RecordingKey.parse(str(key)) == key


@pytest.mark.parametrize("path", ODD_NAMES)
def test_a_key_is_safe_as_a_partition_a_file_name_and_an_argument(path: str, tmp_path: Path) -> None:
    key = str(RecordingKey(path, "well/0 1"))

    assert not any(bad in key for bad in INVALID_PARTITION_SUBSTRINGS)
    assert not set(key) & set("/ ,|%\\'\"$`\n")
    assert not key.startswith(("-", "."))
    (tmp_path / key).mkdir()
    assert [child.name for child in tmp_path.iterdir()] == [key]


def test_a_plain_path_stays_readable() -> None:
    assert str(RecordingKey("mouse_1/2024-05-01.nwb")) == "mouse_1~2024-05-01.nwb"
    assert str(RecordingKey("plate.raw.h5", "well003")) == "plate.raw.h5@well003"


def test_different_recordings_have_different_keys() -> None:
    recordings = [("a/b", None), ("a~b", None), ("a", "b"), ("a@b", None), ("a=7Eb", None), ("a", "b/c"), ("a", "b~c")]

    assert len({str(RecordingKey(path, stream)) for path, stream in recordings}) == len(recordings)


@pytest.mark.parametrize("path", ["../secret.nwb", "a/../../b.nwb", "/etc/passwd", "a/.."])
def test_a_path_that_leaves_the_root_is_refused(path: str) -> None:
    with pytest.raises(OutsideRecordingsRootError, match="outside the recordings root"):
        RecordingKey(path)


@pytest.mark.parametrize(
    "key",
    [
        "..",
        "..~..~etc",
        "=2E=2E~x",
        "=2E.~x",
        "a=2Fb",
        "~etc",
        "a~~b",
        "",
        "a=7",
        "a=zz",
        "=61",
        "a b",
        "a@",
        "@a",
        "a@b@c",
        "a=00b",
    ],
)
def test_what_is_not_exactly_a_key_is_refused(key: str) -> None:
    with pytest.raises(RecordingKeyError):
        RecordingKey.parse(key)


def test_a_name_that_fits_into_no_file_name_is_refused_with_its_length() -> None:
    with pytest.raises(RecordingKeyError, match="260 characters"):
        RecordingKey("x" * 256 + ".nwb")


def test_a_link_that_leaves_the_root_is_refused_whoever_typed_the_key(tmp_path: Path) -> None:
    root = tmp_path / "recordings"
    root.mkdir()
    (tmp_path / "outside.nwb").touch()
    (root / "link.nwb").symlink_to(tmp_path / "outside.nwb")

    with pytest.raises(OutsideRecordingsRootError, match="symbolic link"):
        RecordingKey.parse("link.nwb").locate(root)
    with pytest.raises(OutsideRecordingsRootError, match="symbolic link"):
        RecordingKey.from_path(root / "link.nwb", root)


def test_a_link_inside_the_root_keeps_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "real.nwb").touch()
    (tmp_path / "link.nwb").symlink_to(tmp_path / "real.nwb")

    assert RecordingKey.from_path(tmp_path / "link.nwb", tmp_path) == RecordingKey("link.nwb")


def test_a_path_outside_the_root_is_refused_with_a_remedy(tmp_path: Path) -> None:
    root = tmp_path / "recordings"
    root.mkdir()

    with pytest.raises(OutsideRecordingsRootError, match="SORT_ASSETS_RECORDINGS"):
        RecordingKey.from_path(tmp_path / "elsewhere.nwb", root)
    with pytest.raises(OutsideRecordingsRootError):
        RecordingKey.from_path(root, root)
