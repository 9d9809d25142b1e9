"""Recordings that are not whole: refused, or with `recording.accept_incomplete` read as far as they are."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, append_recordings

from sort_assets.config import BinaryConfig, RecordingConfig
from sort_assets.errors import UnreadableRecordingError
from sort_assets.recordings import boundaries, open_recording, prepare
from sort_assets.recordings.clock import recording_clock
from sort_assets.recordings.completeness import complete, missing_parts
from sort_assets.recordings.headers import read_header
from sort_assets.recordings.preflight import inspect_recording
from sort_assets.testing.nwb import write_nwb
from sort_assets_tests.recordings.files import cut_second_half
from sort_assets_tests.recordings.writers import (
    write_binary,
    write_intan,
    write_open_ephys,
    write_spikeglx,
    write_spikeinterface_binary,
)

ACCEPTED = RecordingConfig(accept_incomplete=True)
HALF = 30_000


def _cut(path: Path, num_bytes: int) -> None:
    os.truncate(path, path.stat().st_size - num_bytes)


def _spikeglx(short: BaseRecording, folder: Path) -> Path:
    run = write_spikeglx(short, folder / "run_g0", lf=False)
    _cut(next(run.rglob("*.ap.bin")), HALF * 2 * 17 + 5)
    return run


def _open_ephys(short: BaseRecording, folder: Path) -> Path:
    session = write_open_ephys(short, folder / "session", lfp=False)
    _cut(next(session.rglob("continuous.dat")), HALF * 2 * 16 + 5)
    return session


def _intan_file(short: BaseRecording, folder: Path) -> Path:
    path = write_intan(short, folder / "recording.rhd")
    _cut(path, (path.stat().st_size // 2) | 1)
    return path


def _intan_signals(short: BaseRecording, folder: Path) -> Path:
    path = write_intan(short, folder / "recording.rhd", layout="file_per_signal_type")
    _cut(path / "amplifier.dat", HALF * 2 * 16)
    return path


def _intan_channels(short: BaseRecording, folder: Path) -> Path:
    path = write_intan(short, folder / "recording.rhd", layout="file_per_channel")
    _cut(path / "amp-A-007.dat", HALF * 2)
    return path


def _spikeinterface(short: BaseRecording, folder: Path) -> Path:
    path = write_spikeinterface_binary(short, folder / "saved")
    _cut(path / "traces_cached_seg0.raw", HALF * 2 * 16 + 5)
    return path


@pytest.mark.parametrize(
    "write", [_spikeglx, _open_ephys, _intan_file, _intan_signals, _intan_channels, _spikeinterface]
)
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(
    write: Callable[[BaseRecording, Path], Path], short: BaseRecording, tmp_path: Path
) -> None:
    path = write(short, tmp_path)

    with pytest.raises(UnreadableRecordingError, match=r"truncated.*set recording\.accept_incomplete"):
        open_recording(path)
    recording = open_recording(path, config=ACCEPTED)

    num_samples = recording.get_num_samples()
    assert HALF - 2000 < num_samples <= HALF
    assert recording_clock(recording).num_samples == num_samples
    expected = short.get_traces(end_frame=num_samples, return_in_uV=True)
    np.testing.assert_allclose(recording.get_traces(return_in_uV=True), expected, atol=1.5)
    assert any("truncated" in part for part in missing_parts(recording))


def test_a_plain_binary_that_ends_within_a_sample_is_read_up_to_it(short: BaseRecording, tmp_path: Path) -> None:
    path = write_binary(short, tmp_path / "recording.dat")
    _cut(path, 5)
    binary = BinaryConfig(sampling_hz=30_000, channels=16, dtype="int16")

    with pytest.raises(UnreadableRecordingError, match="another number of channels"):
        open_recording(path, config=RecordingConfig(binary=binary, gain_to_uv=0.195))
    accepted = RecordingConfig(binary=binary, gain_to_uv=0.195, accept_incomplete=True)

    assert open_recording(path, config=accepted).get_num_samples() == short.get_num_samples() - 1


@pytest.mark.parametrize("kind", ["bin", "meta"])
def test_a_trigger_of_which_half_is_lost_is_left_out_and_the_clock_goes_on(
    kind: str, short: BaseRecording, tmp_path: Path
) -> None:
    run = write_spikeglx(append_recordings([short, short, short]), tmp_path / "run_g0", lf=False)
    (lost,) = run.rglob(f"*_t1.imec0.ap.{kind}")
    lost.unlink()

    recording = open_recording(run, config=ACCEPTED)

    whole_starts = [0.0, 3.0, 6.0]  # between triggers there is a second
    assert [piece.start_time_s for piece in boundaries(recording)] == [whole_starts[0], whole_starts[2]]
    assert recording.get_num_samples() == 2 * short.get_num_samples()
    assert "_t1.imec0.ap" in missing_parts(recording)[0]


def test_recordings_of_a_session_that_are_lost_are_left_out(short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(append_recordings([short, short, short]), tmp_path / "session", lfp=False)
    next(session.rglob("recording2/continuous/*/continuous.dat")).unlink()
    next(session.rglob("recording3/structure.oebin")).unlink()

    with pytest.raises(UnreadableRecordingError, match="lacks structure"):
        open_recording(session)
    recording = open_recording(session, config=ACCEPTED)

    assert recording.get_num_samples() == short.get_num_samples()
    assert len(missing_parts(recording)) == 2


@pytest.mark.parametrize("left", [0, 10_000])
def test_samples_without_numbers_are_timed_by_the_rate(left: int, short: BaseRecording, tmp_path: Path) -> None:
    session = write_open_ephys(append_recordings([short, short]), tmp_path / "session", lfp=False)
    folder = next(session.rglob("recording1/continuous/*"))
    for name in ("sample_numbers.npy", "timestamps.npy"):
        np.save(folder / name, np.load(folder / name)[:left])

    recording = open_recording(session, config=ACCEPTED)

    assert recording.get_num_samples() == 2 * short.get_num_samples()
    assert recording_clock(recording).times_s(59_999) == pytest.approx(59_999 / 30_000, abs=1e-4)


def test_a_broken_file_of_a_folder_is_left_out(short: BaseRecording, tmp_path: Path) -> None:
    for minute in range(4):
        write_intan(short, tmp_path / f"day_{minute}.rhd")
    (tmp_path / "day_1.rhd").write_bytes(b"")
    (tmp_path / "day_2.rhd").write_bytes((tmp_path / "day_2.rhd").read_bytes()[:100])

    with pytest.raises(UnreadableRecordingError, match=r"day_1\.rhd"):
        open_recording(tmp_path)
    recording = open_recording(tmp_path, config=ACCEPTED)

    assert [piece.name for piece in boundaries(recording)] == ["day_0.rhd", "day_3.rhd"]
    assert ["day_1.rhd" in missing_parts(recording)[0], "day_2.rhd" in missing_parts(recording)[1]] == [True, True]


def test_the_streams_of_a_folder_are_those_of_its_first_whole_file(short: BaseRecording, tmp_path: Path) -> None:
    for day in range(3):
        write_nwb({"A": short, "B": short}, tmp_path / f"day_{day}.nwb")
    os.truncate(tmp_path / "day_0.nwb", 5000)

    header = read_header(tmp_path, ACCEPTED)

    assert [stream.name for stream in header.streams] == ["acquisition/A", "acquisition/B"]
    assert {stream.duration_s for stream in header.streams} == {4.0}


def test_nothing_at_all_is_refused_all_the_same(short: BaseRecording, tmp_path: Path) -> None:
    run = write_spikeglx(short, tmp_path / "run_g0", lf=False)
    os.truncate(next(run.rglob("*.ap.bin")), 0)

    with pytest.raises(UnreadableRecordingError, match="holds no samples"):
        open_recording(run, config=ACCEPTED)


def test_what_is_missing_is_told_by_the_checks_of_what_is_made_of_it(short: BaseRecording, tmp_path: Path) -> None:
    raw = open_recording(_spikeglx(short, tmp_path), config=ACCEPTED)

    prepared = prepare(raw, RecordingConfig(accept_incomplete=True, bad_channels="none", end_s=0.9))

    result = complete(prepared)
    assert not result.passed
    assert "imec0.ap.bin' is truncated" in result.description
    (file,) = [one for one in inspect_recording(prepared, raw=raw) if one.name == "file"]
    assert file.level == "warning"
    json.dumps(prepared.get_annotation("missing_parts"))


def test_a_whole_recording_is_the_same_with_and_without(short: BaseRecording, tmp_path: Path) -> None:
    run = write_spikeglx(short, tmp_path / "run_g0", lf=False)

    recording = open_recording(run, config=ACCEPTED)

    assert complete(recording).passed
    assert recording.get_num_samples() == open_recording(run).get_num_samples()


@pytest.mark.parametrize("accepted", [False, True])
def test_an_hdf5_file_without_its_end_is_told_that_no_setting_opens_it(
    accepted: bool, short: BaseRecording, tmp_path: Path
) -> None:
    path = write_nwb(short, tmp_path / "recording.nwb")
    cut_second_half(path)

    with pytest.raises(UnreadableRecordingError, match="its end is missing") as raised:
        open_recording(path, config=RecordingConfig(accept_incomplete=accepted))

    assert "accept_incomplete does not help" in raised.value.remedy
    assert "set recording.accept_incomplete" not in raised.value.remedy
