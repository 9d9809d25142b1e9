from pathlib import Path

import h5py
import numpy as np
import pytest
from spikeinterface.core import BaseRecording
from spikeinterface.core import load as load_recording

from sort_assets.errors import MissingPluginError, StreamError, UnreadableRecordingError
from sort_assets.recordings import open_recording, sortable_streams
from sort_assets.recordings.synthetic import MAXWELL_GAIN_TO_UV, write_maxwell
from sort_assets_tests.recordings.files import recording_of

UNAVAILABLE_FILTER = 32099


def _louder(short: BaseRecording) -> BaseRecording:
    return recording_of((2 * short.get_traces()).astype("int16"), short)


def test_unsigned_counts_become_microvolts_around_zero(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")

    recording = open_recording(path)

    assert recording.dtype == np.uint16
    np.testing.assert_allclose(
        recording.get_traces(return_in_uV=True), short.get_traces(return_in_uV=True), atol=MAXWELL_GAIN_TO_UV / 2 + 0.01
    )
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


def test_each_well_is_a_stream(short: BaseRecording, tmp_path: Path) -> None:
    louder = _louder(short)
    path = write_maxwell({"well000": short, "well003": louder}, tmp_path / "plate.h5")

    assert sortable_streams(path) == ("well000", "well003")
    opened = open_recording(path, "well003").get_traces(return_in_uV=True)
    np.testing.assert_allclose(opened, louder.get_traces(return_in_uV=True), atol=MAXWELL_GAIN_TO_UV / 2 + 0.01)


def test_wells_with_several_recordings_are_named_with_the_recording(short: BaseRecording, tmp_path: Path) -> None:
    louder = _louder(short)
    path = write_maxwell({"well000/rec0000": short, "well001/rec0001": louder}, tmp_path / "plate.h5")

    assert sortable_streams(path) == ("well000/rec0000", "well001/rec0001")
    opened = open_recording(path, "well001/rec0001").get_traces(return_in_uV=True)
    np.testing.assert_allclose(opened, louder.get_traces(return_in_uV=True), atol=MAXWELL_GAIN_TO_UV / 2 + 0.01)


def test_a_well_without_routed_electrodes_is_no_stream(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell({"well000": short, "well001": short}, tmp_path / "plate.h5")
    with h5py.File(path, "a") as file:
        del file["wells/well000/rec0000/groups/routed"]

    assert sortable_streams(path) == ()
    assert open_recording(path).stream_id == "well001"


def test_the_layout_of_the_first_maxone_is_read(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "chip.h5", legacy=True)

    recording = open_recording(path)

    assert recording.sampling_frequency == 20000
    assert recording.get_num_samples() == short.get_num_samples()


@pytest.mark.parametrize("stream", [None, "well007"])
def test_a_stream_error_lists_the_wells(stream: str | None, short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell({"well000": short, "well003": short}, tmp_path / "plate.h5")

    with pytest.raises(StreamError, match="well000, well003"):
        open_recording(path, stream)


def test_a_reload_does_not_download_the_plugin(
    short: BaseRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(**_: object) -> None:
        raise AssertionError("a download was tried")

    recording = open_recording(write_maxwell(short, tmp_path / "plate.h5"))
    # Stands for the network, which a test must not use.
    monkeypatch.setattr("neo.rawio.maxwellrawio.auto_install_maxwell_hdf5_compression_plugin", download)

    reloaded = load_recording(recording.to_dict(recursive=True))

    np.testing.assert_array_equal(reloaded.get_traces(), recording.get_traces())


def test_a_missing_decompression_plugin_is_named(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    _pretend_compressed(path)

    with pytest.raises(MissingPluginError, match="HDF5_PLUGIN_PATH"):
        open_recording(path)


def test_a_channel_with_several_electrodes_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    with h5py.File(path, "a") as file:
        mapping = file["wells/well000/rec0000/settings/mapping"]
        rows = mapping[:]
        rows["channel"][5] = rows["channel"][4]
        mapping[:] = rows

    with pytest.raises(UnreadableRecordingError, match=r"more than once: \[4\]"):
        open_recording(path)


def _pretend_compressed(path: Path) -> None:
    """Mark the samples as compressed by a filter that no machine has."""
    name = "wells/well000/rec0000/groups/routed/raw"
    with h5py.File(path, "a") as file:
        shape = file[name].shape
        del file[name]
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk(shape)
        creation.set_filter(UNAVAILABLE_FILTER, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(shape)
        samples = h5py.h5d.create(
            file["wells/well000/rec0000/groups/routed"].id, b"raw", h5py.h5t.NATIVE_UINT16, space, creation
        )
        samples.write_direct_chunk((0, 0), b"compressed", filter_mask=0)
