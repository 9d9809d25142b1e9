"""Timestamps with faults at random places: what a file says of its samples' times, and what these really are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sort_assets_tests.recordings.clock_faults import SAME_LENGTH_TRACKS, NumberTrack, draw_numbers, gap, plain

EPOCH_S = 1_700_000_000.25


@dataclass(frozen=True)
class TimeTrack:
    """What timestamps say.

    Attributes
    ----------
    kind : str
        What is wrong, in a few words, or what is unusual about it.
    times_s : np.ndarray
        Of each sample as the file states it.
    true_times_s : np.ndarray
    runs : np.ndarray
        Which run a sample is of, int64: nobody knows how much time was between two runs.
    rate_hz : float
        The true one.
    is_good : bool
        Whether nothing is wrong: the file has to be read as it is, without a warning.
    is_rough : bool
        Whether it is good, and says no more about one sample than about its neighbours: to be read, with a warning.
    """

    kind: str
    times_s: np.ndarray
    true_times_s: np.ndarray
    runs: np.ndarray
    rate_hz: float
    is_good: bool
    is_rough: bool = False


def to_times(track: NumberTrack, rng: np.random.Generator, rate_hz: float) -> TimeTrack:
    """Timestamps of a counter that runs up to 100 ppm off its nominal rate, from any start."""
    ppm = float(rng.choice([0, rng.uniform(30, 100), -rng.uniform(30, 100)]))
    start_s = float(rng.choice([0.0, rng.uniform(0, 1000), EPOCH_S + rng.uniform(0, 1)]))
    true_rate_hz = rate_hz * (1 + ppm * 1e-6)
    kind = ", ".join([track.kind, *(["drift"] if ppm else []), *(["epoch times"] if start_s > EPOCH_S else [])])
    return TimeTrack(
        kind,
        start_s + track.numbers / true_rate_hz,
        start_s + track.true_numbers / true_rate_hz,
        track.runs,
        true_rate_hz,
        track.is_good,
    )


def _with_nan(times: TimeTrack, rng: np.random.Generator) -> TimeTrack:
    value = float(rng.choice([np.nan, np.inf, -1.0, 0.0]))
    stated = times.times_s.copy()
    place = int(rng.choice([0, len(stated) - 1, rng.integers(0, len(stated))]))
    stated[place : place + int(rng.choice([1, 128, rng.integers(1, len(stated))]))] = value
    return replace(times, kind=f"{times.kind}, {value:g} in between", times_s=stated, is_good=False)


def _float32(times: TimeTrack, rng: np.random.Generator) -> TimeTrack:
    return replace(times, kind=f"{times.kind}, float32", times_s=times.times_s.astype("float32"), is_good=False)


def _glitches(times: TimeTrack, rng: np.random.Generator) -> TimeTrack:
    """Single timestamps that are off, by much or by little."""
    stated = times.times_s.copy()
    places = rng.choice(len(stated), int(rng.choice([1, 10, 60, 400])), replace=False)
    stated[places] += rng.uniform(-1, 1, len(places)) * float(rng.choice([1e-4, 1e-3, 1.0]))
    return replace(times, kind=f"{times.kind}, {len(places)} glitches", times_s=stated, is_good=False)


def _burst(times: TimeTrack, rng: np.random.Generator) -> TimeTrack:
    """Any timestamps, one after the other."""
    stated = times.times_s.copy()
    place, length = int(rng.integers(0, len(stated))), int(rng.choice([5, 100, rng.integers(2, 3000)]))
    burst = stated[place : place + length]
    burst[:] = rng.uniform(0, 1e4, len(burst))
    return replace(times, kind=f"{times.kind}, burst of any timestamps", times_s=stated, is_good=False)


def _interpolated_loss(times: TimeTrack, rng: np.random.Generator) -> TimeTrack:
    """Samples were lost somewhere in a buffer, of which only the timestamps at its ends were taken."""
    length = int(rng.choice([64, 512, rng.integers(64, 2000)]))
    place = int(rng.integers(0, len(times.times_s) - length))
    lost_s = length * float(rng.uniform(0.05, 0.9)) / times.rate_hz
    samples = np.arange(len(times.times_s))
    stated = times.times_s + lost_s * np.clip((samples - place) / length, 0, 1)
    true_times_s = times.true_times_s + lost_s * (samples >= place + int(rng.integers(0, length)))
    kind = f"{times.kind}, interpolated loss"
    return replace(times, kind=kind, times_s=stated, true_times_s=true_times_s, is_good=False)


def _rounded(times: TimeTrack, rng: np.random.Generator) -> TimeTrack:
    return replace(times, kind=f"{times.kind}, whole milliseconds", times_s=np.round(times.times_s, 3))


def _jittering(times: TimeTrack, rng: np.random.Generator) -> TimeTrack:
    size_s = float(rng.uniform(0.01e-3, 0.5e-3))
    stated = times.times_s + rng.uniform(-size_s, size_s, len(times.times_s))
    return replace(times, kind=f"{times.kind}, jitter", times_s=stated)


def _in_packets(times: TimeTrack, rng: np.random.Generator) -> TimeTrack:
    """All samples of a packet have the time of its first one."""
    length = int(rng.choice([30, 60, 128, 256]))
    first = np.arange(len(times.times_s)) // length * length
    return replace(times, kind=f"{times.kind}, times of packets", times_s=times.times_s[first])


SPOILED = (_with_nan, _float32, _glitches, _glitches, _burst, _interpolated_loss, _interpolated_loss)
ROUGH = (_rounded, _jittering, _in_packets)
"""Timestamps that are less exact than one sample, in which nothing is wrong."""


def draw_times(rng: np.random.Generator, samples: int, rate_hz: float) -> TimeTrack:
    """Timestamps with a fault, spoiled timestamps, rough ones, both, or good ones."""
    luck = rng.random()
    if luck < 0.3:
        base = (plain, gap)[int(rng.random() < 0.4)](rng, samples)
        return SPOILED[int(rng.integers(len(SPOILED)))](to_times(base, rng, rate_hz), rng)
    if luck < 0.45:
        good = replace(to_times(plain(rng, samples), rng, rate_hz), is_good=False, is_rough=True)
        return ROUGH[int(rng.integers(len(ROUGH)))](good, rng)
    if luck < 0.55:
        faulty = to_times(gap(rng, samples), rng, rate_hz)
        return ROUGH[int(rng.integers(len(ROUGH)))](faulty, rng)
    return to_times(draw_numbers(rng, SAME_LENGTH_TRACKS, samples), rng, rate_hz)
