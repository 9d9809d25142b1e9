"""Whether a recording clearly has spikes: units say yes; noise, the mains and what comes from outside say no."""

from collections.abc import Callable

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
