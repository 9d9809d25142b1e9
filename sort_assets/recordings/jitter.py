"""Timestamps that jitter: how they are told from those that jump, and the lines through the means of many.

What jitters says no more about one sample than about its neighbours: a jump is what lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sort_assets.recordings.clock import MAX_PIECES, BrokenClockError, ClockPiece
from sort_assets.recordings.polyline import polyline_through

Pairs = Iterator[tuple[np.ndarray, np.ndarray]]
"""Samples and their timestamps, in chunks."""
JITTER_SAMPLES = 0.05
"""Steps that differ from the usual one by more are no drift: oscillators are within a thousandth of a sample."""
MAX_DRIFT = 1e-3
"""Samples per sample by which a true rate may differ from the nominal one."""
MAIN_SHARE = 0.95
"""Share of the samples that must be right for others to count as corrupt."""
FEWEST_STEPS = 96
"""Fewer steps that differ are jumps, however they add up."""
_FIT_SAMPLES = 0.5
"""How far a line may lie from the means at least."""
_MOST_SLOPE = 0.01
"""Samples per sample by which the line through jittering timestamps may differ from the nominal rate."""
_GROUP = 64
"""How many timestamps one mean is taken of, where they jitter, and how many means there are at least if possible."""
_UNSURE_PLACE = 74
"""Square of a jump's size, in standard deviations of the jitter, up to which its place may be wrong by a sample: the
chance that n samples are on the wrong side falls with exp(-n * square / 8)."""
_GROUPS_COMPARED = 8
"""Means on either side of a place that may be a jump."""


class JitterDetector:
    """Steps between timestamps that differ from the usual one, and whether they cancel each other.

    What jitters goes up as far as down and stays where it is: over `width` steps, it has travelled far more than it
    has moved. A sum of independent steps moves with the root of their number.
    """

    def __init__(self, nominal_hz: float) -> None:
        self._nominal_hz = nominal_hz
        self._seen = np.zeros((3, 0))  # sample, timestamp, by how many samples the step differs
        self._read = 0

    def skip(self, number: int) -> None:
        """Take note of as many timestamps without a step that differs."""
        self._read += number

    def jittering(self, samples: np.ndarray, times: np.ndarray, off: np.ndarray, resolution: float) -> float | None:
        """Mean number of timestamps between steps that cancel each other, or None where they last, or are few.

        Parameters
        ----------
        samples, times, off : ndarray
            The next chunk: samples, timestamps, and by how many samples each differs from the one that was due.
        resolution : float
            How exactly timestamps can be written down, in samples.
        """
        if self._seen.shape[1] > MAX_PIECES:
            return None
        slack = JITTER_SAMPLES + resolution
        differing = np.flatnonzero(np.abs(off) > slack)
        if not self._seen.shape[1]:  # where the first stretch begins
            start = int(samples[0]) - self._read
            first_s = times[0] - (samples[0] - start) / self._nominal_hz
            self._seen = np.array([[start], [first_s], [0.0]])
        self._read += len(samples)
        self._seen = np.concatenate([self._seen, [samples[differing], times[differing], off[differing]]], axis=1)
        if self._seen.shape[1] < FEWEST_STEPS:
            return None
        at, sizes, lag = self._steps_between_main_stretches(int(samples[-1]) + 1, slack)
        if len(at) < FEWEST_STEPS:
            return None
        largest = 10 * np.median(np.abs(sizes))  # a gap, beside what jitters
        up, down = sizes.clip(0, largest).sum(), -sizes.clip(-largest, 0).sum()
        if min(up, down) < 0.25 * (up + down):
            return None
        travelled = np.cumsum(np.abs(sizes))
        width = FEWEST_STEPS // 3
        while width <= len(at) // 3:
            moved, span = np.diff(lag[::width]), np.diff(at[::width])
            drift = np.clip(np.median(moved / span), -MAX_DRIFT, MAX_DRIFT)
            ratio = np.diff(travelled[::width]) / np.maximum(np.abs(moved - drift * span), JITTER_SAMPLES)
            if np.median(ratio) > 2.2 * math.sqrt(width):
                return self._read / len(at)
            width *= 4
        return None

    def _steps_between_main_stretches(self, end: int, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the stretches begin that hold nearly all samples, their steps, and their lags, all in samples.

        Corrupt timestamps make many steps, and go back to the line: between the stretches that are left when few
        samples are left out, there is no step.
        """
        at, time_s, off = self._seen
        lag = (time_s - time_s[0]) * self._nominal_hz - (at - at[0])
        lengths = np.diff(at, append=end)
        longest = np.argsort(lengths)[::-1]
        count = np.searchsorted(np.cumsum(lengths[longest]), MAIN_SHARE * lengths.sum()) + 1
        main = np.sort(longest[:count])
        lag_at_end = (lag - off)[main[:-1] + 1]
        sizes = lag[main[1:]] - lag_at_end
        steps = np.abs(sizes) > slack
        return at[main[1:]][steps], sizes[steps], lag[main[1:]][steps]


@dataclass(frozen=True)
class JitteringTimestamps:
    """Timestamps that jitter, and the lines through the means of groups of them.

    Attributes
    ----------
    timestamps : array_like
        All of them.
    stream : callable
        Starts a pass over them.
    in_packets : bool
        Whether only the first sample of a packet counts.
    nominal_hz : float
        Samples per second.
    group : int
        How many timestamps a mean is taken of.
    """

    timestamps: Any
    stream: Callable[[], Pairs]
    in_packets: bool
    nominal_hz: float
    group: int

    def pieces(self, num_samples: int) -> tuple[list[ClockPiece], float]:
        """Lines, of which those between the same two jumps follow each other; the smallest jump seen, in seconds."""
        samples, lags = self._means()
        jumps, smallest = self._jumps(samples, lags, num_samples)
        half = float(np.median(np.diff(samples))) / 2 if len(samples) > 1 else num_samples / 2
        noise = _noise(np.diff(lags)) / math.sqrt(2)
        pieces: list[ClockPiece] = []
        for start, end in pairwise([0, *jumps, num_samples]):
            inside = (samples - half >= start - 0.5) & (samples + half <= end + 0.5)
            if not inside.any():
                inside = (samples >= start) & (samples < end)
            x, y = samples[inside], lags[inside]
            if not len(x):
                x, y = (np.array([values.mean()]) for values in self._raw(start, end))
            pieces += self._lines(x, y, start, end, max(_FIT_SAMPLES, 6 * noise))
        return pieces, smallest / self.nominal_hz

    @property
    def _first_time_s(self) -> float:
        return float(self.timestamps[0])

    def _lag(self, samples: np.ndarray, times: np.ndarray) -> np.ndarray:
        """By how many samples the clock is ahead of the nominal rate."""
        return np.asarray((times - self._first_time_s) * self.nominal_hz - samples)

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples and lags, each the mean of a group."""
        means: list[np.ndarray] = []
        rest = np.zeros((2, 0))
        for samples, times in self.stream():
            rest = np.concatenate([rest, [samples, self._lag(samples, times)]], axis=1)
            full = rest.shape[1] // self.group * self.group
            means.append(rest[:, :full].reshape(2, -1, self.group).mean(axis=2))
            rest = rest[:, full:]
        found = np.concatenate(means, axis=1)
        samples, lags = found if found.shape[1] else rest.mean(axis=1, keepdims=True)
        return samples, lags

    def _jumps(self, samples: np.ndarray, lags: np.ndarray, num_samples: int) -> tuple[list[int], float]:
        """First samples after lasting steps, where the median lag rises or falls; from which rise on, in samples."""
        count = _GROUPS_COMPARED
        if len(samples) < 2 * count:
            return [], float(np.ptp(lags)) + 1.0
        slope = np.median((lags[count:] - lags[:-count]) / (samples[count:] - samples[:-count]))
        level = lags - slope * samples
        medians = np.median(np.lib.stride_tricks.sliding_window_view(level, count), axis=1)
        rises = medians[count:] - medians[:-count]  # of the groups from `count` on
        smallest = max(1.0, 6 * _noise(rises))
        high = np.abs(rises) > smallest
        edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]).astype(int)))
        jumps = []
        for first, end in edges.reshape(-1, 2).tolist():
            centre = first + int(np.argmax(np.abs(rises[first:end]))) + count
            low, high_group = max(centre - count // 2, 0), min(centre + count // 2, len(samples) - 1)
            jump, unsure = self._exact_jump(int(samples[low]), int(samples[high_group]), slope)
            jumps.append(jump)
            smallest = max(smallest, unsure)
        return sorted({jump for jump in jumps if 0 < jump < num_samples}), smallest

    def _exact_jump(self, low: int, high: int, slope: float) -> tuple[int, float]:
        """The sample that best parts a stretch into two levels; by how many samples times beside it may be wrong."""
        samples, lags = self._raw(low, high)
        level = lags - slope * samples
        level -= level.mean()
        before = np.cumsum(level)[:-1]
        count = np.arange(1, len(level))
        at = int(np.argmax(before**2 / (count * (len(level) - count)))) + 1
        size = abs(float(level[at:].mean() - level[:at].mean()))
        noise = math.hypot(float(level[:at].std()), float(level[at:].std())) / math.sqrt(2)
        return int(samples[at]), size + _FIT_SAMPLES if _UNSURE_PLACE * noise**2 > size**2 else 0.0

    def _raw(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        times = np.asarray(self.timestamps[low:high], dtype=np.float64)
        samples = np.arange(low, low + len(times))
        if self.in_packets:
            new = np.diff(times, prepend=times[0]) != 0
            if new.any():
                samples, times = samples[new], times[new]
        return samples, self._lag(samples, times)

    def _lines(
        self, samples: np.ndarray, lags: np.ndarray, start: int, end: int, tolerance: float
    ) -> Iterator[ClockPiece]:
        """The line through all means by least squares, or as many as it takes to stay near them."""
        slope, level = np.polyfit(samples - start, lags, 1) if len(samples) > 1 else (0.0, float(lags[0]))
        if abs(slope) > MAX_DRIFT and len(samples) < _GROUPS_COMPARED:  # too few to tell
            slope, level = 0.0, float(np.median(lags))
        if len(samples) < 3 or np.abs(lags - level - slope * (samples - start)).max() <= tolerance:
            yield self._piece(start, end, level, slope)
            return
        knots = polyline_through(samples, lags, tolerance)
        for index, (first, last) in enumerate(pairwise(knots)):
            slope = (lags[last] - lags[first]) / (samples[last] - samples[first])
            begin = start if index == 0 else round(samples[first])
            finish = end if index == len(knots) - 2 else round(samples[last])
            yield self._piece(begin, finish, float(lags[first] + slope * (begin - samples[first])), slope)

    def _piece(self, start: int, end: int, lag: float, slope: float) -> ClockPiece:
        if abs(slope) > _MOST_SLOPE:
            raise BrokenClockError(f"the timestamps of samples {start} to {end} jitter around no line")
        time_s = self._first_time_s + (start + lag) / self.nominal_hz
        return ClockPiece(start, end, time_s, self.nominal_hz / (1 + slope))


def _noise(values: np.ndarray) -> float:
    """Standard deviation of normal values, from their median distance from 0."""
    return 1.4826 * float(np.median(np.abs(values))) if len(values) else 0.0


def group_size(spacing: float, timestamps: int) -> int:
    """How many timestamps to take a mean of: of several steps, and few enough that there are many means.

    Parameters
    ----------
    spacing : float
        Timestamps from one step that differs to the next.
    timestamps : int
        How many there are, about.
    """
    return max(math.ceil(4 * spacing), min(_GROUP, timestamps // _GROUP))
