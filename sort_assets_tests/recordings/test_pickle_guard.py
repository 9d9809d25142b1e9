import json
import pickle
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from spikeinterface.core import BaseRecording

from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings import open_recording, refuse_pickles
from sort_assets_tests.recordings.writers import write_spikeinterface_binary, write_spikeinterface_zarr


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_a_property_that_runs_code_is_refused_and_not_run(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeinterface_binary(short, tmp_path / "saved")
    bomb = np.array([Bomb(tmp_path / "exploded")] * 16, dtype=object)
    np.save(folder / "properties" / "quality.npy", bomb, allow_pickle=True)

    with pytest.raises(UnreadableRecordingError, match=r"quality\.npy' is a numpy array of Python objects"):
        open_recording(folder)
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_with_the_name_of_an_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "quality.npy").write_bytes(pickle.dumps([1, 2]))

    with pytest.raises(UnreadableRecordingError, match="not its header"):
        refuse_pickles(tmp_path)


@pytest.mark.parametrize("name", ["provenance.pkl", "provenance.PKL", "sorting.pickle"])
def test_a_pickle_file_is_refused_at_any_depth(name: str, tmp_path: Path) -> None:
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "deep" / "down" / name).write_bytes(pickle.dumps({}))

    with pytest.raises(UnreadableRecordingError, match=f"{name}' is a pickle"):
        refuse_pickles(tmp_path)


def test_a_pickle_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.pkl").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "properties").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UnreadableRecordingError, match="is a pickle"):
        refuse_pickles(tmp_path / "folder")


def test_a_folder_linked_into_itself_is_searched_once(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    (tmp_path / "again").symlink_to(tmp_path)

    refuse_pickles(tmp_path)


def test_an_archive_with_python_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", good=np.arange(3), bad=np.array([None]))

    with pytest.raises(UnreadableRecordingError, match=r"holds 'bad\.npy'"):
        refuse_pickles(tmp_path)


def test_a_zarr_array_with_the_pickle_codec_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeinterface_zarr(short, tmp_path / "saved.zarr")
    group = zarr.open_group(str(folder), mode="a")
    group["properties"].create_dataset(
        "quality", data=np.array(["good"] * 16, dtype=object), object_codec=numcodecs.Pickle()
    )

    with pytest.raises(UnreadableRecordingError, match="pickle codec"):
        open_recording(folder)


def test_a_pickle_codec_in_consolidated_metadata_is_refused(tmp_path: Path) -> None:
    metadata = {"metadata": {"a/.zarray": {"filters": [{"id": "pickle", "protocol": 5}]}}}
    (tmp_path / ".zmetadata").write_text(json.dumps(metadata))

    with pytest.raises(UnreadableRecordingError, match="pickle codec"):
        refuse_pickles(tmp_path)


def test_ordinary_arrays_and_archives_pass(tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", np.arange(3))
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    np.save(tmp_path / "table.npy", np.zeros(2, dtype=[("sample", "i8"), ("channel", "U4")]))
    np.savez_compressed(tmp_path / "arrays.npz", spikes=np.arange(3))

    refuse_pickles(tmp_path)
