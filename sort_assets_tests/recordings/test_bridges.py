"""What filters see where pieces of a recording meet, and what stands in a gap afterwards."""

from pathlib import Path

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, NumpyRecording, load

from sort_assets.config import RecordingConfig
from sort_assets.errors import ClockGapError
from sort_assets.recordings import Boundary, boundaries, prepare
from sort_assets.recordings.bridges import Bridge, add_bridges, remove_bridges
from sort_assets.recordings.clock import Clock, ClockPiece, annotate_clocks, recording_clock
from sort_assets.recordings.opening import annotate_boundaries

RATE_HZ = 30_000.0
NOISE_UV = 8.0
CONFIG = RecordingConfig(bad_channels="none")


def noise(num_samples: int, steps_uv: dict[int, float] | None = None) -> BaseRecording:
    """Two channels of noise whose level changes at some samples, as slow potentials make it."""
    traces = np.random.default_rng(0).normal(0, NOISE_UV, (num_samples, 2))
    for sample, step_uv in (steps_uv or {}).items():
        traces[sample:] += step_uv
    recording = NumpyRecording([traces.astype("float32")], RATE_HZ)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    return recording


def with_gap(recording: BaseRecording, sample: int, missing: int, *, rate_hz: float = RATE_HZ) -> BaseRecording:
    """The recording with a clock that starts at 5 s and lacks samples."""
    first = ClockPiece(0, sample, 5.0, rate_hz)
    second = ClockPiece(sample, recording.get_num_samples(), first.end_time_s + missing / rate_hz, rate_hz)
    annotate_clocks(recording, [Clock((first, second), RATE_HZ, "timestamps")])
    return recording


@pytest.mark.parametrize("seed", range(20))
def test_any_part_of_a_bridged_recording_is_that_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length = int(rng.integers(50, 300))
    samples = np.sort(rng.choice(np.arange(1, length), rng.integers(1, 8), replace=False)).tolist()
    bridges = [Bridge(sample, int(rng.integers(1, 40)), bool(rng.random() < 0.4)) for sample in samples]
    recording = noise(length)
    source = recording.get_traces()
    lines, zeros, done = [], [], 0
    for one in bridges:
        part = np.arange(1, one.length + 1)[:, None] / (one.length + 1)
        line = source[one.sample - 1] + part * (source[one.sample] - source[one.sample - 1])
        lines += [source[done : one.sample], line]
        zeros += [source[done : one.sample], np.zeros((one.length if one.filled else 0, 2))]
        done = one.sample
    expected = np.concatenate([*lines, source[done:]]), np.concatenate([*zeros, source[done:]])

    bridged = add_bridges(recording, bridges)
    back = remove_bridges(bridged, bridges, length)

    for found, whole in zip((bridged, back), expected, strict=True):
        assert found.get_num_samples() == len(whole)
        for _ in range(50):
            start, end = np.sort(rng.integers(0, len(whole) + 1, 2)).tolist()
            np.testing.assert_allclose(
                found.get_traces(start_frame=start, end_frame=end), whole[start:end], rtol=0, atol=1e-4
            )
        np.testing.assert_allclose(found.get_traces(channel_ids=[1])[:, 0], whole[:, 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("gaps", ["split", "zeros"])
def test_a_step_at_a_join_rings_into_no_spike(gaps: str) -> None:
    recording = with_gap(noise(90_000, {45_000: 1000.0}), 45_000, 1500)

    prepared = prepare(recording, CONFIG.model_copy(update={"gaps": gaps}))

    traces = prepared.get_traces()
    assert prepared.get_num_samples() == (90_000 if gaps == "split" else 91_500)
    deviation_uv = float(np.std(traces[1000:40_000]))
    # A spike that is found is about five deviations high; without the line the step leaves 900 microvolts.
    assert np.abs(traces[44_000:48_000]).max() < 7 * deviation_uv
    np.testing.assert_allclose(np.std(traces[44_500:45_000]), deviation_uv, rtol=0.2)


def test_files_are_joined_as_gaps_are() -> None:
    recording = noise(90_000, {45_000: 1000.0})
    annotate_boundaries(recording, [Boundary("a", 0, 45_000, 0.0), Boundary("b", 45_000, 90_000, 0.0)])
    clock = Clock((ClockPiece(0, 45_000, 0.0, RATE_HZ), ClockPiece(45_000, 90_000, 0.0, RATE_HZ)), RATE_HZ, "start")
    annotate_clocks(recording, [clock])

    prepared = prepare(recording, CONFIG.model_copy(update={"gaps": "zeros"}))

    assert prepared.get_num_samples() == 90_000  # passing to the next file is no gap
    assert boundaries(prepared) == boundaries(recording)
    assert recording_clock(prepared) == clock
    assert np.abs(prepared.get_traces()).max() < 60


def test_files_that_go_on_are_filtered_as_one() -> None:
    recording = noise(60_000)
    annotate_boundaries(recording, [Boundary("a", 0, 20_000, 0.0), Boundary("b", 20_000, 60_000, 20_000 / RATE_HZ)])

    np.testing.assert_array_equal(prepare(recording, CONFIG).get_traces(), prepare(noise(60_000), CONFIG).get_traces())


def test_zeros_stand_where_samples_are_missing_and_times_stay_those_of_the_clock() -> None:
    rate_hz = RATE_HZ * (1 + 80e-6)
    recording = with_gap(noise(90_000), 45_000, 1500, rate_hz=rate_hz)
    annotate_boundaries(
        recording, [Boundary("a/segment_0", 0, 60_000, 5.0), Boundary("a/segment_1", 60_000, 90_000, 9.0)]
    )
    before = recording_clock(recording)

    prepared = prepare(recording, CONFIG.model_copy(update={"gaps": "zeros"}))

    clock = recording_clock(prepared)
    assert not prepared.get_traces(start_frame=45_000, end_frame=46_500).any()
    assert prepared.get_traces(start_frame=44_000, end_frame=45_000).any(axis=1).all()
    assert prepared.get_traces(start_frame=46_500, end_frame=47_500).any(axis=1).all()
    samples = np.arange(0, 90_000, 7)
    np.testing.assert_allclose(
        clock.times_s(samples + 1500 * (samples >= 45_000)), before.times_s(samples), rtol=0, atol=1e-9
    )
    assert clock.joins == (45_000, 46_500)
    np.testing.assert_allclose(clock.intervals_s(), before.intervals_s())
    assert clock.ppm == pytest.approx(80, abs=0.1)
    assert [(piece.start_sample, piece.end_sample) for piece in boundaries(prepared)] == [(0, 61_500), (61_500, 91_500)]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_gaps_there_are_each_sample_keeps_its_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length, rate_hz = 90_000, RATE_HZ * (1 + rng.uniform(-100, 100) * 1e-6)
    cuts = [0, *np.sort(rng.choice(np.arange(1, length), rng.integers(1, 7), replace=False)).tolist(), length]
    steps = [int(rng.choice([1, 128, 900, -1, -20])) for _ in cuts[1:-1]]
    new_file = cuts[int(rng.integers(1, len(cuts) - 1))]
    pieces = [ClockPiece(0, cuts[1], 1.7e9 if seed % 2 else 5.0, rate_hz)]
    for start, end, step in zip(cuts[1:-1], cuts[2:], steps, strict=True):
        pieces.append(ClockPiece(start, end, pieces[-1].end_time_s + step / rate_hz, rate_hz))
    recording = noise(length)
    before = Clock(tuple(pieces), RATE_HZ, "timestamps")
    annotate_clocks(recording, [before])
    annotate_boundaries(recording, [Boundary("a", 0, new_file, 5.0), Boundary("b", new_file, length, 0.0)])
    filled = {at: step for at, step in zip(cuts[1:-1], steps, strict=True) if step > 0 and at != new_file}

    prepared = prepare(recording, CONFIG.model_copy(update={"gaps": "zeros"}))

    samples = np.arange(length)
    moved = samples + sum(step * (samples >= at) for at, step in filled.items())
    clock = recording_clock(prepared)
    assert prepared.get_num_samples() == length + sum(filled.values()) == clock.num_samples
    np.testing.assert_allclose(clock.times_s(moved), before.times_s(samples), rtol=0, atol=1e-6)
    zeros = np.setdiff1d(np.arange(prepared.get_num_samples()), moved)
    traces = prepared.get_traces()
    assert not traces[zeros].any()
    assert traces[moved].any(axis=1).mean() > 0.999
    assert set(zeros) == {
        n for piece in clock.pieces if piece.filled for n in range(piece.start_sample, piece.end_sample)
    }
    assert boundaries(prepared)[0].end_sample == moved[new_file]
    np.testing.assert_allclose(clock.intervals_s(), before.intervals_s(), rtol=0, atol=1e-6)


def test_zeros_are_in_the_place_of_the_gap_at_another_rate() -> None:
    recording = with_gap(noise(90_000), 45_000, 1500)
    config = RecordingConfig(bad_channels="none", gaps="zeros", preprocessing={"resample": {"resample_rate": 15_000}})

    prepared = prepare(recording, config)

    assert prepared.get_num_samples() == 45_750
    assert not prepared.get_traces(start_frame=22_500, end_frame=23_250).any()
    assert prepared.get_traces(start_frame=23_250, end_frame=23_260).any()
    assert recording_clock(prepared).joins == (22_500, 23_250)


def test_too_many_zeros_are_refused_with_both_numbers() -> None:
    recording = with_gap(noise(90_000), 45_000, 10_000)

    with pytest.raises(
        ClockGapError, match=r"10000 samples in all \(0\.333 s\), 10\.00 % of it.*; 5 % may be"
    ) as refusal:
        prepare(recording, CONFIG.model_copy(update={"gaps": "zeros"}))

    assert "recording.max_zeros_percent to at least 10" in str(refusal.value.remedy)
    allowed = CONFIG.model_copy(update={"gaps": "zeros", "max_zeros_percent": 10.0})
    assert prepare(recording, allowed).get_num_samples() == 100_000


def test_another_process_opens_a_bridged_recording(short: BaseRecording, tmp_path: Path) -> None:
    saved = short.save(folder=tmp_path / "saved", n_jobs=1, progress_bar=False)
    bridges = [Bridge(10_000, 30, filled=False), Bridge(20_000, 50, filled=True)]
    whole = remove_bridges(add_bridges(saved, bridges), bridges, saved.get_num_samples())

    whole.dump_to_json(tmp_path / "recording.json")

    np.testing.assert_array_equal(load(tmp_path / "recording.json").get_traces(), whole.get_traces())
