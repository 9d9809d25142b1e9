"""The clock that timestamps make, whether each sample's is exact, jitters, is rounded, or is that of its packet.

Exact timestamps that jump have a piece for each stretch between jumps. Those that jitter, as of a computer that notes
when samples arrive, say no more about one sample than about its neighbours: a jump is what lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.recordings.clock import MAX_PIECES, BrokenClockError, Clock, ClockPiece, chunks
from sort_assets.recordings.corrupt_times import mended
from sort_assets.recordings.jitter import (
    FEWEST_STEPS,
    JITTER_SAMPLES,
    MAIN_SHARE,
    MAX_DRIFT,
    JitterDetector,
    JitteringTimestamps,
    Pairs,
    group_size,
)
from sort_assets.recordings.polyline import polyline_through
from sort_assets.recordings.step_range import step_range

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FIRST_TIMESTAMPS = 1_000_000
"""How many timestamps the usual rate is taken from."""
_JUMP_SAMPLES = 0.5
"""Timestamps whose step differs from the usual one by more than this many samples have jumped."""
_PACKET_JUMP_SAMPLES = 1.5
"""The same between packets, whose first sample may come up to a sample after their timestamp."""
_FEWEST_PACKETS = 3
"""With fewer, a step between two may be a gap as well as what all are rounded to."""
_STANDS_STILL_SAMPLES, _STANDS_STILL = 3000, 10
"""Timestamps that are the same for as many samples, and for as many times the mean packet, are no packet's."""
_ROUNDING = 1e-6
"""Relative difference from a whole number of samples per second that counts as rounding."""
_FAR = 4096
"""Timestamps between two from which a slope is taken where they jitter: most pairs have no gap between them."""
_KNOT_EVERY = 1024
"""Exact timestamps between which the slope of the clock is followed."""
_FIT_SAMPLES = 0.25
"""How far the line through a piece may lie from exact timestamps."""
_DRIFT = 2e-4
"""Samples per sample by which a rate differs from the nominal one without being a jump."""


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
    stream: Callable[[], Pairs] = partial(_each, timestamps)
    dtype = np.asanyarray(timestamps[:1]).dtype  # type: ignore[index]
    walk = _walk(stream(), nominal_hz, _JUMP_SAMPLES, dtype)
    num_samples, in_packets = len(timestamps), 2 * walk.repeated > walk.read  # type: ignore[arg-type]
    uncertainty_s = 0.0
    interpolated: list[tuple[int, int]] = []
    if in_packets:
        stream = partial(_packets, timestamps)
        walk = _walk(stream(), nominal_hz, _PACKET_JUMP_SAMPLES, dtype)
        if walk.read < _FEWEST_PACKETS:
            raise BrokenClockError(f"only {walk.read + 1} timestamps differ")
        uncertainty_s = walk.last_sample / max(walk.read - 1, 1) / nominal_hz
    if walk.jittering is not None:
        expected = num_samples * walk.read // (walk.last_sample + 1)
        group = group_size(walk.jittering, expected)
        pieces, smallest_s = JitteringTimestamps(timestamps, stream, in_packets, nominal_hz, group).pieces(num_samples)
        uncertainty_s = max(uncertainty_s, smallest_s)
    elif not walk.complete:
        raise BrokenClockError(f"the clock jumps more than {MAX_PIECES} times in the first {walk.starts[-1]} samples")
    else:
        pieces, interpolated = walk.pieces(num_samples, nominal_hz, 1.0 if in_packets else _FIT_SAMPLES)
    if in_packets:
        pieces = [*_first_packet(timestamps, pieces[0], uncertainty_s), *pieces[1:]]
    source = "timestamps of packets" if in_packets else "timestamps"
    if walk.resolution_s * nominal_hz > _JUMP_SAMPLES:
        uncertainty_s = max(uncertainty_s, walk.resolution_s)
    found = Clock(tuple(pieces), nominal_hz, source, uncertainty_s=uncertainty_s, corrupt=tuple(interpolated))
    return mended(found)


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
    is_exact = inside.any() and np.mean(off[inside] < JITTER_SAMPLES) > MAIN_SHARE
    if is_exact or len(jumps) <= FEWEST_STEPS:
        ends = np.concatenate([[-1], jumps, [len(steps)]])
        longest = int(np.argmax(np.diff(ends)))
        start, end = int(ends[longest]) + 1, int(ends[longest + 1])
        span = int(samples[end] - samples[start])
        period_s = float(times[end] - times[start]) / span if span else usual
        if len(jumps) > FEWEST_STEPS:
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

    def pieces(
        self, num_samples: int, nominal_hz: float, tolerance: float
    ) -> tuple[list[ClockPiece], list[tuple[int, int]]]:
        """Lines through the knots of each stretch, at most `tolerance` samples away from each.

        Beside them, the ranges of samples whose timestamps were interpolated over a loss.
        """
        tolerance_s = tolerance / nominal_hz + 2 * self.resolution_s
        knots = sorted(set(self.knots))
        samples = np.array([sample for sample, _ in knots])
        times = np.array([time_s for _, time_s in knots])
        pieces: list[ClockPiece] = []
        for start, end in pairwise([*self.starts, num_samples]):
            inside = slice(np.searchsorted(samples, start), np.searchsorted(samples, end))
            pieces += _chords(samples[inside], times[inside], (start, end), nominal_hz, tolerance_s)
        return _with_losses_as_jumps(pieces)


def _walk(pairs: Pairs, nominal_hz: float, slack: float, dtype: np.dtype) -> _Walk:
    walk, steps_seen = _Walk(), JitterDetector(nominal_hz)
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
        edges = np.flatnonzero(np.diff(np.abs(off) > JITTER_SAMPLES + resolution))[:MAX_PIECES].tolist()
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
    slack_s = JITTER_SAMPLES / nominal_hz + 2 * resolution_s
    return lowest >= 1 / nominal_hz - slack_s and highest <= 1 / nominal_hz + slack_s


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


def _with_losses_as_jumps(pieces: list[ClockPiece]) -> tuple[list[ClockPiece], list[tuple[int, int]]]:
    """The pieces, of which those at another rate than most samples lose none: a jump follows; and where these are.

    Timestamps that were interpolated over a loss stretch or squeeze a few samples. Where in them samples are missing is
    not known.
    """
    longest = max(pieces, key=lambda piece: piece.end_sample - piece.start_sample)
    made: list[ClockPiece] = []
    interpolated: list[tuple[int, int]] = []
    for piece in pieces:
        if abs(piece.rate_hz / longest.rate_hz - 1) <= MAX_DRIFT:
            made.append(piece)
            continue
        interpolated.append((piece.start_sample, piece.end_sample))
        if made and abs(piece.start_time_s - made[-1].end_time_s) * longest.rate_hz < _JUMP_SAMPLES:
            made[-1] = replace(made[-1], end_sample=piece.end_sample)
        else:
            made.append(replace(piece, rate_hz=longest.rate_hz))
    return made, interpolated


def _first_packet(timestamps: ArrayLike, piece: ClockPiece, uncertainty_s: float) -> Iterator[ClockPiece]:
    """The first piece; if samples are missing within or after the first packet, that is a piece of its own.

    A packet that began before the recording has a timestamp that is earlier than its first sample here.
    """
    times = np.asarray(timestamps[:FIRST_TIMESTAMPS], dtype=np.float64)  # type: ignore[index]
    end = int(np.argmax(times != times[0]))
    early_s = piece.start_time_s - float(times[0])
    slack_s = _PACKET_JUMP_SAMPLES / piece.rate_hz
    if abs(early_s) <= uncertainty_s + slack_s or not 0 < end < piece.end_sample:
        yield piece
        return
    yield ClockPiece(0, end, float(times[0]), piece.rate_hz)
    yield replace(piece, start_sample=end, start_time_s=piece.start_time_s + end / piece.rate_hz)


def _resolution_s(times: np.ndarray, dtype: np.dtype) -> float:
    """The distance of the largest timestamp from the next number of the type in which it was written."""
    largest = np.abs(times).max()
    return float(np.spacing(dtype.type(largest) if dtype.kind == "f" else largest))


def _each(timestamps: ArrayLike) -> Pairs:
    """Samples and timestamps, in chunks."""
    for position, times in chunks(timestamps):
        if not np.isfinite(times).all():
            at = position + int(np.flatnonzero(~np.isfinite(times))[0])
            raise BrokenClockError(f"the timestamp of sample {at} is no number")
        yield np.arange(position, position + len(times)), times


def _packets(timestamps: ArrayLike) -> Pairs:
    """The samples whose timestamp is not that of the sample before, and their timestamps, in chunks.

    Without the first packet, which may have begun before the recording.

    Raises
    ------
    BrokenClockError
        At the end, when one packet is far longer than the others: timestamps stood still there.
    """
    before: float | None = None
    begin, packets, longest = 0, 1, (0, 0)
    for samples, times in _each(timestamps):
        new = np.diff(times, prepend=times[0] if before is None else before) != 0
        before = float(times[-1])
        if new.any():
            begins = samples[new]
            lengths = np.diff(begins, prepend=begin)
            at = int(np.argmax(lengths))
            longest = max(longest, (int(lengths[at]), int(begins[at]) - int(lengths[at])))
            begin, packets = int(begins[-1]), packets + len(begins)
            yield begins, times[new]
    num_samples = len(timestamps)  # type: ignore[arg-type]
    length, at = max(longest, (num_samples - begin, begin))
    if length > max(_STANDS_STILL_SAMPLES, _STANDS_STILL * num_samples / packets):
        raise BrokenClockError(f"{length} samples from sample {at} on have the same timestamp")
