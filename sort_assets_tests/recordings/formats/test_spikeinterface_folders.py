import json
from pathlib import Path

import numpy as np
import pytest
from probeinterface import Probe, write_probeinterface
from spikeinterface.core import BaseRecording

from sort_assets.config import RecordingConfig
from sort_assets.errors import MissingProbeError, StreamError, UnreadableRecordingError
from sort_assets.recordings import open_recording
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.probes import DEPTH_LEFT_OUT
from sort_assets_tests.recordings.files import cut_second_half
from sort_assets_tests.recordings.writers import write_spikeinterface_binary, write_spikeinterface_zarr


@pytest.mark.parametrize("write", [write_spikeinterface_binary, write_spikeinterface_zarr])
def test_samples_gains_and_locations_are_those_written(write, short: BaseRecording, tmp_path: Path) -> None:
    recording = open_recording(write(short, tmp_path / "saved.zarr"))

    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    np.testing.assert_array_equal(recording.get_channel_gains(), short.get_channel_gains())
    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())


@pytest.mark.parametrize("write", [write_spikeinterface_binary, write_spikeinterface_zarr])
def test_times_that_were_saved_with_the_samples_are_the_clock(write, short: BaseRecording, tmp_path: Path) -> None:
    timed = short.clone()
    times_s = 12.5 + np.arange(60_000) / 30_001.0
    times_s[20_000:] += 10.0
    timed.set_times(times_s)

    clock = recording_clock(open_recording(write(timed, tmp_path / "saved.zarr")))

    assert [jump.sample for jump in clock.jumps] == [20_000]
    np.testing.assert_allclose(clock.times_s(np.arange(60_000)), times_s, atol=1e-6, rtol=0)


@pytest.mark.parametrize("write", [write_spikeinterface_binary, write_spikeinterface_zarr])
def test_a_stream_that_does_not_exist_is_refused(write, short: BaseRecording, tmp_path: Path) -> None:
    folder = write(short, tmp_path / "saved.zarr")

    with pytest.raises(StreamError, match="no stream 'well000'"):
        open_recording(folder, "well000")


def test_a_binary_file_that_ends_within_a_sample_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeinterface_binary(short, tmp_path / "saved")
    traces = folder / "traces_cached_seg0.raw"
    traces.write_bytes(traces.read_bytes()[:-7])

    with pytest.raises(UnreadableRecordingError, match=r"traces_cached_seg0\.raw' is truncated"):
        open_recording(folder)


def test_an_empty_binary_file_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeinterface_binary(short, tmp_path / "saved")
    (folder / "traces_cached_seg0.raw").write_bytes(b"")

    with pytest.raises(UnreadableRecordingError, match="holds no samples"):
        open_recording(folder)


def test_a_truncated_description_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeinterface_binary(short, tmp_path / "saved")
    cut_second_half(folder / "binary.json")

    with pytest.raises(UnreadableRecordingError, match="JSONDecodeError"):
        open_recording(folder)


def test_a_binary_folder_that_points_outside_itself_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeinterface_binary(short, tmp_path / "saved")
    (folder / "traces_cached_seg0.raw").rename(tmp_path / "elsewhere.raw")
    description = json.loads((folder / "binary.json").read_text())
    description["kwargs"]["file_paths"] = ["../elsewhere.raw"]
    (folder / "binary.json").write_text(json.dumps(description))

    with pytest.raises(UnreadableRecordingError, match="outside itself"):
        open_recording(folder)


def test_a_zarr_folder_with_a_missing_chunk_is_refused(short: BaseRecording, tmp_path: Path) -> None:
    folder = write_spikeinterface_zarr(short, tmp_path / "saved.zarr")
    next(chunk for chunk in (folder / "traces_seg0").iterdir() if not chunk.name.startswith(".")).unlink()

    with pytest.raises(UnreadableRecordingError, match="lacks 1 of"):
        open_recording(folder)


def _probe_in_space(positions: np.ndarray) -> Probe:
    probe = Probe(ndim=3)
    plane_axes = np.tile([[1.0, 0, 0], [0, 1.0, 0]], (len(positions), 1, 1))
    probe.set_contacts(positions, plane_axes=plane_axes, shapes="circle", shape_params={"radius": 1})
    probe.set_device_channel_indices(np.arange(len(positions)))
    return probe


@pytest.mark.parametrize("damage", ["coincides in every plane", "in no plane", "can't be read"])
def test_a_probe_file_stands_for_any_probe_in_the_folder(damage: str, short: BaseRecording, tmp_path: Path) -> None:
    in_space = np.random.default_rng(0).normal(0.0, 50.0, (16, 3))
    if damage == "coincides in every plane":
        in_space[:4] = [[0, 0, 0], [0, 0, 20], [0, 20, 0], [20, 0, 0]]
    placed = short.clone()
    if damage != "can't be read":
        placed.set_probe(_probe_in_space(in_space))
    folder = write_spikeinterface_binary(placed, tmp_path / "saved")
    if damage == "can't be read":
        (folder / "probegroup.json").write_text("{")
    write_probeinterface(tmp_path / "probe.json", short.get_probe())

    if damage != "in no plane":
        with pytest.raises((MissingProbeError, UnreadableRecordingError)):
            open_recording(folder)
    recording = open_recording(folder, config=RecordingConfig(probe_file="probe.json"))

    np.testing.assert_array_equal(recording.get_channel_locations(), short.get_channel_locations())
    np.testing.assert_array_equal(recording.get_traces(), short.get_traces())
    np.testing.assert_array_equal(recording.get_channel_gains(), short.get_channel_gains())
    assert not recording.get_annotation(DEPTH_LEFT_OUT)
