from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, BinaryRecordingExtractor, NumpyRecording

from sort_assets.config import RecordingConfig
from sort_assets.errors import NonFiniteSamplesError, UnreadableRecordingError
from sort_assets.recordings import prepare
from sort_assets.recordings.inspection import SMALLEST_CHANGE_UV, check_flat_files, sample_channels
from sort_assets_tests.recordings.files import recording_of

RATE_HZ = 30000.0
GAIN_TO_UV = 0.195


def _noise(num_samples: int = 60_000, num_channels: int = 4, std: float = 50.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, std, (num_samples, num_channels)).astype(np.float32)


def _recording(traces: np.ndarray, gain_to_uv: float = 1.0) -> BaseRecording:
    recording = NumpyRecording([traces], RATE_HZ, channel_ids=[f"ch{index}" for index in range(traces.shape[1])])
    recording.set_channel_gains(gain_to_uv)
    recording.set_channel_offsets(0.0)
    return recording


def test_noise_and_peak_are_in_microvolts() -> None:
    counts = np.rint(_noise(std=41.0)).astype(np.int16)
    counts[30_000, 2] = -2000

    sampled = sample_channels(_recording(counts, GAIN_TO_UV))

    np.testing.assert_allclose(sampled.noise_uv, 41.0 * GAIN_TO_UV, rtol=0.03)
    assert sampled.peak_uv[2] == pytest.approx(2000 * GAIN_TO_UV)
    assert sampled.num_samples == 60_000


def test_an_offset_counts_in_the_peak_and_not_in_the_noise() -> None:
    recording = _recording(np.rint(_noise(std=5.0) + 512).astype(np.uint16), gain_to_uv=2.0)
    recording.set_channel_offsets(-1024.0)

    sampled = sample_channels(recording)

    assert sampled.peak_uv.max() < 60
    np.testing.assert_allclose(sampled.noise_uv, 10.0, rtol=0.15)


def test_a_channel_that_stands_still_is_seen_also_through_a_filter() -> None:
    traces = _noise()
    traces[:, 1] = 100_000.0
    raw = _recording(traces)
    filtered = prepare(raw, RecordingConfig(bad_channels="none"))

    for recording in (raw, filtered):
        assert sample_channels(recording).changes.tolist() == [True, False, True, True]


def test_volts_taken_for_microvolts_do_not_stand_still() -> None:
    sampled = sample_channels(_recording(_noise(std=8.0) * 1e-6))

    assert sampled.changes.all()
    assert sampled.noise_uv.min() > 1000 * SMALLEST_CHANGE_UV


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_clipped_channels_pile_up_at_their_extreme_and_others_do_not(dtype: str) -> None:
    traces = _noise()
    traces[:, 1] = np.clip(traces[:, 1], -60, 60)
    traces[:, 2] = np.clip(traces[:, 2], -1000, 70)
    traces[:, 3] = np.where(np.arange(len(traces)) % 3 == 0, traces[:, 3], -3000.0)

    sampled = sample_channels(_recording(np.rint(traces).astype(dtype)))

    # A normal variable of deviation 50 is beyond 60 for 11.5 % of the time on each side, and above 70 for 8.1 %.
    np.testing.assert_allclose(sampled.at_extreme, [0, 0.115, 0.081, 2 / 3], atol=0.01)


@pytest.mark.parametrize("skew", [1, -1])
def test_a_quiet_channel_of_few_counts_is_not_taken_for_a_clipped_one(skew: int) -> None:
    counts = np.rint(_noise(std=0.4)).astype(np.int16)
    counts[:, 1] = skew * np.random.default_rng(1).choice(4, len(counts), p=[0.1, 0.5, 0.36, 0.04])

    sampled = sample_channels(_recording(counts))

    assert sampled.at_extreme.tolist() == [0, 0, 0, 0]


def test_a_channel_that_only_jumps_between_the_ends_of_its_range_is_clipped() -> None:
    traces = _noise()
    traces[:, 1] = np.where(np.arange(len(traces)) % 4 == 0, -3000, 3000)

    sampled = sample_channels(_recording(traces))

    assert sampled.at_extreme.tolist() == [0, 0.75, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_named_with_its_channel_and_time(value: float) -> None:
    traces = _noise()
    traces[45_000, 3] = value

    with pytest.raises(NonFiniteSamplesError, match=r"first on channel ch3 at 1\.500 s") as raised:
        sample_channels(_recording(traces))

    assert raised.value.diagnostics == {"channel": "ch3", "time_s": 1.5}


def test_only_chunks_all_over_a_long_recording_are_read(short: BaseRecording) -> None:
    read = []

    class Watched(NumpyRecording):
        def get_traces(self, *args: object, **kwargs: int) -> np.ndarray:
            read.append((kwargs["start_frame"], kwargs["end_frame"]))
            return super().get_traces(*args, **kwargs)

    long = Watched([np.tile(short.get_traces(), (10, 1))], RATE_HZ)

    sampled = sample_channels(long)

    assert sampled.num_samples == 60_000
    assert [end - start for start, end in read] == [3000] * 20
    assert [start // 30_000 for start, _ in read] == list(range(20))


def test_the_same_seed_looks_at_the_same_places(short: BaseRecording) -> None:
    long = recording_of(np.concatenate([short.get_traces()] * 2 + [2 * short.get_traces()]), short)

    first, again, other = (sample_channels(long, seed=seed).noise_uv.tolist() for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_a_recording_of_one_sample_is_looked_at() -> None:
    sampled = sample_channels(_recording(_noise(num_samples=1)))

    assert sampled.num_samples == 1
    assert not sampled.changes.any()


@pytest.mark.parametrize("lost", [1, 4])
def test_a_flat_file_that_lost_its_end_is_refused_through_all_steps(lost: int, tmp_path: Path) -> None:
    path = tmp_path / "raw.bin"
    path.write_bytes(_noise().tobytes()[:-lost])
    raw = BinaryRecordingExtractor([path], RATE_HZ, "float32", 4, gain_to_uV=1.0, offset_to_uV=0.0)
    filtered = prepare(raw, RecordingConfig(bad_channels="none"))

    with pytest.raises(UnreadableRecordingError, match=r"raw\.bin' has \d+ bytes of samples, which is not a whole"):
        check_flat_files(filtered)


def test_whole_flat_files_are_listed_and_their_headers_left_out(tmp_path: Path) -> None:
    path = tmp_path / "raw.bin"
    path.write_bytes(b"header" + _noise().tobytes())
    raw = BinaryRecordingExtractor([path], RATE_HZ, "float32", 4, file_offset=6)

    (file,) = check_flat_files(raw)

    assert file.path == path
    assert (file.num_bytes, file.frame_bytes) == (60_000 * 16, 16)


def test_a_recording_of_no_flat_file_has_none_to_check(short: BaseRecording) -> None:
    assert check_flat_files(short) == []
