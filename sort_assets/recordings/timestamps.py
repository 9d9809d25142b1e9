"""The clock that timestamps make, whether each sample's is exact, jitters, is rounded, or is that of its packet.

Exact timestamps that jump have a piece for each stretch between jumps. Those that jitter, as of a computer that notes
when samples arrive, say no more about one sample than about its neighbours: a jump is what lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.recordings.clock import MAX_PIECES, BrokenClockError, Clock, ClockPiece, chunks, mended
from sort_assets.recordings.step_range import step_range

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FIRST_TIMESTAMPS = 1_000_000
"""How many timestamps the usual rate is taken from."""
_JUMP_SAMPLES = 0.5
"""Timestamps whose step differs from the usual one by more than this many samples have jumped."""
_PACKET_JUMP_SAMPLES = 1.5
"""The same between packets, whose first sample may come up to a sample after their timestamp."""
_ROUNDING = 1e-6
"""Relative difference from a whole number of samples per second that counts as rounding."""
_FAR = 4096
"""Timestamps between two from which a slope is taken where they jitter: most pairs have no gap between them."""
_KNOT_EVERY = 1024
"""Exact timestamps between which the slope of the clock is followed."""
_FIT_SAMPLES = 0.25
"""How far the line through a piece may lie from exact timestamps."""
_JITTER_SAMPLES = 0.05
"""Steps that differ from the usual one by more are no drift: oscillators are within a thousandth of a sample."""
_DRIFT = 2e-4
"""Samples per sample by which a rate differs from the nominal one without being a jump."""
_MOST_SLOPE = 0.01
"""Samples per sample by which the line through jittering timestamps may differ from the nominal rate."""
_MAX_DRIFT = 1e-3
"""Samples per sample by which a true rate may differ from the nominal one."""
_MAIN_SHARE = 0.95
"""Share of the samples that must be right for others to count as corrupt."""
_FEWEST_STEPS = 96
"""Fewer steps that differ are jumps, however they add up."""
_GROUP = 64
"""How many timestamps one mean is taken of, where they jitter, and how many means there are at least if possible."""
_GROUPS_COMPARED = 8
"""Means on either side of a place that may be a jump."""

_Pairs = Iterator[tuple[np.ndarray, np.ndarray]]


def clock_from_timestamps(timestamps: ArrayLike, nominal_hz: float) -> Clock:
    """The clock that timestamps make.

    The rate of each piece is that of its whole span: single differences can't resolve it where the numbers are large,
    such as seconds since 1970 in float64 (steps of 0.24 microseconds).

    Where most samples have the timestamp of the sample before, it is that of a packet or a rounded one: taken as the
    time of the first sample that has it. Where timestamps jitter, lines are fitted through the means of many, and a
    jump must last.

    Parameters
    ----------
    timestamps : array_like
        Of each sample, in seconds, of shape (samples,); may be memory-mapped or an HDF5 data set.
    nominal_hz : float
        Samples per second, to within some hundred parts per million.

    Raises
    ------
    BrokenClockError
        When timestamps are not finite, all the same, or jump more than `MAX_PIECES` times.
    """
    stream: Callable[[], _Pairs] = partial(_each, timestamps)
    dtype = np.asanyarray(timestamps[:1]).dtype  # type: ignore[index]
    walk = _walk(stream(), nominal_hz, _JUMP_SAMPLES, dtype)
    num_samples, in_packets = len(timestamps), 2 * walk.repeated > walk.read  # type: ignore[arg-type]
    uncertainty_s = 0.0
    if in_packets:
        stream = partial(_packets, timestamps)
        walk = _walk(stream(), nominal_hz, _PACKET_JUMP_SAMPLES, dtype)
        uncertainty_s = walk.last_sample / max(walk.read - 1, 1) / nominal_hz
    if walk.jittering is not None:
        expected = num_samples * walk.read // (walk.last_sample + 1)
        group = max(math.ceil(4 * walk.jittering), min(_GROUP, expected // _GROUP))
        pieces, smallest_s = _Noisy(timestamps, stream, in_packets, nominal_hz, group).pieces(num_samples)
        uncertainty_s = max(uncertainty_s, smallest_s)
    elif not walk.complete:
        raise BrokenClockError(f"the clock jumps more than {MAX_PIECES} times in the first {walk.starts[-1]} samples")
    else:
        pieces = walk.pieces(num_samples, nominal_hz, 1.0 if in_packets else _FIT_SAMPLES)
    source = "timestamps of packets" if in_packets else "timestamps"
    return mended(Clock(tuple(pieces), nominal_hz, source, uncertainty_s=uncertainty_s))


def usual_rate_hz(timestamps: Any) -> float:
    """The rate at which timestamps come, to some parts per million.

    It is that of the longest stretch without a jump; where they jitter, the median over many stretches.

    Parameters
    ----------
    timestamps : array_like
        In seconds; the first million is read.

    Raises
    ------
    BrokenClockError
        When they do not ascend.
    """
    times = np.asarray(timestamps[:FIRST_TIMESTAMPS], dtype=np.float64)
    samples = np.flatnonzero(np.isfinite(times))
    new = np.diff(times[samples], prepend=np.nan) != 0
    slack = _JUMP_SAMPLES
    if 2 * np.count_nonzero(~new) > len(new):
        samples, slack = samples[new][1:], _PACKET_JUMP_SAMPLES
    times = times[samples]
    if len(samples) < 2:
        raise BrokenClockError("fewer than two timestamps differ")
    steps = np.diff(times) / np.diff(samples)
    usual = float(np.median(steps))
    off = np.abs(steps - usual) * np.diff(samples) / abs(usual)
    inside = off < slack
    jumps = np.flatnonzero(~inside)
    is_exact = inside.any() and np.mean(off[inside] < _JITTER_SAMPLES) > _MAIN_SHARE
    if is_exact or len(jumps) <= _FEWEST_STEPS:
        ends = np.concatenate([[-1], jumps, [len(steps)]])
        longest = int(np.argmax(np.diff(ends)))
        start, end = int(ends[longest]) + 1, int(ends[longest + 1])
        span = int(samples[end] - samples[start])
        period_s = float(times[end] - times[start]) / span if span else usual
        if len(jumps) > _FEWEST_STEPS:
            period_s = float(np.diff(times)[inside].sum() / np.diff(samples)[inside].sum())
    else:
        far = min(_FAR, len(samples) // 8)
        period_s = float(np.median((times[far:] - times[:-far]) / (samples[far:] - samples[:-far])))
    if not period_s > 0:
        raise BrokenClockError("the timestamps do not ascend")
    rate_hz = 1 / period_s
    return float(round(rate_hz)) if abs(rate_hz - round(rate_hz)) < _ROUNDING * rate_hz else rate_hz


@dataclass
class _Walk:
    """One pass over timestamps: where they jump, and some of them to follow the slope.

    Attributes
    ----------
    starts : list of int
        First samples of the stretches between jumps.
    knots : list of (int, float)
        Samples and their timestamps.
    read, repeated, last_sample : int
        How many timestamps were read, how many of them were those of the sample before, and which was the last.
    complete : bool
        False when the walk was given up, since too much jumps.
    resolution_s : float
        How exactly the largest timestamp can be written down in the file's type of number.
    jittering : float or None
        Mean number of timestamps between steps that cancel each other; None where steps last.
    """

    starts: list[int] = field(default_factory=lambda: [0])
    knots: list[tuple[int, float]] = field(default_factory=list)
    read: int = 0
    repeated: int = 0
    last_sample: int = 0
    complete: bool = True
    resolution_s: float = 0.0
    jittering: float | None = None

    def pieces(self, num_samples: int, nominal_hz: float, tolerance: float) -> list[ClockPiece]:
        """Lines through the knots of each stretch, at most `tolerance` samples away from each."""
        tolerance_s = tolerance / nominal_hz + 2 * self.resolution_s
        knots = sorted(set(self.knots))
        samples = np.array([sample for sample, _ in knots])
        times = np.array([time_s for _, time_s in knots])
        pieces: list[ClockPiece] = []
        for start, end in pairwise([*self.starts, num_samples]):
            inside = slice(np.searchsorted(samples, start), np.searchsorted(samples, end))
            pieces += _chords(samples[inside], times[inside], (start, end), nominal_hz, tolerance_s)
        return _with_losses_as_jumps(pieces)


def _walk(pairs: _Pairs, nominal_hz: float, slack: float, dtype: np.dtype) -> _Walk:
    walk, steps_seen = _Walk(), _Steps(nominal_hz)
    last: tuple[int, float] | None = None
    for samples, times in pairs:
        walk.resolution_s = max(walk.resolution_s, _resolution_s(times[[0, -1]], dtype))
        if _is_even(samples, times, last, nominal_hz, walk.resolution_s):
            steps_seen.skip(len(samples))
            walk.read += len(samples)
            walk.knots += zip(samples[::_KNOT_EVERY].tolist(), times[::_KNOT_EVERY].tolist(), strict=True)
            last = int(samples[-1]), float(times[-1])
            walk.last_sample = last[0]
            if walk.resolution_s * nominal_hz > _FIT_SAMPLES:
                walk.jittering = walk.jittering or 1.0
                return walk
            continue
        step_from = last or (int(samples[0]) - 1, float(times[0]) - 1 / nominal_hz)
        steps = np.diff(times, prepend=step_from[1])
        due = np.diff(samples, prepend=step_from[0])
        off = steps * nominal_hz - due
        walk.resolution_s = max(walk.resolution_s, _resolution_s(times, dtype))
        resolution = 2 * walk.resolution_s * nominal_hz
        jumped = np.flatnonzero(np.abs(off) > slack + resolution + _DRIFT * due)
        walk.repeated += int(np.count_nonzero(steps[jumped] == 0))
        walk.read += len(samples)
        walk.jittering = steps_seen.jittering(samples, times, off, resolution)
        walk.complete = len(walk.starts) + len(jumped) <= MAX_PIECES
        ats = jumped[:MAX_PIECES].tolist()
        edges = np.flatnonzero(np.diff(np.abs(off) > _JITTER_SAMPLES + resolution))[:MAX_PIECES].tolist()
        walk.starts += samples[ats].tolist()
        if ats and ats[0] == 0 and last is not None:
            walk.knots.append(last)
        wanted = sorted({*range(0, len(samples), _KNOT_EVERY), *ats, *(at - 1 for at in ats if at), *edges})
        walk.knots += zip(samples[wanted].tolist(), times[wanted].tolist(), strict=True)
        last = int(samples[-1]), float(times[-1])
        walk.last_sample = last[0]
        if walk.resolution_s * nominal_hz > _FIT_SAMPLES:
            walk.jittering = walk.jittering or 1.0
        if not walk.complete or walk.jittering is not None:
            return walk
    if last is None:
        raise BrokenClockError("all timestamps are the same")
    walk.knots.append(last)
    return walk


def _is_even(
    samples: np.ndarray, times: np.ndarray, last: tuple[int, float] | None, nominal_hz: float, resolution_s: float
) -> bool:
    """Whether all steps are the usual one, as in nearly all chunks; found at the speed of memory."""
    first = int(samples[0]) if last is None else last[0] + 1
    if int(samples[0]) != first or int(samples[-1]) != first + len(samples) - 1:
        return False
    lowest, highest = step_range(times, None if last is None else last[1])
    slack_s = _JITTER_SAMPLES / nominal_hz + 2 * resolution_s
    return lowest >= 1 / nominal_hz - slack_s and highest <= 1 / nominal_hz + slack_s


class _Steps:
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
        slack = _JITTER_SAMPLES + resolution
        differing = np.flatnonzero(np.abs(off) > slack)
        if not self._seen.shape[1]:  # where the first stretch begins
            start = min(int(samples[0]) - self._read, int(samples[0]))
            first_s = times[0] - (samples[0] - start) / self._nominal_hz
            self._seen = np.array([[start], [first_s], [0.0]])
        self._read += len(samples)
        self._seen = np.concatenate([self._seen, [samples[differing], times[differing], off[differing]]], axis=1)
        if self._seen.shape[1] < _FEWEST_STEPS:
            return None
        at, sizes, lag = self._steps_between_main_stretches(int(samples[-1]) + 1, slack)
        if len(at) < _FEWEST_STEPS:
            return None
        largest = 10 * np.median(np.abs(sizes))  # a gap, beside what jitters
        up, down = sizes.clip(0, largest).sum(), -sizes.clip(-largest, 0).sum()
        if min(up, down) < 0.25 * (up + down):
            return None
        travelled = np.cumsum(np.abs(sizes))
        width = _FEWEST_STEPS // 3
        while width <= len(at) // 3:
            moved, span = np.diff(lag[::width]), np.diff(at[::width])
            drift = np.clip(np.median(moved / span), -_MAX_DRIFT, _MAX_DRIFT)
            ratio = np.diff(travelled[::width]) / np.maximum(np.abs(moved - drift * span), _JITTER_SAMPLES)
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
        count = np.searchsorted(np.cumsum(lengths[longest]), _MAIN_SHARE * lengths.sum()) + 1
        main = np.sort(longest[:count])
        lag_at_end = (lag - off)[main[:-1] + 1]
        sizes = lag[main[1:]] - lag_at_end
        steps = np.abs(sizes) > slack
        return at[main[1:]][steps], sizes[steps], lag[main[1:]][steps]


@dataclass(frozen=True)
class _Noisy:
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
    stream: Callable[[], _Pairs]
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
            pieces += self._lines(x, y, start, end, max(2 * _FIT_SAMPLES, 6 * noise))
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
            jumps.append(self._exact_jump(int(samples[low]), int(samples[high_group]), slope))
        return sorted({jump for jump in jumps if 0 < jump < num_samples}), smallest

    def _exact_jump(self, low: int, high: int, slope: float) -> int:
        """The sample that best parts a stretch into two levels."""
        samples, lags = self._raw(low, high)
        level = lags - slope * samples
        level -= level.mean()
        before = np.cumsum(level)[:-1]
        count = np.arange(1, len(level))
        return int(samples[1:][np.argmax(before**2 / (count * (len(level) - count)))])

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
        if abs(slope) > _MAX_DRIFT and len(samples) < _GROUPS_COMPARED:  # too few to tell
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


def _chords(
    samples: np.ndarray, times: np.ndarray, stretch: tuple[int, int], nominal_hz: float, tolerance_s: float
) -> Iterator[ClockPiece]:
    """Lines through exact timestamps of a stretch without a jump: one, or as many as it takes to stay near them."""
    start, end = stretch
    if len(samples) == 1:
        yield ClockPiece(start, end, float(times[0]) - (int(samples[0]) - start) / nominal_hz, nominal_hz)
        return
    for first, last in pairwise(polyline_through(samples, times, tolerance_s)):
        rate_hz = float((samples[last] - samples[first]) / (times[last] - times[first]))
        begin = start if first == 0 else int(samples[first])
        stop = end if last == len(samples) - 1 else int(samples[last])
        yield ClockPiece(begin, stop, float(times[first]) - (int(samples[first]) - begin) / rate_hz, rate_hz)


def _with_losses_as_jumps(pieces: list[ClockPiece]) -> list[ClockPiece]:
    """The pieces, of which those at another rate than most samples lose none: a jump follows.

    Timestamps that were interpolated over a loss stretch or squeeze a few samples. Where in them samples are missing is
    not known.
    """
    longest = max(pieces, key=lambda piece: piece.end_sample - piece.start_sample)
    made: list[ClockPiece] = []
    for piece in pieces:
        if abs(piece.rate_hz / longest.rate_hz - 1) <= _MAX_DRIFT:
            made.append(piece)
        elif made and abs(piece.start_time_s - made[-1].end_time_s) * longest.rate_hz < _JUMP_SAMPLES:
            made[-1] = replace(made[-1], end_sample=piece.end_sample)
        else:
            made.append(replace(piece, rate_hz=longest.rate_hz))
    return made


def polyline_through(x: np.ndarray, y: np.ndarray, tolerance: float) -> list[int]:
    """Points that a polyline must have to stay near all of them (Ramer-Douglas-Peucker).

    Parameters
    ----------
    x, y : np.ndarray
        Shape (points,), `x` strictly ascending.
    tolerance : float
        How far `y` may lie from the polyline.

    Returns
    -------
    list of int
        Indices of the points, the first and the last among them.
    """
    kept, waiting = {0, len(x) - 1}, [(0, len(x) - 1)]
    while waiting:
        first, last = waiting.pop()
        inside = slice(first, last + 1)
        off = np.abs(y[inside] - y[first] - (x[inside] - x[first]) * (y[last] - y[first]) / (x[last] - x[first]))
        worst = first + int(np.argmax(off))
        if last - first > 1 and off.max() > tolerance:
            kept.add(worst)
            waiting += [(first, worst), (worst, last)]
    return sorted(kept)


def _resolution_s(times: np.ndarray, dtype: np.dtype) -> float:
    """The distance of the largest timestamp from the next number of the type in which it was written."""
    largest = np.abs(times).max()
    return float(np.spacing(dtype.type(largest) if dtype.kind == "f" else largest))


def _noise(values: np.ndarray) -> float:
    """Standard deviation of normal values, from their median distance from 0."""
    return 1.4826 * float(np.median(np.abs(values))) if len(values) else 0.0


def _each(timestamps: ArrayLike) -> _Pairs:
    """Samples and timestamps, in chunks."""
    for position, times in chunks(timestamps):
        if not np.isfinite(times).all():
            at = position + int(np.flatnonzero(~np.isfinite(times))[0])
            raise BrokenClockError(f"the timestamp of sample {at} is no number")
        yield np.arange(position, position + len(times)), times


def _packets(timestamps: ArrayLike) -> _Pairs:
    """The samples whose timestamp is not that of the sample before, and their timestamps, in chunks.

    Without the first packet, which may have begun before the recording.
    """
    before: float | None = None
    for samples, times in _each(timestamps):
        new = np.diff(times, prepend=times[0] if before is None else before) != 0
        before = float(times[-1])
        if new.any():
            yield samples[new], times[new]
