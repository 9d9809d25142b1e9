import re
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from probeinterface import write_probeinterface
from spikeinterface.core import BaseRecording
from spikeinterface.core import load as load_recording

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingPluginError, MissingProbeError, StreamError, UnreadableRecordingError
from sort_assets.recordings import open_recording, prepare, sortable_streams
from sort_assets.recordings.clock import ClockJump, recording_clock
from sort_assets.recordings.clock_check import clock
from sort_assets.recordings.headers import read_header
from sort_assets_tests.recordings.files import recording_of
from sort_assets_tests.recordings.writers import MAXWELL_GAIN_TO_UV, write_maxwell

UNAVAILABLE_FILTER = 32099
GIVEN_GAIN = RecordingConfig(gain_to_uv=6.3, bad_channels="none")


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


def test_times_are_those_of_the_numbers_of_frames(short: BaseRecording, tmp_path: Path) -> None:
    numbers = np.arange(60_000) + 1_500_000
    numbers[20_000:] += 30_000
    path = write_maxwell(short, tmp_path / "plate.h5", frame_numbers=numbers.tolist())

    recording = open_recording(path)

    assert recording_clock(recording).jumps == (ClockJump(20_000, 30_000),)
    np.testing.assert_allclose(
        recording_clock(recording).times_s([0, 19_999, 20_000]), numbers[[0, 19_999, 20_000]] / 3e4
    )
    assert recording.get_start_time() == 50.0


def test_a_frame_without_a_number_is_told(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5", frame_numbers=range(59_990))

    result = clock(open_recording(path))

    assert not result.passed
    assert "'plate.h5' has 10 fewer frame numbers than samples" in result.description


def test_numbers_of_other_frames_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5", frame_numbers=range(1000))

    with pytest.raises(UnreadableRecordingError, match="60000 samples, and 1000 frame numbers"):
        open_recording(path)


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


def test_samples_compressed_by_a_filter_of_hdf5plugin_are_read(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    with h5py.File(path, "a") as file:
        samples = file["wells/well000/rec0000/groups/routed/raw"]
        name, counts = samples.name, samples[:]
        del file[name]
        file.create_dataset(name, data=counts, **hdf5plugin.Bitshuffle())

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_traces(), counts.T)


def test_a_missing_decompression_plugin_is_named(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    _pretend_compressed(path)

    with pytest.raises(MissingPluginError, match="HDF5_PLUGIN_PATH"):
        open_recording(path)


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        (None, "HDF5_PLUGIN_PATH is not set"),
        ("absent", "absent', which is no folder"),
        ("empty", "empty', and there is no libcompression.so in it"),
        ("damaged", "libcompression.so' is there and can't be loaded"),
    ],
)
def test_what_is_wrong_with_the_plugin_is_said(
    folder: str | None, reason: str, short: BaseRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    _pretend_compressed(path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "libcompression.so").write_bytes(b"no library")
    monkeypatch.delenv("HDF5_PLUGIN_PATH", raising=False)
    if folder is not None:
        monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path / folder))

    with pytest.raises(MissingPluginError, match=reason):
        open_recording(path)


def test_a_plugin_folder_that_is_set_late_is_searched(
    short: BaseRecording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))

    open_recording(write_maxwell(short, tmp_path / "plate.h5"))

    assert str(tmp_path).encode() in [h5py.h5pl.get(index) for index in range(h5py.h5pl.size())]


def test_of_several_electrodes_on_a_channel_the_first_counts(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    _add_lines(path, (4, 9999, 500.0, 600.0), (4, 8888, 700.0, 800.0))

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    np.testing.assert_array_equal(recording.get_traces(), _counts(path).T)
    assert recording.get_property("electrode")[4] == 1028
    assert recording.get_annotation("doubled_channels") == {"4": [1028, 9999, 8888]}


def test_a_channel_with_several_electrodes_is_read_once_where_it_has_several_rows(
    short: BaseRecording, tmp_path: Path
) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    _forget_which_channels_were_routed(path)
    with h5py.File(path, "a") as file:
        mapping = file["wells/well000/rec0000/settings/mapping"]
        rows = mapping[:]
        rows["channel"][5] = 4
        mapping[:] = rows

    recording = open_recording(path)

    others = np.delete(np.arange(16), 5)
    assert recording.channel_ids.tolist() == [str(channel) for channel in others]
    np.testing.assert_array_equal(recording.get_traces(), _counts(path)[others].T)
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations()[others])


def test_a_channel_with_several_electrodes_is_read_where_each_has_one_row(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    _forget_which_channels_were_routed(path)
    _add_lines(path, (4, 9999, 500.0, 600.0))

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_traces(), _counts(path).T)
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


def test_electrodes_that_were_not_recorded_are_left_out(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    # Unrouted, and one for stimulation, of which there are no samples.
    _add_lines(path, (-1, 9999, 500.0, 600.0), (777, 8888, 700.0, 800.0))

    recording = open_recording(path)

    np.testing.assert_array_equal(recording.get_traces(), _counts(path).T)
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    assert recording.get_annotation("doubled_channels") is None


def test_rows_of_samples_stand_in_the_order_of_the_routed_channels(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    with h5py.File(path, "a") as file:
        file["wells/well000/rec0000/groups/routed/channels"][:] = np.arange(16)[::-1]

    recording = open_recording(path)

    assert recording.channel_ids.tolist() == [str(channel) for channel in range(15, -1, -1)]
    np.testing.assert_array_equal(recording.get_traces(), _counts(path).T)
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations()[::-1])


def test_in_the_first_layout_the_channel_is_the_row(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "chip.h5", legacy=True)
    with h5py.File(path, "a") as file:
        samples = file["sig"][:]
        del file["sig"]
        file["sig"] = np.vstack([samples[::-1], np.full((4, samples.shape[1]), 7, dtype="uint16")])
        rows = file["mapping"][:]
        rows["channel"] = rows["channel"][::-1]
        file["mapping"][:] = rows

    recording = open_recording(path)

    by_place = np.lexsort(recording.get_channel_locations().T)
    np.testing.assert_array_equal(
        recording.get_traces()[:, by_place], samples[np.lexsort(short.get_channel_locations().T)].T
    )


def test_a_map_that_does_not_fit_the_samples_is_damage(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    _forget_which_channels_were_routed(path)
    _add_lines(path, (20, 9999, 500.0, 600.0))

    with pytest.raises(UnreadableRecordingError, match="names 17 channels, which do not fit the 16 rows"):
        open_recording(path)


def test_doubled_channels_survive_a_reload_in_another_process(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.h5")
    _add_lines(path, (4, 9999, 500.0, 600.0))
    recording = open_recording(path)
    recording.dump_to_json(tmp_path / "recording.json")

    script = (
        "import sys, numpy, spikeinterface\n"
        "recording = spikeinterface.load(sys.argv[1])\n"
        "numpy.save(sys.argv[2], recording.get_traces(channel_ids=['9', '2']))\n"
        "assert recording.get_annotation('doubled_channels') == {'4': [1028, 9999]}\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "recording.json", tmp_path / "traces.npy"], check=True)

    np.testing.assert_array_equal(np.load(tmp_path / "traces.npy"), _counts(path)[[9, 2]].T)


def _counts(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["wells/well000/rec0000/groups/routed/raw"][:]


def _forget_which_channels_were_routed(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["wells/well000/rec0000/groups/routed/channels"]


def _add_lines(path: Path, *lines: tuple[int, int, float, float]) -> None:
    """Add lines (channel, electrode, x, y) to the map, after that of channel 7."""
    name = "wells/well000/rec0000/settings/mapping"
    with h5py.File(path, "a") as file:
        mapping = file[name][:]
        del file[name]
        file[name] = np.concatenate([mapping[:8], np.array(list(lines), dtype=mapping.dtype), mapping[8:]])


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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sampling", 0.0, "states 0 samples per second"),
        ("sampling", np.nan, "states nan samples per second"),
        ("sampling", 1e12, r"states 1e\+12 samples per second \(sampling of well000/rec0000\)"),
        ("sampling", 20.0, "has 20 samples per second, too few for spikes"),
        ("lsb", 0.0, r"states 0 as lsb of /wells/well000/rec0000.*recording\.gain_to_uv"),
        ("lsb", np.nan, r"states nan as lsb of /wells/well000/rec0000.*recording\.gain_to_uv"),
    ],
)
def test_a_well_whose_settings_can_t_be_blocks_no_other(
    name: str, value: float, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_maxwell({"well000": short, "well001": short}, tmp_path / "plate.raw.h5")
    with h5py.File(path, "a") as file:
        (recorded,) = file["wells/well000"].values()
        recorded[f"settings/{name}"][...] = value

    header = read_header(path, RecordingConfig())

    assert [stream.name for stream in header.streams] == ["well001"]
    assert re.search(message, str(header.problems["well000"]))


def test_a_probe_file_stands_for_electrodes_at_one_point(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell({"well000": short}, tmp_path / "plate.raw.h5")
    with h5py.File(path, "a") as file:
        (recorded,) = file["wells/well000"].values()
        mapping = recorded["settings/mapping"][:]
        mapping["x"] = mapping["y"] = 0
        recorded["settings/mapping"][...] = mapping
    write_probeinterface(tmp_path / "probe.json", short.get_probe())

    with pytest.raises(MissingProbeError, match=r"same point.*recording\.probe_file"):
        open_recording(path)
    recording = open_recording(path, config=RecordingConfig(probe_file="probe.json"))

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sampling", np.array([b"fast"]), "states 'fast' samples per second"),
        ("sampling", np.array([]), r"states \[\] samples per second"),
        ("sampling", None, "does not state sampling of well000/rec0000"),
        ("mapping", np.zeros(16, [("channel", "i4"), ("electrode", "i4"), ("x", "f8")]), "map of electrodes.* lacks y"),
    ],
    ids=["text", "empty", "lacking", "map"],
)
def test_nonsense_in_the_settings_is_told_with_its_name(
    name: str, value: np.ndarray | None, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_maxwell(short, tmp_path / "plate.raw.h5")
    with h5py.File(path, "a") as file:
        settings = file["wells/well000/rec0000/settings"]
        del settings[name]
        if value is not None:
            settings[name] = value

    with pytest.raises(UnreadableRecordingError, match=message) as raised:
        open_recording(path)

    assert "Error:" not in raised.value.message


def test_a_gain_that_somebody_states_stands_for_nonsense_in_the_file(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.raw.h5")
    with h5py.File(path, "a") as file:
        file["wells/well000/rec0000/settings/lsb"][...] = -1

    recording = prepare(open_recording(path, config=GIVEN_GAIN), GIVEN_GAIN)

    assert np.abs(recording.get_traces(end_frame=1000)).max() < 1000


def test_the_layout_of_wells_is_read_whatever_version_is_stated(short: BaseRecording, tmp_path: Path) -> None:
    path = write_maxwell(short, tmp_path / "plate.raw.h5")
    with h5py.File(path, "a") as file:
        del file["version"]
        file["version"] = np.array([b"unknown"])

    assert open_recording(path).get_num_channels() == 16
