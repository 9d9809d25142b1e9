"""The clock of samples that have both numbers, and timestamps on a clock that several streams share.

The numbers say which samples follow each other. The timestamps say when: a sample's time is that of its number on the
line through some thousands of pairs of number and timestamp, near which all others have to lie. Where they contradict
the numbers, the one that jumps less often is believed, and the contradiction is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sort_assets.recordings.clock import (
    BrokenClockError,
    Clock,
    ClockPiece,
)
from sort_assets.recordings.polyline import polyline_through
from sort_assets.recordings.sample_numbers import clock_from_numbers
from sort_assets.recordings.timestamps import clock_from_timestamps

LAST_BUFFER = 100_000
"""How many numbers or timestamps may be missing at the end: the GUI writes samples, numbers and timestamps through
buffers of their own, and those that are there fit the first samples (open-ephys/analysis-tools#106)."""
_EVERY = 8192
"""Samples between the pairs through which the line is drawn."""
_BLOCK = 65_536
"""As many timestamps fit into a core's cache."""
_NOT_SYNCHRONIZED = -1.0
"""What Open Ephys writes where a stream is not synchronized with the others (plugin-GUI#646)."""
_MOST_PPM = 500.0
"""How far the rate may be from the nominal one."""
_APART_S = 0.05
"""Least seconds between two pairs through which the line is drawn."""
_ADJUSTMENT_S = 1e-3
"""Largest step by which the shared clock may be set right where samples follow each other by their numbers."""
_MOST_WANDER = 2e-6
"""How far the rate may wander within a recording, as the oscillators' temperature does."""
_TOLERANCE_SAMPLES = 0.25
"""How far the line may lie from its pairs."""


def shared_clock(numbers: np.ndarray, timestamps: np.ndarray, rate_hz: float) -> tuple[Clock, list[str]]:
    """The clock, and what is doubtful about it.

    Parameters
    ----------
    numbers : np.ndarray
        Of each sample, int64, may be memory-mapped.
    timestamps : np.ndarray
        Of each sample in seconds, of which some at the end may be missing; -1 or NaN where a stream was not
        synchronized.
    rate_hz : float
        Nominal samples per second.

    Raises
    ------
    BrokenClockError
        When the numbers make no clock, and the timestamps make none either.
    """
    by_number = clock_from_numbers(numbers, rate_hz)
    chosen = _chosen(by_number)
    chosen = chosen[chosen < len(timestamps)]
    number_of, time_of = by_number.times_s(chosen), np.asarray(timestamps[chosen], dtype=float)
    known = np.isfinite(time_of) & (time_of != _NOT_SYNCHRONIZED)
    if not known.any():
        return by_number, []
    number_of, time_of = number_of[known], time_of[known]
    doubts = _doubt_about_the_end(by_number.num_samples, len(timestamps))
    if len(number_of) < 2 or not _on_a_line(number_of, time_of, rate_hz):
        clock, others = _believed(by_number, timestamps, rate_hz)
        return clock, [*doubts, *others] if clock.source != by_number.source else others
    clock = _on_line(by_number, number_of, time_of)
    without, off = _not_on_line(clock, timestamps)
    if without:
        doubts.append(
            f"{without} of {len(timestamps)} samples have no timestamp, since the stream was not synchronized then: "
            "their times go on from those of the others by the numbers of the samples."
        )
    if off:
        doubts.append(
            f"{off} of {len(timestamps)} timestamps contradict the others and the numbers of the samples, which go on: "
            "they were not followed."
        )
    return clock, doubts


def _doubt_about_the_end(num_samples: int, num_timestamps: int) -> list[str]:
    """Whether timestamps are missing for more than a buffer at the end, or for more samples than have one."""
    lacking = num_samples - num_timestamps
    if lacking <= min(LAST_BUFFER, num_timestamps):
        return []
    return [
        f"Only the first {num_timestamps} of {num_samples} samples have a timestamp: the times of the other {lacking} "
        "go on at the rate of these, by the numbers of the samples, and may be off by more the later they are."
    ]


def _chosen(by_number: Clock) -> np.ndarray:
    """Samples at both ends of each piece, and some thousands in between."""
    starts = [piece.start_sample for piece in by_number.pieces]
    ends = [piece.end_sample - 1 for piece in by_number.pieces]
    return np.unique([*range(0, by_number.num_samples, _EVERY), *starts, *ends])


def _on_a_line(number_of: np.ndarray, time_of: np.ndarray, rate_hz: float) -> bool:
    """Whether the rate is near the nominal one, and no step is hidden between two pairs."""
    expected, stated = np.diff(number_of), np.diff(time_of)
    slope = float(np.median(stated[expected != 0] / expected[expected != 0])) if expected.any() else 1.0
    step_s = 2 * float(np.spacing(np.abs(time_of).max()))
    off_s = np.abs(stated - slope * expected)
    return abs(slope - 1) < _MOST_PPM * 1e-6 and bool(
        (off_s <= _TOLERANCE_SAMPLES / rate_hz + step_s + np.abs(expected) * _MOST_WANDER).all()
    )


def _not_on_line(clock: Clock, timestamps: np.ndarray) -> tuple[int, int]:
    """How many samples have no timestamp, and how many one that is not the time of the clock, to half a sample."""
    without, off, ramp = 0, 0, np.arange(_BLOCK)
    for piece in clock.pieces:
        steps_s = ramp / piece.rate_hz
        tolerance_s = 0.5 / clock.nominal_hz + 2 * float(np.spacing(abs(piece.end_time_s)))
        end = min(piece.end_sample, len(timestamps))
        for start in range(piece.start_sample, end, _BLOCK):
            block = timestamps[start : min(start + _BLOCK, end)]
            off_s = block - steps_s[: len(block)]
            time_s = piece.start_time_s + (start - piece.start_sample) / piece.rate_hz
            if off_s.min() >= time_s - tolerance_s and off_s.max() <= time_s + tolerance_s:
                continue
            lacking = ~np.isfinite(block) | (block == _NOT_SYNCHRONIZED)
            without += int(np.count_nonzero(lacking))
            off += int(np.count_nonzero(np.abs(off_s[~lacking] - time_s) > tolerance_s))
    return without, off


def _on_line(by_number: Clock, number_of: np.ndarray, time_of: np.ndarray) -> Clock:
    """The pieces of one clock, with the times of another; each may become several where the other's rate changes."""
    apart = _apart(number_of)
    x, y = number_of[apart], time_of[apart]
    if len(x) == 1:
        x, y = np.array([x[0], x[0] + 1]), np.array([y[0], y[0] + 1])
    tolerance_s = _TOLERANCE_SAMPLES / by_number.nominal_hz + 2 * float(np.spacing(np.abs(y).max()))
    bends = polyline_through(x, y, tolerance_s)
    pieces = [part for piece in by_number.pieces for part in _parts(piece, x[bends], y[bends])]
    return replace(by_number, pieces=tuple(pieces), source="timestamps")


def _apart(number_of: np.ndarray) -> list[int]:
    """Which pairs to draw the line through, by ascending number: two that are too near leave its slope open."""
    kept: list[int] = []
    for index in np.argsort(number_of, kind="stable").tolist():
        if not kept or number_of[index] - number_of[kept[-1]] >= _APART_S:
            kept.append(index)
    return kept


def _parts(piece: ClockPiece, x: np.ndarray, y: np.ndarray) -> Iterator[ClockPiece]:
    """A piece on the line through few points; before the first and after the last, it goes on."""
    slopes = np.diff(y) / np.diff(x)
    rate_hz = piece.rate_hz
    at = np.rint((x[1:-1] - piece.start_time_s) * rate_hz).astype(np.int64) + piece.start_sample
    inside = at[(at > piece.start_sample) & (at < piece.end_sample)].tolist()
    for start, end in zip([piece.start_sample, *inside], [*inside, piece.end_sample], strict=True):
        number_s = piece.start_time_s + (start - piece.start_sample) / rate_hz
        index = int(np.clip(np.searchsorted(x, number_s + 0.25 / rate_hz, side="right") - 1, 0, len(slopes) - 1))
        time_s = float(y[index] + (number_s - x[index]) * slopes[index])
        yield ClockPiece(start, end, time_s, float(rate_hz / slopes[index]))


def _believed(by_number: Clock, timestamps: np.ndarray, rate_hz: float) -> tuple[Clock, list[str]]:
    """The clock that jumps less often, and that the other one contradicts it."""
    try:
        by_time = clock_from_timestamps(timestamps, rate_hz)
    except BrokenClockError as error:
        return by_number, [
            f"The times are those of the numbers of the samples, at the nominal rate, since the timestamps make no "
            f"clock: {error}. They can't be compared with those of other streams."
        ]
    lost = {jump.sample: jump.samples for jump in by_number.jumps}
    steps = [
        abs(jump.samples - expected) - _MOST_PPM * 1e-6 * abs(expected)
        for jump in by_time.jumps
        for expected in [lost.pop(jump.sample, 0)]
    ]
    steps = [step for step in steps if step >= 1]
    if not lost and max(steps, default=0) <= _ADJUSTMENT_S * rate_hz:
        if not steps:
            return by_time, []
        return by_time, [
            f"The timestamps step by up to {1e3 * max(steps) / rate_hz:.2f} ms in {len(steps)} places where the "
            "numbers of the samples go on: no sample is missing there, and the shared clock was set right."
        ]
    if len(by_time.jumps) < len(by_number.jumps) and by_time.is_ascending:
        return by_time, [
            "The numbers of the samples contradict the timestamps: they jump where those go on. The times are the "
            "timestamps."
        ]
    return by_number, [
        "The timestamps contradict the numbers of the samples: they jump where those go on, or not by as much. The "
        "times are those of the numbers, at the nominal rate, and can't be compared with those of other streams."
    ]
