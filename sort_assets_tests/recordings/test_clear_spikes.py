"""Whether a recording clearly has spikes: units say yes; noise, the mains and what comes from outside say no."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from spikeinterface.core import BaseRecording, NumpyRecording

from sort_assets.config import RecordingConfig
from sort_assets.recordings import prepare
from sort_assets.recordings.clear_spikes import look_for_clear_spikes
from sort_assets.testing.ground_truth import GAIN_TO_UV, make_ground_truth
from sort_assets.testing.shapes import SHAPES, make_shape

RATE_HZ = 30_000
SECONDS = 12
Added = Callable[[np.random.Generator, int], np.ndarray]


def filtered(raw: BaseRecording, added_uv: np.ndarray | float = 0.0) -> BaseRecording:
    """The recording with something added to it, as a sorter gets it."""
    counts = (raw.get_traces() + added_uv / GAIN_TO_UV).clip(-32768, 32767).astype(np.int16)
    recording = NumpyRecording([counts], RATE_HZ, channel_ids=raw.channel_ids)
    recording.set_probegroup(raw.get_probegroup())
    recording.set_channel_gains(GAIN_TO_UV)
    recording.set_channel_offsets(0.0)
    return prepare(recording, RecordingConfig(bad_channels="none"))


def noise(shape: str) -> BaseRecording:
    return make_ground_truth(SECONDS, num_units=0, seed=3, probe=SHAPES[shape].probe())[0]


def mains(_: np.random.Generator, channels: int) -> np.ndarray:
    times = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * 50 * k * times) / k for k in (1, 3, 5, 7, 13))
    return np.outer(120 * wave, np.linspace(0.8, 1.2, channels))


def one_over_f(rng: np.random.Generator, channels: int) -> np.ndarray:
    samples = SECONDS * RATE_HZ
    spectrum = np.fft.rfft(rng.standard_normal((samples, channels)), axis=0)
    coloured = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1))[:, None], samples, axis=0)
    return np.asarray(50 * coloured / coloured.std())


def pulses_on_all_channels(rng: np.random.Generator, channels: int) -> np.ndarray:
    added = np.zeros((SECONDS * RATE_HZ, channels))
    for start in rng.integers(0, len(added) - 20, 60):
        added[start : start + 15] -= 500 * np.hanning(15)[:, None] * np.linspace(0.92, 1.08, channels)
    return added


def slow_waves(rng: np.random.Generator, channels: int) -> np.ndarray:
    added = np.zeros((SECONDS * RATE_HZ, channels))
    for start in rng.integers(0, len(added) - 300, 60):
        added[start : start + 120, start % channels] -= 900 * np.hanning(120)
    return added


def jumps_of_the_baseline(rng: np.random.Generator, channels: int) -> np.ndarray:
    added = np.zeros((SECONDS * RATE_HZ, channels))
    for start in rng.integers(0, len(added), 40):
        added[start:] += rng.choice([-1, 1]) * 500 * rng.uniform(0.8, 1.2, channels)
    return added


def one_bad_second(rng: np.random.Generator, channels: int) -> np.ndarray:
    added = np.zeros((SECONDS * RATE_HZ, channels))
    for start in rng.integers(5 * RATE_HZ, 6 * RATE_HZ, 50):
        added[start : start + 12, rng.integers(channels)] -= 300 * np.hanning(12)
    return added


@pytest.mark.parametrize("shape", ["tetrode", "16 contacts"])
@pytest.mark.parametrize("disturbance", [None, mains, one_over_f, pulses_on_all_channels, slow_waves, one_bad_second])
def test_noise_and_disturbances_are_no_spikes(shape: str, disturbance: Added | None) -> None:
    raw = noise(shape)
    rng = np.random.default_rng(1)
    added = 0.0 if disturbance is None else disturbance(rng, raw.get_num_channels())

    spikes = look_for_clear_spikes(filtered(raw, added))

    assert not spikes.certain, str(spikes)


@pytest.mark.parametrize("disturbance", [jumps_of_the_baseline, pulses_on_all_channels])
def test_disturbances_of_a_single_wire_are_not_certain(disturbance: Added) -> None:
    spikes = look_for_clear_spikes(filtered(noise("wire"), disturbance(np.random.default_rng(1), 1)))

    assert not spikes.certain, str(spikes)


@pytest.mark.parametrize("shape", ["wire", "stereotrode", "tetrode", "eight wires", "16 contacts"])
def test_units_are_seen_on_any_shape(shape: str) -> None:
    raw, known = make_shape(shape, SECONDS)

    spikes = look_for_clear_spikes(filtered(raw))

    assert spikes.certain
    assert spikes.count >= len(known.to_spike_vector()) / 10
    assert spikes.negative_share > 0.9


def test_one_unit_of_a_few_spikes_per_second_is_seen_in_hum() -> None:
    shape = SHAPES["tetrode"]
    raw, _ = make_ground_truth(
        SECONDS, num_units=1, seed=1, probe=shape.probe(), firing_rates_hz=(6.0, 6.1), amplitudes_uv=(160.0, 161.0)
    )

    spikes = look_for_clear_spikes(filtered(raw, mains(np.random.default_rng(0), 4)))

    assert spikes.certain, str(spikes)


WAVE = -np.exp(-((np.arange(-30, 46) / 4.5) ** 2)) + 0.35 * np.exp(-(((np.arange(-30, 46) - 14) / 8) ** 2))
CELL = (200.0, 120.0, 60.0, 40.0)


def with_waves(seconds: float, starts: np.ndarray, heights_uv: Sequence[float], added_uv: float = 0.0) -> BaseRecording:
    """Noise of 10 microvolts with a wave at each start, and waves of a low frequency where wanted."""
    rng = np.random.default_rng(7)
    samples = round(seconds * RATE_HZ)
    traces = rng.normal(0, 10, (samples, len(heights_uv))).astype(np.float32)
    if added_uv:
        walk = np.cumsum(rng.normal(0, 1, samples))
        traces += (added_uv * (walk - walk.mean()) / walk.std()).astype(np.float32)[:, None]
    for start in starts:
        traces[start : start + len(WAVE)] += np.outer(WAVE, heights_uv)[: samples - start]
    recording = NumpyRecording([traces], RATE_HZ)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    return recording


def at_random(count: int, first_s: float, end_s: float) -> np.ndarray:
    return np.random.default_rng(5).integers(round(first_s * RATE_HZ), round(end_s * RATE_HZ) - 80, count)


def test_cells_that_fire_in_the_last_part_alone_are_certain() -> None:
    spikes = look_for_clear_spikes(with_waves(150.0, at_random(400, 128.0, 150.0), CELL), filtered=True)

    assert spikes.stretches_with_spikes < 0.2 * spikes.stretches
    assert spikes.certain


def test_after_a_few_spikes_more_is_looked_at_and_a_sparse_cell_found() -> None:
    spikes = look_for_clear_spikes(with_waves(150.0, at_random(75, 0.0, 150.0), CELL), filtered=True)

    assert spikes.looked_at_s == 120
    assert spikes.certain


@pytest.mark.parametrize("heights_uv", [(300.0,), (300.0, 210.0, 180.0, 150.0)])
def test_pulses_at_regular_intervals_are_no_spikes(heights_uv: tuple[float, ...]) -> None:
    pulses = np.arange(9_000, 39 * RATE_HZ, RATE_HZ // 2)

    spikes = look_for_clear_spikes(with_waves(40.0, pulses, heights_uv), filtered=True)

    assert (spikes.count, spikes.certain, spikes.suspected) == (0, False, False)


def test_a_cell_is_seen_beside_regular_pulses() -> None:
    pulses = np.arange(9_000, 39 * RATE_HZ, RATE_HZ // 10)
    both = np.concatenate([pulses, at_random(120, 0.0, 40.0)])

    spikes = look_for_clear_spikes(with_waves(40.0, both, CELL), filtered=True)

    assert spikes.certain
    assert spikes.count < 120


def test_pulses_of_unequal_size_at_random_are_not_certain() -> None:
    pulses = np.zeros((20 * RATE_HZ, 4), np.float32)
    for start in at_random(60, 0.0, 20.0):
        pulses[start : start + 15] -= np.outer(400 * np.hanning(15), (1.0, 0.7, 0.6, 0.5))
    recording = with_waves(20.0, np.empty(0, int), CELL)
    disturbed = NumpyRecording([recording.get_traces() + pulses], RATE_HZ)

    spikes = look_for_clear_spikes(disturbed)

    assert (spikes.certain, spikes.suspected) == (False, True)


def test_bursts_are_spikes() -> None:
    bursts = (at_random(60, 0.0, 19.0)[:, None] + np.arange(6) * 90).ravel()

    assert look_for_clear_spikes(with_waves(20.0, bursts, CELL), filtered=True).certain


def test_what_is_not_filtered_is_filtered_for_the_look() -> None:
    recording = with_waves(20.0, at_random(200, 0.0, 20.0), CELL, added_uv=300.0)

    assert look_for_clear_spikes(recording).certain


def test_a_cell_that_all_wires_see_alike_is_suspected() -> None:
    spikes = look_for_clear_spikes(with_waves(20.0, at_random(200, 0.0, 20.0), (200.0, 190.0, 180.0, 172.0)))

    assert spikes.suspected
    assert "peaks that all wires have alike" in str(spikes)


def test_pulses_that_far_contacts_have_too_are_no_spikes() -> None:
    recording = with_waves(20.0, at_random(200, 0.0, 20.0), (200.0, 160.0, 130.0, 120.0, 110.0, 100.0, 100.0, 100.0))
    recording.set_probe(SHAPES["eight wires"].probe())

    assert look_for_clear_spikes(recording, filtered=True).count == 0


def test_a_handful_of_spikes_is_said_but_not_certain() -> None:
    raw, _ = make_ground_truth(SECONDS, num_units=1, firing_rates_hz=(0.8, 0.9), seed=2)

    spikes = look_for_clear_spikes(filtered(raw))

    assert 0 < spikes.count < 30
    assert not spikes.certain
    assert str(spikes).startswith(f"{spikes.count} clear spikes in 12 s of its 12 s")


def test_the_whole_length_is_looked_over_and_the_first_stretch_named() -> None:
    raw, _ = make_shape("four contacts", 50.0)
    late = filtered(raw).frame_slice(0, None)
    silent_first = NumpyRecording([late.get_traces() * (np.arange(50 * RATE_HZ) > 30 * RATE_HZ)[:, None]], RATE_HZ)

    spikes = look_for_clear_spikes(silent_first)

    assert spikes.stretches == 30
    assert spikes.first_s is not None
    assert spikes.first_s >= 28
    assert spikes.certain
