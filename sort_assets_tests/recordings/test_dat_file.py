"""The `.dat`: everything in it, nothing clipped, in bounded memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import probeinterface
import pytest
import spikeinterface.core as si
from spikeinterface.preprocessing import common_reference

from sort_assets.errors import DamagedArtefactError, MissingArtefactError, RecordingError
from sort_assets.recordings.band_pass import BandPassRecording
from sort_assets.recordings.dat_chunks import INT16_MAX
from sort_assets.recordings.dat_file import (
    HEADROOM,
    choose_gain,
    description_path,
    read_dat,
    read_description,
    write_dat,
)

RATE_HZ = 20_000.0


def _recording(traces_uv: np.ndarray, *, start_s: float = 0.0) -> si.BaseRecording:
    channels = traces_uv.shape[1]
    recording = si.NumpyRecording(
        [traces_uv.astype("float32")], RATE_HZ, t_starts=[start_s], channel_ids=[f"ch{n}" for n in range(channels)]
    )
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    probe = probeinterface.generate_linear_probe(channels, ypitch=25)
    probe.set_device_channel_indices(np.arange(channels))
    recording.set_probe(probe)
    return recording


def _noise(seconds: float = 2.0, channels: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 20, (int(seconds * RATE_HZ), channels))


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_what_is_read_differs_by_at_most_half_a_count(tmp_path: Path, n_jobs: int) -> None:
    traces_uv = _noise()
    description = write_dat(_recording(traces_uv), tmp_path / "traces.dat", n_jobs=n_jobs, chunk_duration_s=0.13)

    read_uv = read_dat(tmp_path / "traces.dat").get_traces(return_in_uV=True)

    assert np.abs(read_uv - traces_uv.astype("float32")).max() <= 0.5001 * description.gain_to_uv
    assert description.gain_to_uv < 0.1
    assert (tmp_path / "traces.dat").stat().st_size == traces_uv.size * 2


def test_threads_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    recording = _recording(_noise())
    one = write_dat(recording, tmp_path / "one.dat", n_jobs=1, chunk_duration_s=0.1)
    many = write_dat(recording, tmp_path / "many.dat", n_jobs=4, chunk_duration_s=0.1)

    assert one == many
    assert (tmp_path / "one.dat").read_bytes() == (tmp_path / "many.dat").read_bytes()


def test_a_rare_artefact_that_sampling_missed_is_not_clipped(tmp_path: Path) -> None:
    traces_uv = _noise(20.0)
    traces_uv[123_456, 2] = -9000.0
    description = write_dat(_recording(traces_uv), tmp_path / "traces.dat")

    read_uv = read_dat(tmp_path / "traces.dat").get_traces(return_in_uV=True)

    assert description.peak_uv == 9000.0
    assert description.peak_uv / description.gain_to_uv <= INT16_MAX
    assert read_uv[123_456, 2] == pytest.approx(-9000.0, abs=description.gain_to_uv)


@pytest.mark.parametrize(
    "step",
    [
        lambda raw: raw,
        BandPassRecording,
        lambda raw: BandPassRecording(raw).select_channels(raw.channel_ids[3:9]),
        common_reference,
        lambda raw: common_reference(BandPassRecording(raw), operator="average"),
    ],
    ids=["nothing", "band-pass", "some channels", "median of the channels", "average of the channels"],
)
def test_the_gain_is_chosen_by_what_spikeinterface_reads(step: Callable[[si.BaseRecording], si.BaseRecording]) -> None:
    recording = step(_recording(20 * _noise(1.0, channels=18)))
    rng = np.random.default_rng(0)
    starts = np.sort(rng.integers(0, 20_000 - 2000 + 1, size=20))
    peak_uv = max(np.abs(recording.get_traces(start_frame=start, end_frame=start + 2000)).max() for start in starts)

    assert choose_gain(recording) == HEADROOM * float(peak_uv) / INT16_MAX


def test_a_configured_gain_that_would_clip_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    traces_uv = _noise()
    traces_uv[10, 0] = 5000.0

    with pytest.raises(RecordingError, match=r"5000 microvolts.*Set recording.dat_gain_to_uv to at least 0.15"):
        write_dat(_recording(traces_uv), tmp_path / "traces.dat", gain_to_uv=0.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_with_their_place(tmp_path: Path, bad: float) -> None:
    traces_uv = _noise()
    traces_uv[30_000, 3] = bad

    with pytest.raises(RecordingError, match=r"channel ch3 at 1.500 s"):
        write_dat(_recording(traces_uv), tmp_path / "traces.dat", n_jobs=2, chunk_duration_s=0.2)


def test_float32_keeps_every_value(tmp_path: Path) -> None:
    traces_uv = _noise()
    write_dat(_recording(traces_uv), tmp_path / "traces.dat", dtype="float32")

    read_uv = read_dat(tmp_path / "traces.dat").get_traces(return_in_uV=True)

    np.testing.assert_array_equal(read_uv, traces_uv.astype("float32"))


def test_silence_is_written_as_silence(tmp_path: Path) -> None:
    write_dat(_recording(np.zeros((5000, 2))), tmp_path / "traces.dat")

    assert not read_dat(tmp_path / "traces.dat").get_traces().any()


def test_the_description_brings_everything_back(tmp_path: Path) -> None:
    recording = _recording(_noise(), start_s=3.5)
    recording.set_property("group", np.array(["a", "a", "b", "b"]))
    pieces = [{"name": "part_1.nwb", "start_sample": 0, "end_sample": 40_000, "start_time_s": 3.5}]
    recording.annotate(boundaries=pieces, removed_channels={"ch9": "dead"})
    write_dat(recording, tmp_path / "traces.dat")

    read = read_dat(tmp_path / "traces.dat")

    assert read.channel_ids.tolist() == recording.channel_ids.tolist()
    assert read.sampling_frequency == RATE_HZ
    assert read.get_start_time() == 3.5
    assert read.get_channel_groups().tolist() == ["a", "a", "b", "b"]
    assert read.get_annotation("boundaries") == pieces
    assert read.get_annotation("removed_channels") == {"ch9": "dead"}
    np.testing.assert_array_equal(read.get_channel_locations(), recording.get_channel_locations())
    assert read.binary_compatible_with(time_axis=0, file_paths_length=1)
    assert json.loads(description_path(tmp_path / "traces.dat").read_text())["dtype"] == "int16"


def test_a_recording_without_groups_and_probe_has_none_after_writing(tmp_path: Path) -> None:
    recording = si.NumpyRecording([_noise().astype("float32")], RATE_HZ)
    write_dat(recording, tmp_path / "traces.dat")

    read = read_dat(tmp_path / "traces.dat")

    assert recording.get_channel_groups() is None
    assert read.get_channel_groups() is None
    assert not read.has_probe()


@pytest.mark.parametrize("filtered", [True, False])
def test_whether_the_recording_is_filtered_is_kept(filtered: bool, tmp_path: Path) -> None:
    recording = _recording(_noise())
    recording.annotate(is_filtered=filtered)
    write_dat(recording, tmp_path / "traces.dat")

    assert read_dat(tmp_path / "traces.dat").is_filtered() is filtered


def test_simple_properties_of_channels_are_kept(tmp_path: Path) -> None:
    recording = _recording(_noise())
    simple = {
        "brain_area": np.array(["CA1", "CA1", "CA3", "unknown"]),
        "adc": np.array([0, 1, 0, 1]),
        "depth_um": np.array([0.0, 12.5, 25.0, 37.5]),
        "stimulated": np.array([False, True, False, False]),
        "label": np.array(["a", "b", "c", "d"], dtype=object),
    }
    for name, values in simple.items():
        recording.set_property(name, values)
    recording.set_property("direction", np.eye(4)[:, :3])
    recording.set_property("impedance", np.array([1.0, np.nan, 1.0, 1.0]))
    recording.set_property("noise_level_mad_raw", np.full(4, 20.0))  # not in the counts of the `.dat`
    write_dat(recording, tmp_path / "traces.dat")

    read = read_dat(tmp_path / "traces.dat")

    assert read_description(tmp_path / "traces.dat").properties.keys() == simple.keys()
    for name, values in simple.items():
        np.testing.assert_array_equal(read.get_property(name), values)


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    description = write_dat(_recording(_noise()), tmp_path / "traces.dat", n_jobs=2)

    assert hashlib.blake2b((tmp_path / "traces.dat").read_bytes(), digest_size=32).hexdigest() == description.blake2b


def test_a_file_that_was_cut_or_lost_is_noticed(tmp_path: Path) -> None:
    dat = tmp_path / "traces.dat"
    write_dat(_recording(_noise()), dat)
    dat.write_bytes(dat.read_bytes()[:-10])

    with pytest.raises(DamagedArtefactError, match="its description says"):
        read_description(dat)
    dat.unlink()
    with pytest.raises(MissingArtefactError, match=r"traces.dat' does not exist"):
        read_dat(dat)


@pytest.mark.parametrize("text", ["{", "{}"])
def test_a_description_that_cannot_be_read_is_noticed(text: str, tmp_path: Path) -> None:
    write_dat(_recording(_noise()), tmp_path / "traces.dat")
    description_path(tmp_path / "traces.dat").write_text(text)

    with pytest.raises(DamagedArtefactError, match=r"traces.json' is no description"):
        read_description(tmp_path / "traces.dat")


def test_progress_is_reported_up_to_the_end(tmp_path: Path) -> None:
    seen: list[float] = []
    write_dat(_recording(_noise(1.0)), tmp_path / "traces.dat", n_jobs=2, chunk_duration_s=0.25, progress=seen.append)

    assert seen == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_the_noise_of_a_file_is_found_while_it_is_written(dtype: str, tmp_path: Path) -> None:
    traces_uv = _noise(3.0, 5) * np.array([0.5, 1.0, 1.0, 2.0, 3.0])
    traces_uv[::1000] = 3000.0  # artefacts are no noise

    parts = write_dat(_recording(traces_uv), tmp_path / "traces.dat", dtype=dtype, chunk_duration_s=0.07)

    whole = write_dat(_recording(traces_uv), tmp_path / "traces.dat", dtype=dtype)
    assert parts.median_noise_uv == whole.median_noise_uv == pytest.approx(20, rel=0.05)


MEMORY = """
import resource, sys
from pathlib import Path
import spikeinterface.core as si
from spikeinterface.preprocessing import bandpass_filter
from sort_assets.recordings.dat_file import write_dat
recording = si.generate_recording(num_channels=32, durations=[float(sys.argv[2])], set_probe=False, seed=0)
recording.set_channel_gains(1.0); recording.set_channel_offsets(0.0)
write_dat(bandpass_filter(recording), Path(sys.argv[1]), n_jobs=2, chunk_duration_s=0.5)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.release
def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    def peak_bytes(seconds: float) -> int:
        arguments = [sys.executable, "-c", MEMORY, str(tmp_path / f"{seconds}.dat"), str(seconds)]
        return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()[-1])

    short, long = peak_bytes(5), peak_bytes(40)

    assert (tmp_path / "40.dat").stat().st_size == 40 * 30_000 * 32 * 2
    assert long - short < 40e6  # the longer file is 67 MB larger, and three times that as float32
