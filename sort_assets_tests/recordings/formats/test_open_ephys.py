import json
import os
import pickle
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from probeinterface import write_probeinterface
from probeinterface.neuropixels_tools import build_neuropixels_probe
from spikeinterface.core import BaseRecording, NumpyRecording, append_recordings
from spikeinterface.extractors import read_openephys

from sort_assets.config import RecordingConfig
from sort_assets.errors import (
    IncompatibleFilesError,
    MissingProbeError,
    ProbeGeometryError,
    RecordingError,
    StreamError,
    UnreadableRecordingError,
)
from sort_assets.recordings import boundaries, open_recording, recognise, sortable_streams
from sort_assets.recordings.clock import ClockJump, recording_clock
from sort_assets.recordings.clock_check import clock as clock_check
from sort_assets.recordings.formats.open_ephys import open_open_ephys
from sort_assets.recordings.formats.open_ephys_folders import may_be_open_ephys_folder
from sort_assets.recordings.formats.open_ephys_probe import order_converters, read_probe
from sort_assets.recordings.formats.reading import unique_names
from sort_assets.recordings.headers import read_header
from sort_assets.testing.ground_truth import GAIN_TO_UV
from sort_assets_tests.recordings.files import cut_second_half, recording_of
from sort_assets_tests.recordings.writers import write_open_ephys

PROBE_A, PROBE_B = "Neuropix-PXI-100.ProbeA-AP", "Neuropix-PXI-100.ProbeB-AP"
NODE = "Record Node 101"
CHANNELS = [f"CH{number}" for number in range(384)]


def _louder(short: BaseRecording) -> BaseRecording:
    return recording_of((2 * short.get_traces()).astype("int16"), short)


def _recording_folder(session: Path, number: int = 1) -> Path:
    return session / NODE / "experiment1" / f"recording{number}"


def _stream_folder(session: Path, number: int = 1) -> Path:
    return _recording_folder(session, number) / "continuous" / PROBE_A


def _edit_structure(session: Path, old: str, new: str, *, number: int = 1) -> None:
    path = _recording_folder(session, number) / "structure.oebin"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _append_sync_channel(session: Path) -> None:
    """Add the channel that the Neuropixels plugin writes when it is to send the sync signal as a continuous one."""
    structure = _recording_folder(session) / "structure.oebin"
    described = json.loads(structure.read_text())
    (stream,) = described["continuous"]
    stream["num_channels"] += 1
    stream["channels"].append({**stream["channels"][0], "channel_name": "AP_SYNC", "bit_volts": 1.0})
    structure.write_text(json.dumps(described))
    path = _stream_folder(session) / "continuous.dat"
    samples = np.fromfile(path, dtype="<i2").reshape(-1, 16)
    np.pad(samples, ((0, 0), (0, 1)), constant_values=64).tofile(path)


def test_samples_in_microvolts_and_locations_are_those_written(short: BaseRecording, tmp_path: Path) -> None:
    recording = open_recording(write_open_ephys(short, tmp_path / "session"))

    np.testing.assert_allclose(
        recording.get_traces(return_in_uV=True), short.get_traces(return_in_uV=True), atol=1e-3 * GAIN_TO_UV
    )
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


@pytest.mark.parametrize("part_number", ["NP1000", "NP1015", "NP2013"])
def test_a_session_is_read_as_spikeinterface_reads_it(part_number: str, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", part_number=part_number, first_sample=90001, ni_daq=True)

    recording = open_recording(session)

    band = "" if part_number == "NP2013" else "-AP"
    reference = read_openephys(session, stream_name=f"{NODE}#Neuropix-PXI-100.ProbeA{band}")
    np.testing.assert_array_equal(recording.channel_ids, reference.channel_ids)
    np.testing.assert_array_equal(recording.get_traces(), reference.get_traces())
    np.testing.assert_allclose(recording.get_channel_gains(), reference.get_channel_gains())
    np.testing.assert_array_equal(recording.get_channel_locations(), reference.get_channel_locations())
    for name in ("group", "inter_sample_shift"):
        np.testing.assert_array_equal(recording.get_property(name), reference.get_property(name))
    assert recording.get_start_time() == pytest.approx(reference.get_start_time())
    assert recording.get_start_time() == pytest.approx(90001 / 30000)


def test_each_probe_is_a_stream_and_other_signals_are_none(short: BaseRecording, tmp_path: Path) -> None:
    louder = _louder(short)
    session = write_open_ephys({"ProbeA": short, "ProbeB": louder}, tmp_path / "session", ni_daq=True)

    assert sortable_streams(session) == (PROBE_A, PROBE_B)
    opened = open_recording(session, PROBE_B).get_traces(return_in_uV=True)
    np.testing.assert_allclose(opened, louder.get_traces(return_in_uV=True), atol=1e-3 * GAIN_TO_UV)


@pytest.mark.parametrize("stream", [None, "Neuropix-PXI-100.ProbeA-LFP", "NI-DAQmx-103.PXIe-6341"])
def test_a_stream_error_lists_the_probes(stream: str | None, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys({"ProbeA": short, "ProbeB": short}, tmp_path / "session", ni_daq=True)

    with pytest.raises(StreamError, match=f"{PROBE_A}, {PROBE_B}"):
        open_recording(session, stream)


def test_of_an_acquisition_board_only_electrodes_are_read(short: BaseRecording, tmp_path: Path) -> None:
    recording = open_recording(write_open_ephys(short, tmp_path / "session", part_number=None))

    assert recording.channel_ids.tolist() == [f"CH{number}" for number in range(1, 17)]
    assert not recording.has_probe()
    np.testing.assert_allclose(
        recording.get_traces(return_in_uV=True), short.get_traces(return_in_uV=True), atol=1e-3 * GAIN_TO_UV
    )


def test_an_input_of_another_name_is_told_by_its_unit(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", part_number=None)
    _edit_structure(session, '"channel_name": "ADC1"', '"channel_name": "photodiode"')

    assert open_recording(session).get_num_channels() == 16


def test_a_probes_sync_channel_is_left_out(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", lfp=False)
    _append_sync_channel(session)

    recording = open_recording(session)

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


def test_a_session_without_electrodes_has_no_stream(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", ni_daq=True)
    _edit_structure(session, '"sample_rate": 30000.0', '"sample_rate": 1000.0')

    with pytest.raises(StreamError, match="no stream that can be sorted"):
        open_recording(session)


def test_experiments_and_record_nodes_are_named_where_there_are_several(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    moved = _louder(short)
    moved.set_dummy_probe_from_locations(short.get_channel_locations() + np.array([0, 400]), axes="xy")
    write_open_ephys(moved, session, experiment=2)
    write_open_ephys(short, session, node=104)

    assert sortable_streams(session) == (
        f"node101/experiment1/{PROBE_A}",
        f"node101/experiment2/{PROBE_A}",
        f"node104/experiment1/{PROBE_A}",
    )
    assert sortable_streams(session / NODE) == (f"experiment1/{PROBE_A}", f"experiment2/{PROBE_A}")
    second = open_recording(session, f"node101/experiment2/{PROBE_A}")
    np.testing.assert_allclose(
        second.get_traces(return_in_uV=True), 2 * short.get_traces(return_in_uV=True), atol=1e-3 * GAIN_TO_UV
    )
    np.testing.assert_array_equal(second.get_channel_locations(), moved.get_channel_locations())


@pytest.mark.parametrize("node", ["Record Node ", "Record_Node_", "RecordNode", "Record Node", "record_node "])
def test_a_session_is_one_recording_however_its_record_nodes_are_written(
    node: str, short: BaseRecording, tmp_path: Path
) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    write_open_ephys(_louder(short), session, node=104)
    for number in (101, 104):
        (session / f"Record Node {number}").rename(session / f"{node}{number}")

    assert recognise(session).name == "open_ephys"
    assert sortable_streams(session) == (f"node101/{PROBE_A}", f"node104/{PROBE_A}")
    recording = open_recording(session, f"node101/{PROBE_A}")
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


@pytest.mark.parametrize("level", [".", NODE, f"{NODE}/experiment1", f"{NODE}/experiment1/recording1"])
def test_every_level_of_a_session_can_be_opened(level: str, short: BaseRecording, tmp_path: Path) -> None:
    folder = write_open_ephys(short, tmp_path / "session") / level

    recording = open_recording(folder)

    assert recognise(folder).name == "open_ephys"
    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


def test_recordings_of_an_experiment_are_joined_and_keep_their_times(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(append_recordings([short, _louder(short)]), tmp_path / "session", first_sample=30000)

    recording = open_recording(session)

    assert [piece.start_time_s for piece in boundaries(recording)] == pytest.approx([1.0, 4.0])
    second = recording.get_traces(start_frame=short.get_num_samples())
    np.testing.assert_array_equal(second, 2 * short.get_traces())


def test_an_empty_recording_is_left_out(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(append_recordings([short, short]), tmp_path / "session")
    os.truncate(_stream_folder(session) / "continuous.dat", 0)
    np.save(_stream_folder(session) / "sample_numbers.npy", np.array([], dtype="<i8"))

    assert open_open_ephys(session, None, RecordingConfig()).get_num_segments() == 1


def test_a_session_of_empty_recordings_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    os.truncate(_stream_folder(session) / "continuous.dat", 0)
    np.save(_stream_folder(session) / "sample_numbers.npy", np.array([], dtype="<i8"))

    with pytest.raises(UnreadableRecordingError, match="holds no samples"):
        open_recording(session)


def test_recordings_with_other_settings_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(append_recordings([short, short]), tmp_path / "session")
    _edit_structure(session, '"bit_volts": 0.195', '"bit_volts": 0.39', number=2)

    with pytest.raises(IncompatibleFilesError, match="channels, rate or gains differ"):
        open_recording(session)


def test_shanks_are_groups(short: BaseRecording, tmp_path: Path) -> None:
    spread = recording_of(short.get_traces(), short)
    locations = [[250.0 * (channel // 4), 60.0 * (channel % 4)] for channel in range(16)]
    spread.set_dummy_probe_from_locations(np.array(locations), axes="xy")

    recording = open_recording(write_open_ephys(spread, tmp_path / "session", part_number="NP2014"))

    np.testing.assert_array_equal(np.bincount(recording.get_channel_groups().astype(int)), [4, 4, 4, 4])


@pytest.mark.parametrize(
    ("removed", "message"), [(7, "is truncated"), (2 * 16 * 1000, "has 59000 samples.* number 60000")]
)
def test_truncated_samples_are_refused(removed: int, message: str, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    samples = _stream_folder(session) / "continuous.dat"
    os.truncate(samples, samples.stat().st_size - removed)

    with pytest.raises(UnreadableRecordingError, match=f"{message}.*Copy the recording again"):
        open_recording(session)


@pytest.mark.parametrize("count", [0, 61000])
def test_another_count_of_sample_numbers_is_refused(count: int, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    np.save(_stream_folder(session) / "sample_numbers.npy", np.arange(count, dtype="<i8"))

    with pytest.raises(UnreadableRecordingError, match=f"has 60000 samples.* number {count}"):
        open_recording(session)


def test_numbers_of_the_last_samples_may_be_missing(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", first_sample=300)
    for name in ("sample_numbers.npy", "timestamps.npy"):
        np.save(_stream_folder(session) / name, np.load(_stream_folder(session) / name)[:-4096])

    recording = open_recording(session)

    assert recording.get_num_samples() == 60_000
    assert recording_clock(recording).times_s(59_999) == pytest.approx(60_299 / 30_000, abs=1e-7)


def test_a_header_that_was_not_updated_before_a_crash_is_no_matter(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    for name in ("sample_numbers.npy", "timestamps.npy"):
        path = _stream_folder(session) / name
        path.write_bytes(path.read_bytes().replace(b"(60000,)", b"(59392,)", 1))

    assert recording_clock(open_recording(session)).num_samples == 60_000


def test_the_common_clock_is_that_of_the_recording(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    times = 12.5 + np.arange(60_000) / 29_997.173822
    np.save(_stream_folder(session) / "timestamps.npy", times)

    clock = recording_clock(open_recording(session))

    np.testing.assert_allclose(clock.times_s(np.arange(60_000)), times, atol=1e-6, rtol=0)
    assert clock.ppm == pytest.approx(-94.2, abs=0.1)


def _lose_recorded_channels(session: Path) -> None:
    """Settings as of a GUI that does not note which of a probe's channels the record node saves."""
    settings = session / NODE / "settings.xml"
    settings.write_text(re.sub(r' recording_state="[01A-Z]+"', "", settings.read_text()))


def _write_probe(folder: Path, short: BaseRecording) -> RecordingConfig:
    probe = short.get_probe().copy()
    probe.set_device_channel_indices(np.arange(16))
    probe.move([0, 500])
    write_probeinterface(folder / "probe.json", probe)
    return RecordingConfig(probe_file="probe.json")


def test_a_probe_file_stands_for_settings_that_place_other_channels(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    _lose_recorded_channels(session)

    with pytest.raises(ProbeGeometryError, match=r"places 384 electrodes.*Set recording\.probe_file"):
        open_recording(session)
    recording = open_recording(session, config=_write_probe(tmp_path, short))

    np.testing.assert_array_equal(recording.get_channel_locations()[:, 1], short.get_channel_locations()[:, 1] + 500)


@pytest.mark.parametrize("settings", ["<SETTINGS", None])
def test_a_probe_file_stands_for_a_probe_that_can_t_be_read(
    settings: str | None, short: BaseRecording, tmp_path: Path
) -> None:
    session = write_open_ephys(short, tmp_path / "session", part_number="NP2013")
    path = session / NODE / "settings.xml"
    path.write_text(settings or re.sub(r'(CH\d+)="0"', r'\1="3"', path.read_text().replace("NP2013", "NP9999")))

    with pytest.raises((MissingProbeError, UnreadableRecordingError), match=r"settings\.xml"):
        open_recording(session)
    recording = open_recording(session, config=_write_probe(tmp_path, short))

    np.testing.assert_array_equal(recording.get_channel_locations()[:, 1], short.get_channel_locations()[:, 1] + 500)


def test_channels_of_the_same_name_get_ids_of_their_own(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", part_number=None)
    _edit_structure(session, '"CH3"', '"CH2"')

    assert open_recording(session).channel_ids.tolist()[:4] == ["CH1", "CH2", "CH2#2", "CH4"]


def test_lost_packets_are_a_gap_of_the_clock(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    numbers = np.load(_stream_folder(session) / "sample_numbers.npy")
    numbers[30_000:] += 180_000
    np.save(_stream_folder(session) / "sample_numbers.npy", numbers)
    np.save(_stream_folder(session) / "timestamps.npy", np.full(60_000, -1.0))  # of a stream without synchronization

    clock = recording_clock(open_recording(session))

    assert clock.jumps == (ClockJump(30_000, 180_000),)


@pytest.mark.parametrize("name", ["sample_numbers.npy", "../../structure.oebin", "../../../../settings.xml"])
def test_random_bytes_are_refused(name: str, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    (_stream_folder(session) / name).write_bytes(np.random.default_rng(0).bytes(5000))

    with pytest.raises(UnreadableRecordingError, match=Path(name).name):
        open_recording(session)


@pytest.mark.parametrize("name", ["sample_numbers.npy", "../../structure.oebin", "../../../../settings.xml"])
def test_half_a_file_is_refused(name: str, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    cut_second_half(_stream_folder(session) / name)

    with pytest.raises(UnreadableRecordingError, match=Path(name).name):
        open_recording(session)


@pytest.mark.parametrize("name", ["structure.oebin", f"continuous/{PROBE_A}/continuous.dat"])
def test_a_missing_file_is_named(name: str, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    (_recording_folder(session) / name).unlink()

    with pytest.raises(UnreadableRecordingError, match=Path(name).name):
        open_recording(session)


def test_samples_without_their_numbers_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    for name in ("sample_numbers.npy", "timestamps.npy"):
        (_stream_folder(session) / name).unlink()

    with pytest.raises(UnreadableRecordingError, match="lacks sample_numbers"):
        open_recording(session)


@pytest.mark.parametrize("content", [np.array([{"run": "this"}]), None])
def test_a_pickle_among_the_arrays_is_refused(content: object, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    path = _stream_folder(session) / "sample_numbers.npy"
    if content is None:
        path.write_bytes(pickle.dumps([1, 2, 3]))
    else:
        np.save(path, content, allow_pickle=True)

    with pytest.raises(UnreadableRecordingError, match="could run foreign code"):
        open_recording(session)


@pytest.mark.parametrize("name", ["../../../elsewhere/", "..", ""])
def test_a_structure_that_names_a_folder_outside_is_refused(name: str, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    _edit_structure(session, f'"folder_name": "{PROBE_A}/"', f'"folder_name": {json.dumps(name)}')

    with pytest.raises(UnreadableRecordingError, match="outside its recording"):
        open_recording(session)


def test_settings_of_another_number_of_electrodes_are_refused(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    fewer = write_open_ephys(short.select_channels(short.channel_ids[:8]), tmp_path / "other")
    (fewer / NODE / "settings.xml").replace(session / NODE / "settings.xml")

    with pytest.raises(ProbeGeometryError, match=r"places 8 electrodes.* has 16"):
        open_recording(session)


def test_without_settings_there_is_no_probe(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session")
    (session / NODE / "settings.xml").unlink()

    assert not open_recording(session).has_probe()


@pytest.mark.parametrize(
    ("name", "entries", "expected"),
    [
        ("2024-01-01_12-00-00", {"Record Node 101", "Record Node 104"}, True),
        ("2024-01-01_12-00-00", {"Record_Node_101"}, True),
        ("Record Node 101", {"experiment1", "settings.xml"}, True),
        ("2018-01-01_12-00-00", {"experiment1", "settings.xml"}, True),
        ("experiment1", {"recording1", "recording2"}, True),
        ("recording1", {"structure.oebin", "continuous", "events"}, True),
        ("mouse1", {"2024-01-01_12-00-00", "2024-01-02_12-00-00"}, False),
        ("mouse1", {"experiment1", "experiment2"}, False),
        ("mouse1", {"recording1", "recording2"}, False),
    ],
)
def test_names_tell_a_session_from_a_folder_of_sessions(name: str, entries: set[str], expected: bool) -> None:
    assert may_be_open_ephys_folder(name, entries) is expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"sample_rate": 30000.0', '"sample_rate": NaN', "states nan samples per second"),
        ('"sample_rate": 30000.0', '"sample_rate": 0', "states 0 samples per second"),
        ('"sample_rate": 30000.0', '"sample_rate": "fast"', "states 'fast' samples per second"),
        ('"sample_rate": 30000.0', '"rate": 30000.0', "does not state sample_rate of Neuropix"),
        ('"num_channels": 16', '"num_channels": 17', "states 17 channels of Neuropix.* and lists 16"),
        ('"channels": [', '"inputs": [', r"structure\.oebin' does not list the channels"),
        ('"channel_name": ', '"label": ', r"structure\.oebin' does not list the channels"),
    ],
)
def test_a_stream_that_is_described_wrongly_blocks_no_other(
    old: str, new: str, message: str, short: BaseRecording, tmp_path: Path
) -> None:
    session = write_open_ephys({"ProbeA": short, "ProbeB": short}, tmp_path / "session", lfp=False)
    structure = _recording_folder(session) / "structure.oebin"
    structure.write_text(structure.read_text().replace(old, new, 1))

    header = read_header(session, RecordingConfig())

    assert [stream.name for stream in header.streams] == [PROBE_B]
    assert re.search(message, str(header.problems[PROBE_A]))
    with pytest.raises(StreamError, match=rf"1 can't be read.*one of: {PROBE_B}\.$"):
        open_recording(session)


def test_an_experiment_without_its_description_blocks_no_other(short: BaseRecording, tmp_path: Path) -> None:
    for experiment in (1, 2):
        session = write_open_ephys(short, tmp_path / "session", experiment=experiment, lfp=False)
    (session / NODE / "experiment2" / "recording1" / "structure.oebin").unlink()

    header = read_header(session, RecordingConfig())

    assert [stream.name for stream in header.streams] == [f"experiment1/{PROBE_A}"]
    assert "lacks structure.oebin" in str(header.problems["experiment2"])


def _whole_probe() -> BaseRecording:
    """All readout channels of a probe, as versions of the GUI before 0.6 recorded them; silent."""
    recording = NumpyRecording([np.zeros((300, 384), "int16")], 30_000)
    recording.set_channel_gains(GAIN_TO_UV)
    recording.set_channel_offsets(0.0)
    probe = build_neuropixels_probe("NP2014").get_slice(np.arange(384))
    probe.set_device_channel_indices(np.arange(384))
    recording.set_probe(probe)
    return recording


def test_probes_of_a_gui_before_streams_had_names_are_counted(tmp_path: Path) -> None:
    probes = {"A": _whole_probe(), "B": _whole_probe()}
    session = write_open_ephys(probes, tmp_path / "session", part_number="NP2014", lfp=False)
    settings, recording_folder = session / NODE / "settings.xml", _recording_folder(session)
    settings.write_text(re.sub(r"<STREAM\b[^>]*/>|<STREAM\b.*?</STREAM>", "", settings.read_text(), flags=re.DOTALL))
    structure = recording_folder / "structure.oebin"
    for number, name in enumerate("AB"):
        stream = recording_folder / "continuous" / f"Neuropix-PXI-100.{name}"
        stream.rename(stream.with_name(f"Neuropix-PXI-100.{number}"))
        structure.write_text(structure.read_text().replace(f"PXI-100.{name}/", f"PXI-100.{number}/"))

    recordings = [open_recording(session, f"Neuropix-PXI-100.{number}") for number in range(2)]

    serials = [one.get_probe().serial_number or one.get_probe().annotations["serial_number"] for one in recordings]
    assert len(set(serials)) == 2
    assert all(one.get_property("inter_sample_shift") is not None for one in recordings)


@pytest.mark.parametrize(
    ("rates_hz", "probes"),
    [
        ((30_000.0, 2500.0, 30_000.0, 2500.0), {0: "11", 2: "12"}),
        ((30_000.0, 30_000.0), {0: None, 1: None}),  # as no version of the GUI counts probes with two streams each
    ],
)
def test_probes_with_two_streams_are_counted_where_the_rates_say_so(
    rates_hz: tuple[float, ...], probes: dict[int, str | None], tmp_path: Path
) -> None:
    places = " ".join(f'CH{channel}="{(27, 59, 11, 43)[channel % 4]}"' for channel in range(384))
    heights = " ".join(f'CH{channel}="{20 * (channel // 2)}"' for channel in range(384))
    described = "".join(
        f'<NP_PROBE slot="2" port="{serial}" dock="1" probe_serial_number="{serial}" probe_part_number="NP1000" '
        f'apGainValue="500x" lfpGainValue="250x"><CHANNELS {places}/><ELECTRODE_XPOS {places}/>'
        f"<ELECTRODE_YPOS {heights}/></NP_PROBE>"
        for serial in (11, 12)
    )
    settings = tmp_path / "settings.xml"
    settings.write_text(
        "<SETTINGS><INFO><VERSION>0.5.5.4</VERSION></INFO><SIGNALCHAIN>"
        '<PROCESSOR name="Sources/Neuropix-PXI" libraryVersion="0.3.3" NodeId="100"><EDITOR>'
        f'{described}</EDITOR></PROCESSOR><PROCESSOR name="Filters/Record Node" NodeId="102"/></SIGNALCHAIN></SETTINGS>'
    )
    streams = [
        {"folder_name": f"Neuropix-PXI-100.{number}/", "sample_rate": rate} for number, rate in enumerate(rates_hz)
    ]
    (tmp_path / "structure.oebin").write_text(json.dumps({"continuous": streams}))

    read = {
        number: read_probe(
            settings, tmp_path / "continuous" / f"Neuropix-PXI-100.{number}", CHANNELS, RecordingConfig()
        )
        for number in probes
    }

    assert {number: probe and probe.serial_number for number, probe in read.items()} == probes


@pytest.mark.parametrize("first", [0, 1])
def test_channels_that_a_channel_map_leaves_out_have_no_contacts(first: int, tmp_path: Path) -> None:
    session = write_open_ephys({"A": _whole_probe()}, tmp_path / "session", part_number="NP2014", lfp=False)
    settings = session / NODE / "settings.xml"
    stream = next(_recording_folder(session).glob("continuous/*"))
    whole = read_probe(settings, stream, CHANNELS, RecordingConfig())
    passed = [number for number in range(383, -1, -1) if number % 3]
    tree = ElementTree.parse(settings)
    chain = tree.getroot().find("SIGNALCHAIN")
    assert chain is not None
    source = next(one for one in chain if one.find("STREAM") is not None)
    channel_map = ElementTree.Element("PROCESSOR", {"name": "Channel Map", "nodeId": "103"})
    channel_map.extend(source.findall("STREAM"))
    listed = ElementTree.SubElement(ElementTree.SubElement(channel_map, "CUSTOM_PARAMETERS"), "STREAM")
    for number in [*passed, *range(0, 384, 3)]:
        ElementTree.SubElement(listed, "CH", {"index": str(number), "enabled": str(int(number % 3 > 0))})
    chain.insert([*chain].index(source) + 1, channel_map)
    tree.write(settings)

    probe = read_probe(settings, stream, [f"CH{number + first}" for number in passed], RecordingConfig())

    assert whole is not None
    assert probe is not None
    np.testing.assert_array_equal(probe.contact_positions, whole.contact_positions[passed])


def _recorded(numbers: np.ndarray, first: int) -> BaseRecording:
    """These channels of a probe, called by their numbers, with turns of converters by their order in the file."""
    whole = _whole_probe()
    names = [f"CH{number + first}" for number in numbers]
    recording = NumpyRecording([np.zeros((300, len(numbers)), "int16")], 30_000, channel_ids=names)
    probe = whole.get_probe().get_slice(numbers)
    probe.annotate(num_channels_per_adc=16)
    probe.set_device_channel_indices(np.arange(len(numbers)))
    recording.set_probe(probe)
    recording.set_property("inter_sample_shift", np.arange(len(numbers)) // 24 / 16)
    return recording


@pytest.mark.parametrize(
    ("numbers", "first"),
    [
        (np.arange(384)[::-1], 0),
        (np.random.default_rng(0).permutation(384), 1),
        (np.arange(0, 384, 2), 0),
        (np.arange(1, 384, 2), 1),
        (np.arange(96), 1),
    ],
    ids=["reversed", "shuffled", "every second", "every other second", "a quarter"],
)
def test_converters_turns_are_those_of_the_channels_whichever_were_saved(numbers: np.ndarray, first: int) -> None:
    recording = _recorded(numbers, first)

    order_converters(recording)

    # Of Neuropixels 2, sixteen pairs of neighbours take turns (imec's manual; SpikeInterface as well).
    np.testing.assert_allclose(recording.get_property("inter_sample_shift"), numbers // 2 % 16 / 16)


@pytest.mark.parametrize("numbers", [[7, 2, 5], [100, 101, 102], [0, 0, 1], [0, 384, 1]])
def test_converters_turns_of_channels_that_can_t_be_told_are_left_out(numbers: list[int]) -> None:
    few = _recorded(np.arange(3), 0).rename_channels(unique_names([f"CH{number}" for number in numbers]))

    order_converters(few)

    assert few.get_property("inter_sample_shift") is None


@pytest.mark.parametrize("gain", ['"bit_volts": -', '"bits": ', '"bit_volts": "many", "was": '])
def test_a_gain_that_can_t_be_is_asked_for(gain: str, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", lfp=False)
    structure = _recording_folder(session) / "structure.oebin"
    structure.write_text(structure.read_text().replace('"bit_volts": ', gain, 1))

    with pytest.raises(RecordingError, match=r"no usable gain.* 1 of 16 .*recording\.gain_to_uv"):
        open_recording(session)
    recording = open_recording(session, config=RecordingConfig(gain_to_uv=0.195))

    assert recording.get_num_channels() == 16


def test_a_description_that_an_editor_saved_with_a_byte_order_mark_is_read(
    short: BaseRecording, tmp_path: Path
) -> None:
    session = write_open_ephys(short, tmp_path / "session", lfp=False)
    structure = _recording_folder(session) / "structure.oebin"
    structure.write_text(structure.read_text(), encoding="utf-8-sig")

    assert open_recording(session).get_num_channels() == 16


def test_numbers_that_a_crash_left_empty_can_be_accepted(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", lfp=False)
    next(session.rglob("sample_numbers.npy")).write_bytes(b"")

    with pytest.raises(UnreadableRecordingError, match=r"sample_numbers\.npy' is empty.*accept_incomplete"):
        open_recording(session)
    recording = open_recording(session, config=RecordingConfig(accept_incomplete=True))

    assert recording.get_num_samples() == 60_000


def test_numbers_in_a_column_are_read(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", lfp=False)
    numbers = next(session.rglob("sample_numbers.npy"))
    np.save(numbers, np.load(numbers)[:, None])

    assert recording_clock(open_recording(session)).is_plain


def test_a_recording_that_was_copied_into_the_session_twice_is_told(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(short, tmp_path / "session", lfp=False)
    shutil.copytree(_recording_folder(session), _recording_folder(session).with_name("recording2"))

    assert "is it a copy?" in clock_check(open_recording(session)).description
