from pathlib import Path

import h5py
import numpy as np
import pytest
from spikeinterface.core import BaseRecording

from sort_assets.errors import MissingRecordingError, UnknownFormatError, UnreadableRecordingError
from sort_assets.recordings import FORMATS, recognise, sortable_streams
from sort_assets.recordings.formats.makers import MAKERS
from sort_assets.recordings.formats.table import KNOWN_FORMATS, may_be_file, may_be_folder
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import cut_second_half
from sort_assets_tests.recordings.writers import (
    write_intan,
    write_maxwell,
    write_open_ephys,
    write_spikeglx,
    write_spikeinterface_binary,
    write_spikeinterface_zarr,
)

WRITERS = {
    "nwb": (write_nwb, "recording.nwb"),
    "maxwell": (write_maxwell, "recording.h5"),
    "intan": (write_intan, "recording.rhd"),
    "spikeglx": (write_spikeglx, "run_g0"),
    "open_ephys": (write_open_ephys, "session"),
    "spikeinterface_binary": (write_spikeinterface_binary, "recording"),
    "spikeinterface_zarr": (write_spikeinterface_zarr, "recording.zarr"),
}
HDF5_FORMATS = ("nwb", "maxwell")


def test_every_format_is_tested() -> None:
    of_makers = {recording_format.name for recording_format in MAKERS}

    assert set(WRITERS) == {recording_format.name for recording_format in FORMATS} - of_makers


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_recognised_as_its_format(name: str, short: BaseRecording, tmp_path: Path) -> None:
    write, file_name = WRITERS[name]
    path = write(short, tmp_path / file_name)

    assert recognise(path).name == name


@pytest.mark.parametrize("name", WRITERS)
def test_a_name_tells_what_may_be_a_recording_without_a_look_inside(
    name: str, short: BaseRecording, tmp_path: Path
) -> None:
    write, file_name = WRITERS[name]
    path = write(short, tmp_path / file_name)

    if path.is_dir():
        entries = {entry.name for entry in path.iterdir()}
        takers = {one.name for one in FORMATS if one.may_be_folder(path.name, entries)}
    else:
        takers = {one.name for one in FORMATS if one.may_be_file(path.name, {path.name})}

    assert takers == {"maxwell", "mcsh5", "mearec"} if path.suffix == ".h5" else takers == {name}
    assert not any(
        one.may_be_file("notes.txt", {"notes.txt"}) or one.may_be_folder("notes", {"notes.txt"}) for one in FORMATS
    )


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_with_one_stream_needs_no_name_unless_others_may_come(
    name: str, short: BaseRecording, tmp_path: Path
) -> None:
    write, file_name = WRITERS[name]
    path = write(short, tmp_path / file_name)

    assert sortable_streams(path) == (("imec0.ap",) if name == "spikeglx" else ())


@pytest.mark.parametrize("name", ["a.ns5", "b.NWB", "c.xdat.json", "raw.mda", "d.txt", "e", "f.meta", "g.dat", "h.rhd"])
def test_the_table_is_asked_by_suffixes_for_what_its_rows_would_say(name: str) -> None:
    beside = {name, "g.xml"}

    assert may_be_file(name, beside) == any(one.may_be_file(name, beside) for one in KNOWN_FORMATS)
    assert may_be_folder("day", {name}) == any(one.may_be_folder("day", {name}) for one in KNOWN_FORMATS)


def test_what_does_not_exist_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingRecordingError, match=r"absent\.nwb"):
        recognise(tmp_path / "absent.nwb")


@pytest.mark.parametrize("function", [recognise, sortable_streams])
def test_a_text_file_has_no_known_format(function, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mouse 3")

    with pytest.raises(UnknownFormatError, match=r"notes\.txt.*Neurodata Without Borders"):
        function(tmp_path / "notes.txt")


def test_another_hdf5_file_is_not_taken_for_maxwell(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "results.h5", "w") as file:
        file["version"] = np.array([b"1"])

    with pytest.raises(UnknownFormatError):
        recognise(tmp_path / "results.h5")


@pytest.mark.parametrize("name", HDF5_FORMATS)
def test_an_empty_file_is_said_to_be_empty(name: str, tmp_path: Path) -> None:
    path = tmp_path / WRITERS[name][1]
    path.touch()

    with pytest.raises(UnreadableRecordingError, match="is empty"):
        recognise(path)


@pytest.mark.parametrize("name", HDF5_FORMATS)
def test_a_truncated_file_is_said_to_be_truncated(name: str, short: BaseRecording, tmp_path: Path) -> None:
    write, file_name = WRITERS[name]
    path = write(short, tmp_path / file_name)
    cut_second_half(path)

    with pytest.raises(UnreadableRecordingError, match=r"recording\.\w+' is truncated.*Copy the recording again"):
        recognise(path)


@pytest.mark.parametrize("name", HDF5_FORMATS)
def test_random_bytes_are_said_to_be_damaged(name: str, tmp_path: Path) -> None:
    path = tmp_path / WRITERS[name][1]
    path.write_bytes(np.random.default_rng(0).bytes(5000))

    with pytest.raises(UnreadableRecordingError, match="is damaged or incomplete"):
        recognise(path)


def test_a_folder_of_files_has_the_streams_of_its_first_file(short: BaseRecording, tmp_path: Path) -> None:
    for name in ("part_2.h5", "part_10.h5"):
        write_maxwell({"well000": short, "well004": short}, tmp_path / name)

    assert sortable_streams(tmp_path) == ("well000", "well004")
