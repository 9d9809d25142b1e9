"""Counters of samples with faults at random places: what a file says, and which number each sample really has.

Drawn from a seed, so that each case can be made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class NumberTrack:
    """What a counter of samples says.

    Attributes
    ----------
    kind : str
        What is wrong, in a few words, or what is unusual about it.
    numbers : np.ndarray
        Of each sample as the file states it, int64, before it is cut to the bits of the counter.
    true_numbers : np.ndarray
        The number that each sample would have in a file without a fault, float64.
    is_good : bool
        Whether nothing is wrong: the file has to be read as it is, without a warning.
    runs : np.ndarray
        Which run a sample is of, int64: nobody knows how much time was between two runs.
    """

    kind: str
    numbers: np.ndarray
    true_numbers: np.ndarray
    is_good: bool
    runs: np.ndarray


def _track(
    kind: str,
    numbers: np.ndarray,
    *,
    true_numbers: np.ndarray | None = None,
    is_good: bool = False,
    runs: np.ndarray | None = None,
) -> NumberTrack:
    """A track whose numbers are true, unless others are given."""
    true_numbers = numbers if true_numbers is None else true_numbers
    runs = np.zeros(len(true_numbers), np.int64) if runs is None else runs
    return NumberTrack(kind, numbers, true_numbers.astype(float), is_good, runs)


def _consecutive(rng: np.random.Generator, samples: int) -> np.ndarray:
    return np.arange(samples) + int(rng.choice([0, rng.integers(1, 10**5), rng.integers(10**5, 10**8)]))


def _place(rng: np.random.Generator, samples: int) -> int:
    """A place anywhere, also very near the ends."""
    return int(rng.choice([rng.integers(1, samples), rng.integers(1, 200), samples - rng.integers(1, 200)]))


def _from(numbers: np.ndarray, place: int, shift: int) -> np.ndarray:
    return np.where(np.arange(len(numbers)) < place, numbers, numbers + shift)


def plain(rng: np.random.Generator, samples: int) -> NumberTrack:
    """Consecutive numbers."""
    return _track("plain", _consecutive(rng, samples), is_good=True)


def _wraps(rng: np.random.Generator, samples: int) -> NumberTrack:
    """Past the largest number of 32 bits with a sign."""
    return _track("wrapped counter", np.arange(samples) + 2**31 - int(rng.integers(1, samples)), is_good=True)


def gap(rng: np.random.Generator, samples: int) -> NumberTrack:
    """One to three places at which samples are missing."""
    numbers = _consecutive(rng, samples)
    for _ in range(int(rng.integers(1, 4))):
        lost = int(rng.choice([1, 2, 128, rng.integers(3, 10_000), rng.integers(10_000, 10**7)]))
        numbers = _from(numbers, _place(rng, samples), lost)
    return _track("gap", numbers)


def _gap_at_the_wrap(rng: np.random.Generator, samples: int) -> NumberTrack:
    place = int(rng.integers(1, samples))
    numbers = _from(np.arange(samples) + 2**31 - place, place, int(rng.integers(1, 10_000)))
    return _track("gap where the counter wraps", numbers)


def _overlap(rng: np.random.Generator, samples: int) -> NumberTrack:
    numbers = _consecutive(rng, samples)
    place = _place(rng, samples)
    again = int(rng.choice([1, 128, rng.integers(1, place + 1)]))
    return _track("overlap", _from(numbers, place, -min(again, place)))


def _step_back(rng: np.random.Generator, samples: int) -> NumberTrack:
    """The counter begins anew: when the samples after it were, nobody knows."""
    place = _place(rng, samples)
    earlier = _consecutive(rng, samples) + samples
    runs = (np.arange(samples) >= place).astype(int)
    return _track("step back", np.where(runs, np.arange(samples) - place, earlier), runs=runs)


def _leftover(rng: np.random.Generator, samples: int) -> NumberTrack:
    """The first samples are of an earlier run, whose count was anywhere."""
    numbers = _consecutive(rng, samples)
    place = int(rng.choice([rng.integers(1, 2000), rng.integers(1, samples // 4)]))
    earlier = np.arange(samples) + int(rng.integers(samples, 10**8))
    runs = (np.arange(samples) < place).astype(int)
    return _track("leftover of an earlier run", np.where(runs, earlier, numbers), runs=runs)


def _missing(rng: np.random.Generator, samples: int) -> NumberTrack:
    """Some numbers are missing, although their samples are there: those at the end have none."""
    numbers = _consecutive(rng, samples)
    place = _place(rng, samples)
    length = min(int(rng.choice([1, 128, rng.integers(1, 3000)])), samples - place)
    return _track("missing numbers", np.delete(numbers, np.s_[place : place + length]), true_numbers=numbers)


def _gap_and_overlap(rng: np.random.Generator, samples: int) -> NumberTrack:
    """What is missing at one place is made up for at another."""
    numbers = _consecutive(rng, samples)
    first, second = np.sort(rng.choice(np.arange(1, samples), 2, replace=False)).tolist()
    lost = int(rng.integers(1, 5000))
    return _track("gap and overlap", _from(_from(numbers, first, lost), second, -lost))


def _trials(rng: np.random.Generator, samples: int) -> NumberTrack:
    """Pieces with pauses between them, of one length or of any."""
    length = int(rng.choice([400, 1500, rng.integers(300, 10_000)]))
    borders = np.arange(length, samples, length)
    if rng.random() < 0.5:
        borders = np.sort(rng.choice(np.arange(1, samples), len(borders), replace=False))
    trial = np.searchsorted(borders, np.arange(samples), side="right")
    pauses = rng.integers(1, int(rng.choice([50, 30_000])), len(borders) + 1)
    return _track("trials", _consecutive(rng, samples) + np.cumsum(pauses)[trial])


def _trials_from_zero(rng: np.random.Generator, samples: int) -> NumberTrack:
    """The counter begins anew with each trial."""
    length = int(rng.integers(samples // 40, samples // 4))
    return _track("trials from zero", np.arange(samples) % length, runs=np.arange(samples) // length)


def _repeated(numbers: np.ndarray, rng: np.random.Generator) -> None:
    """A number stands still for some samples, then is right again."""
    place = _place(rng, len(numbers))
    numbers[place : place + int(rng.choice([1, 2, 128, rng.integers(1, 1000)]))] = numbers[place - 1]


def _zeros(numbers: np.ndarray, rng: np.random.Generator) -> None:
    place = _place(rng, len(numbers))
    numbers[place : place + int(rng.choice([1, 128, rng.integers(1, 3000)]))] = 0


def _flipped_bit(numbers: np.ndarray, rng: np.random.Generator) -> None:
    numbers[_place(rng, len(numbers))] ^= 1 << int(rng.integers(0, 30))


def _flipped_bits(numbers: np.ndarray, rng: np.random.Generator) -> None:
    places = rng.choice(len(numbers), int(rng.choice([10, 60, 400])), replace=False)
    numbers[places] ^= 1 << rng.integers(0, 30, len(places))


def _burst(numbers: np.ndarray, rng: np.random.Generator) -> None:
    """Any numbers, one after the other."""
    place = _place(rng, len(numbers))
    burst = numbers[place : place + int(rng.choice([3, 40, rng.integers(2, 5000)]))]
    burst[:] = rng.integers(0, 2**30, len(burst))


CORRUPTIONS: dict[str, Callable[[np.ndarray, np.random.Generator], None]] = {
    "repeated numbers": _repeated,
    "zeros": _zeros,
    "flipped bit": _flipped_bit,
    "flipped bits": _flipped_bits,
    "burst of any numbers": _burst,
}
"""Numbers that are not those of their samples, beside others that are."""


def _corrupt(track: NumberTrack, rng: np.random.Generator) -> NumberTrack:
    name = str(rng.choice(list(CORRUPTIONS)))
    numbers = track.numbers + (len(track.numbers) if track.is_good else 0)
    stated = numbers.copy()
    CORRUPTIONS[name](stated, rng)
    kind = name if track.is_good else f"{track.kind}, {name}"
    true_numbers = numbers.astype(float) if track.is_good else track.true_numbers
    return replace(track, kind=kind, numbers=stated, true_numbers=true_numbers, is_good=False)


def _corrupt_one(rng: np.random.Generator, samples: int) -> NumberTrack:
    return _corrupt(plain(rng, samples), rng)


def _several(rng: np.random.Generator, samples: int) -> NumberTrack:
    """Jumps of several kinds, and numbers that are corrupt."""
    jumps = (gap, _overlap, _leftover, _gap_and_overlap, _trials)
    track = jumps[int(rng.integers(len(jumps)))](rng, samples)
    if rng.random() < 0.5:
        shift = int(rng.integers(1, 20_000))
        place = _place(rng, samples)
        numbers = _from(track.numbers, place, shift)
        track = replace(track, kind=f"{track.kind}, gap", numbers=numbers, true_numbers=numbers.astype(float))
    for _ in range(int(rng.integers(1, 3))):
        track = _corrupt(track, rng)
    return track


SAME_LENGTH_TRACKS: tuple[Callable[[np.random.Generator, int], NumberTrack], ...] = (
    plain,
    gap,
    _overlap,
    _step_back,
    _leftover,
    _gap_and_overlap,
    _trials,
    _trials_from_zero,
    _corrupt_one,
    _corrupt_one,
    _corrupt_one,
    _several,
    _several,
)
"""Of files that can't have fewer numbers than samples."""
NUMBER_TRACKS = (*SAME_LENGTH_TRACKS, _missing)
WRAPPING_TRACKS = (_wraps, _gap_at_the_wrap)
"""Of counters of 32 bits alone."""


def draw_numbers(
    rng: np.random.Generator, tracks: tuple[Callable[[np.random.Generator, int], NumberTrack], ...], samples: int
) -> NumberTrack:
    """One of the tracks."""
    return tracks[int(rng.integers(len(tracks)))](rng, samples)
