"""Clocks with faults at random places: what a file says of its samples' times, and what these times really are.

Drawn from a seed, so that each case can be made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

EPOCH_S = 1_700_000_000.25
_NO_TIME = np.nan
"""Of samples after a fault that leaves nobody knowing when they were: only a warning or a refusal is right."""


@dataclass(frozen=True)
class NumberTrack:
    """What a counter of samples says.

    Attributes
    ----------
    kind : str
        What is wrong, in one word, or what is unusual about it.
    numbers : np.ndarray
        Of each sample as the file states it, int64, before it is cut to the bits of the counter.
    true_numbers : np.ndarray
        The number that each sample would have in a file without a fault, float64; NaN where nobody can know.
    is_good : bool
        Whether nothing is wrong: the file has to be read as it is, without a warning.
    """

    kind: str
    numbers: np.ndarray
    true_numbers: np.ndarray
    is_good: bool


@dataclass(frozen=True)
class TimeTrack:
    """What timestamps say.

    Attributes
    ----------
    kind : str
    times_s : np.ndarray
        Of each sample as the file states it.
    true_times_s : np.ndarray
        NaN where nobody can know.
    is_good : bool
    tolerance_s : float
        How exactly the true times can be known: one sample, or the step in which timestamps were rounded.
    is_rough : bool
        Whether it is good, and says no more about one sample than about its neighbours: to be read, with a warning.
    """

    kind: str
    times_s: np.ndarray
    true_times_s: np.ndarray
    is_good: bool
    tolerance_s: float
    is_rough: bool = False


def _consecutive(rng: np.random.Generator, samples: int) -> np.ndarray:
    return np.arange(samples) + int(rng.choice([0, rng.integers(1, 10**5), rng.integers(10**5, 10**8)]))


def _place(rng: np.random.Generator, samples: int) -> int:
    """A place anywhere, also very near the ends."""
    return int(rng.choice([rng.integers(1, samples), rng.integers(1, 200), samples - rng.integers(1, 200)]))


def _from(numbers: np.ndarray, place: int, shift: int) -> np.ndarray:
    return np.where(np.arange(len(numbers)) < place, numbers, numbers + shift)


def _plain(rng: np.random.Generator, samples: int) -> NumberTrack:
    numbers = _consecutive(rng, samples)
    return NumberTrack("plain", numbers, numbers.astype(float), is_good=True)


def _wraps(rng: np.random.Generator, samples: int) -> NumberTrack:
    """Past the largest number of 32 bits with a sign."""
    numbers = np.arange(samples) + 2**31 - int(rng.integers(1, samples))
    return NumberTrack("wrapped counter", numbers, numbers.astype(float), is_good=True)


def _gap(rng: np.random.Generator, samples: int) -> NumberTrack:
    numbers = _consecutive(rng, samples)
    for _ in range(int(rng.integers(1, 4))):
        lost = int(rng.choice([1, 2, 128, rng.integers(3, 10_000), rng.integers(10_000, 10**7)]))
        numbers = _from(numbers, _place(rng, samples), lost)
    return NumberTrack("gap", numbers, numbers.astype(float), is_good=False)


def _gap_at_the_wrap(rng: np.random.Generator, samples: int) -> NumberTrack:
    place = int(rng.integers(1, samples))
    numbers = _from(np.arange(samples) + 2**31 - place, place, int(rng.integers(1, 10_000)))
    return NumberTrack("gap where the counter wraps", numbers, numbers.astype(float), is_good=False)


def _overlap(rng: np.random.Generator, samples: int) -> NumberTrack:
    numbers = _consecutive(rng, samples)
    place = _place(rng, samples)
    again = int(rng.choice([1, 128, rng.integers(1, place + 1)]))
    numbers = _from(numbers, place, -min(again, place))
    return NumberTrack("overlap", numbers, numbers.astype(float), is_good=False)


def _step_back(rng: np.random.Generator, samples: int) -> NumberTrack:
    """The counter begins anew: when the samples after it were, nobody knows."""
    numbers = _consecutive(rng, samples) + samples
    place = _place(rng, samples)
    restarted = np.where(np.arange(samples) < place, numbers, np.arange(samples) - place)
    true_numbers = np.where(np.arange(samples) < place, numbers, _NO_TIME)
    return NumberTrack("step back", restarted, true_numbers, is_good=False)


def _leftover(rng: np.random.Generator, samples: int) -> NumberTrack:
    """The first samples are of an earlier run, whose count was anywhere."""
    numbers = _consecutive(rng, samples)
    place = int(rng.choice([rng.integers(1, 2000), rng.integers(1, samples // 4)]))
    earlier = np.arange(samples) + int(rng.integers(samples, 10**8))
    stated = np.where(np.arange(samples) < place, earlier, numbers)
    true_numbers = np.where(np.arange(samples) < place, stated, numbers).astype(float)
    return NumberTrack("leftover of an earlier run", stated, true_numbers, is_good=False)


def _repeated(rng: np.random.Generator, samples: int) -> NumberTrack:
    """A number that stands still for some samples, then is right again."""
    numbers = _consecutive(rng, samples)
    place = _place(rng, samples)
    length = int(rng.choice([1, 2, 128, rng.integers(1, 1000)]))
    stated = numbers.copy()
    stated[place : place + length] = stated[place - 1]
    return NumberTrack("repeated numbers", stated, numbers.astype(float), is_good=False)


def _missing(rng: np.random.Generator, samples: int) -> NumberTrack:
    """Some numbers are missing, although their samples are there: those at the end have none."""
    numbers = _consecutive(rng, samples)
    place = _place(rng, samples)
    length = min(int(rng.choice([1, 128, rng.integers(1, 3000)])), samples - place)
    return NumberTrack(
        "missing numbers", np.delete(numbers, np.s_[place : place + length]), numbers.astype(float), is_good=False
    )


def _zeros(rng: np.random.Generator, samples: int) -> NumberTrack:
    numbers = _consecutive(rng, samples) + samples
    place = _place(rng, samples)
    stated = numbers.copy()
    stated[place : place + int(rng.choice([1, 128, rng.integers(1, 3000)]))] = 0
    return NumberTrack("zeros", stated, numbers.astype(float), is_good=False)


def _flipped_bit(rng: np.random.Generator, samples: int) -> NumberTrack:
    numbers = _consecutive(rng, samples)
    stated = numbers.copy()
    stated[_place(rng, samples)] ^= 1 << int(rng.integers(0, 30))
    return NumberTrack("flipped bit", stated, numbers.astype(float), is_good=False)


def _gap_and_overlap(rng: np.random.Generator, samples: int) -> NumberTrack:
    """What is missing at one place is made up for at another."""
    numbers = _consecutive(rng, samples)
    first, second = np.sort(rng.choice(np.arange(1, samples), 2, replace=False)).tolist()
    lost = int(rng.integers(1, 5000))
    numbers = _from(_from(numbers, first, lost), second, -lost)
    return NumberTrack("gap and overlap", numbers, numbers.astype(float), is_good=False)


NUMBER_TRACKS: tuple[Callable[[np.random.Generator, int], NumberTrack], ...] = (
    _plain,
    _gap,
    _overlap,
    _step_back,
    _leftover,
    _repeated,
    _missing,
    _zeros,
    _flipped_bit,
    _gap_and_overlap,
)
WRAPPING_TRACKS = (_wraps, _gap_at_the_wrap)
"""Of counters of 32 bits alone."""
SAME_LENGTH_TRACKS = tuple(track for track in NUMBER_TRACKS if track is not _missing)
"""Of files that can't have fewer numbers than samples."""


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
        track.is_good,
        1 / rate_hz + 2 * float(np.spacing(start_s)),
    )


def _with_nan(times: TimeTrack, rng: np.random.Generator, value: float) -> TimeTrack:
    stated = times.times_s.copy()
    place = int(rng.choice([0, len(stated) - 1, rng.integers(0, len(stated))]))
    stated[place : place + int(rng.choice([1, 128, rng.integers(1, len(stated))]))] = value
    return replace(times, kind=f"{times.kind}, {value:g} in between", times_s=stated, is_good=False)


def _float32(times: TimeTrack, rng: np.random.Generator, value: float) -> TimeTrack:
    stated = times.times_s.astype("float32")
    # Seconds since 1970 come in steps of two minutes: nothing can be right about those without a warning.
    step_s = min(float(np.spacing(np.abs(stated).max())), 1e-3)
    return replace(
        times, kind=f"{times.kind}, float32", times_s=stated, is_good=False, tolerance_s=times.tolerance_s + step_s
    )


def _rounded(times: TimeTrack, rng: np.random.Generator, value: float) -> TimeTrack:
    return replace(
        times,
        kind=f"{times.kind}, whole milliseconds",
        times_s=np.round(times.times_s, 3),
        tolerance_s=times.tolerance_s + 0.5e-3,
    )


def _jittering(times: TimeTrack, rng: np.random.Generator, value: float) -> TimeTrack:
    size_s = float(rng.uniform(0.01e-3, 0.5e-3))
    return replace(
        times,
        kind=f"{times.kind}, jitter",
        times_s=times.times_s + rng.uniform(-size_s, size_s, len(times.times_s)),
        tolerance_s=times.tolerance_s + size_s,
    )


def _in_packets(times: TimeTrack, rng: np.random.Generator, value: float) -> TimeTrack:
    """All samples of a packet have the time of its first one."""
    length = int(rng.choice([30, 60, 128, 256]))
    first = np.arange(len(times.times_s)) // length * length
    step_s = float(length * np.median(np.diff(times.times_s)))
    return replace(
        times,
        kind=f"{times.kind}, times of packets",
        times_s=times.times_s[first],
        tolerance_s=times.tolerance_s + step_s,
    )


SPOILED = (_with_nan, _float32)
ROUGH = (_rounded, _jittering, _in_packets)
"""Timestamps that are less exact than one sample, in which nothing is wrong."""


def draw_times(rng: np.random.Generator, samples: int, rate_hz: float) -> TimeTrack:
    """Timestamps with a fault, spoiled timestamps, rough ones, or good ones."""
    tracks = SAME_LENGTH_TRACKS
    times = to_times(tracks[int(rng.integers(len(tracks)))](rng, samples), rng, rate_hz)
    luck = rng.random()
    if luck < 0.12:
        value = float(rng.choice([np.nan, np.inf, -1.0, 0.0]))
        return SPOILED[int(rng.integers(len(SPOILED)))](times, rng, value)
    if luck < 0.25:
        good = replace(to_times(_plain(rng, samples), rng, rate_hz), is_good=False, is_rough=True)
        return ROUGH[int(rng.integers(len(ROUGH)))](good, rng, 0.0)
    return times
