"""The clock of a recording: the time of each sample, as the file states it.

A file says what time it is in numbers of samples, in timestamps, or only by a start and a rate. All of them become
pieces of consecutive samples, each with its start and its true rate: a piecewise-linear clock. Where samples are
missing, repeated or out of order, one piece ends and another begins.

Numbers and timestamps are read in chunks, once, and need not fit into memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from spikeinterface.core import BaseRecording

CHUNK_SAMPLES = 1_000_000
"""How many numbers or timestamps are read at a time."""
MAX_PIECES = 10_000
"""A file with more jumps has no clock that could be followed."""
ANNOTATION = "clocks"
"""Annotation of a recording: the clock of each of its segments."""
_JUMP_SAMPLES = 0.5
"""Timestamps whose step differs from the usual one by more than this many samples have jumped."""
_ROUNDING = 1e-6
"""Relative difference from a whole number of samples per second that counts as rounding."""
_SMALLEST_OVERLAP = 30
"""Steps back of fewer samples are jitter, or a number that came twice: they leave no sample out."""
_FIT_EVERY = 1024
"""Timestamps between which the slope of the clock is followed."""
_FIT_SAMPLES = 0.25
"""How far the line through a piece may lie from its timestamps."""


@dataclass(frozen=True)
class ClockPiece:
    """Consecutive samples at a constant rate.

    Attributes
    ----------
    start_sample, end_sample : int
        Half-open range in samples of the recording.
    start_time_s : float
        Time of the first sample, in seconds on the file's own clock.
    rate_hz : float
        Samples per second of that clock.
    filled : bool
        Whether nothing was recorded then, and zeros stand for it.
    """

    start_sample: int
    end_sample: int
    start_time_s: float
    rate_hz: float
    filled: bool = False

    @property
    def end_time_s(self) -> float:
        """Time at which the sample after the last one is due."""
        return self.start_time_s + (self.end_sample - self.start_sample) / self.rate_hz


@dataclass(frozen=True)
class ClockJump:
    """Where the next sample is not the one that was due.

    Attributes
    ----------
    sample : int
        The first one after the jump.
    samples : int
        How many are missing; negative where the clock stepped back, so that as many were there already.
    """

    sample: int
    samples: int


@dataclass(frozen=True)
class Clock:
    """The time of each sample of a recording.

    Attributes
    ----------
    pieces : tuple of ClockPiece
        In order, without a sample between them.
    nominal_hz : float
        The rate that the file states; the usual one where it states none.
    source : str
        What says so: "sample numbers", "timestamps", or "start and rate".
    nominal_is_stated : bool
        Whether the file states a rate; NWB has none beside timestamps.
    """

    pieces: tuple[ClockPiece, ...]
    nominal_hz: float
    source: str
    nominal_is_stated: bool = True

    def times_s(self, samples: ArrayLike) -> np.ndarray:
        """Times of samples in seconds, of their shape; those outside the recording go on with the nearest piece."""
        wanted = np.asarray(samples)
        starts = np.array([piece.start_sample for piece in self.pieces])
        index = np.clip(np.searchsorted(starts, wanted, side="right") - 1, 0, None)
        times = np.array([piece.start_time_s for piece in self.pieces])
        rates = np.array([piece.rate_hz for piece in self.pieces])
        return np.asarray(times[index] + (wanted - starts[index]) / rates[index])

    def samples(self, times_s: ArrayLike) -> np.ndarray:
        """The samples nearest to times on an ascending clock, of their shape; int64."""
        wanted = np.asarray(times_s, dtype=float)
        starts = np.array([piece.start_time_s for piece in self.pieces])
        index = np.clip(np.searchsorted(starts, wanted + 0.5 / self.nominal_hz, side="right") - 1, 0, None)
        first = np.array([piece.start_sample for piece in self.pieces])
        rates = np.array([piece.rate_hz for piece in self.pieces])
        lengths = np.array([piece.end_sample - piece.start_sample for piece in self.pieces])
        inside = np.rint((wanted - starts[index]) * rates[index]).astype(np.int64)
        return np.asarray(first[index] + np.clip(inside, 0, lengths[index] - 1))

    @property
    def jumps(self) -> tuple[ClockJump, ...]:
        """Between pieces that do not follow each other. Where only the rate changes, there is none."""
        found = []
        for before, after in pairwise(self.pieces):
            missing = round((after.start_time_s - before.end_time_s) * self.nominal_hz)
            if missing:
                found.append(ClockJump(after.start_sample, missing))
        return tuple(found)

    @property
    def joins(self) -> tuple[int, ...]:
        """Samples that do not go on from the one before: after a gap or a step back, and where zeros begin or end."""
        found = {jump.sample for jump in self.jumps}
        found |= {sample for piece in self.pieces if piece.filled for sample in (piece.start_sample, piece.end_sample)}
        return tuple(sorted(found - {0, self.num_samples}))

    @property
    def recorded(self) -> tuple[ClockPiece, ...]:
        """The pieces without those that stand for a gap."""
        return tuple(piece for piece in self.pieces if not piece.filled)

    @property
    def rate_hz(self) -> float:
        """The true rate, over all pieces."""
        samples = sum(piece.end_sample - piece.start_sample for piece in self.recorded)
        return samples / sum((piece.end_sample - piece.start_sample) / piece.rate_hz for piece in self.recorded)

    @property
    def ppm(self) -> float:
        """How much faster than stated the samples come, in parts per million."""
        return (self.rate_hz / self.nominal_hz - 1) * 1e6

    @property
    def against_nominal(self) -> str:
        """How the true rate compares to the stated one, for people."""
        if not self.nominal_is_stated:
            return "the file states no nominal rate"
        return f"{self.ppm:+.2f} ppm from the nominal {self.nominal_hz:g} Hz"

    def cut(self, start_sample: int, end_sample: int) -> Clock:
        """The clock of a part of the recording, in samples of the part."""
        pieces = []
        for piece in self.pieces:
            start, end = max(piece.start_sample, start_sample), min(piece.end_sample, end_sample)
            if start < end:
                time_s = piece.start_time_s + (start - piece.start_sample) / piece.rate_hz
                moved = replace(piece, start_sample=start - start_sample, end_sample=end - start_sample)
                pieces.append(replace(moved, start_time_s=time_s))
        return replace(self, pieces=tuple(pieces))

    @property
    def is_ascending(self) -> bool:
        """Whether no sample comes before an earlier one, as in one file, or in the parts of one session."""
        tolerance_s = _SMALLEST_OVERLAP / self.nominal_hz
        return all(after.start_time_s >= before.end_time_s - tolerance_s for before, after in pairwise(self.pieces))

    def timeline(self) -> Clock:
        """Times that ascend over the whole recording: its own; where files do not follow each other, from 0."""
        return self if self.is_ascending else clock_from_start(self.num_samples, self.nominal_hz)

    @property
    def is_plain(self) -> bool:
        """Whether start and nominal rate say all."""
        return len(self.pieces) == 1 and self.pieces[0].rate_hz == self.nominal_hz

    def intervals_s(self) -> np.ndarray:
        """Start and end of each stretch without a gap, shape (stretches, 2); a gap filled with zeros is one."""
        joins = {0, *self.joins, self.num_samples}
        first = [piece for piece in self.recorded if piece.start_sample in joins]
        last = [piece for piece in self.recorded if piece.end_sample in joins]
        return np.array([[one.start_time_s, other.end_time_s] for one, other in zip(first, last, strict=True)])

    @property
    def start_time_s(self) -> float:
        """Time of the first sample."""
        return self.pieces[0].start_time_s

    @property
    def num_samples(self) -> int:
        """Length of the recording."""
        return self.pieces[-1].end_sample

    def extended(self, num_samples: int) -> Clock:
        """The clock of as many samples, of which those at the end go on at the rate of the last piece."""
        return replace(self, pieces=(*self.pieces[:-1], replace(self.pieces[-1], end_sample=num_samples)))

    def without_overlaps(self) -> list[tuple[int, int]]:
        """Which samples are left when each moment is taken once, as half-open ranges.

        Samples of a time that was there before are left out. Where the clock steps back to before its beginning, what
        came first is of an earlier run, if it is the shorter part: then that is left out.
        """
        tolerance_s = _SMALLEST_OVERLAP / self.nominal_hz
        kept: list[tuple[int, int]] = []
        begins_s, ends_s = self.pieces[0].start_time_s, self.pieces[0].start_time_s
        for piece in self.pieces:
            start = piece.start_sample
            if piece.start_time_s < begins_s - tolerance_s:
                before = sum(end - first for first, end in kept)
                if before > self.num_samples - start:
                    continue
                kept, begins_s = [], piece.start_time_s
            elif piece.start_time_s < ends_s - tolerance_s:
                start += math.ceil((ends_s - piece.start_time_s) * piece.rate_hz - 0.5)
            if start < piece.end_sample:
                if kept and kept[-1][1] == start:
                    kept[-1] = kept[-1][0], piece.end_sample
                else:
                    kept.append((start, piece.end_sample))
                ends_s = piece.end_time_s
        return kept

    def resampled(self, num_samples: int) -> Clock:
        """The clock of the same recording with another number of samples."""
        ratio = num_samples / self.num_samples
        pieces = tuple(
            replace(
                piece,
                start_sample=round(piece.start_sample * ratio),
                end_sample=round(piece.end_sample * ratio),
                rate_hz=piece.rate_hz * ratio,
            )
            for piece in self.pieces
        )
        return replace(self, pieces=pieces, nominal_hz=self.nominal_hz * ratio)

    def to_dict(self) -> dict[str, Any]:
        """A representation for JSON; `from_dict` restores it."""
        return {**asdict(self), "pieces": [asdict(piece) for piece in self.pieces]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Clock:
        """The clock that `to_dict` described."""
        return cls(**{**values, "pieces": tuple(ClockPiece(**piece) for piece in values["pieces"])})


class BrokenClockError(ValueError):
    """Numbers or timestamps that make no clock: not finite, standing still, or jumping all the time."""


def clock_from_start(num_samples: int, rate_hz: float, start_time_s: float = 0.0) -> Clock:
    """The clock of a file that states its start and its rate, and nothing else."""
    return Clock((ClockPiece(0, num_samples, start_time_s, rate_hz),), rate_hz, "start and rate")


def annotate_clocks(recording: BaseRecording, clocks: Sequence[Clock]) -> None:
    """Annotate a recording with the clock of each of its segments, in a form that JSON can hold."""
    recording.annotate(**{ANNOTATION: [clock.to_dict() for clock in clocks]})


def recording_clocks(recording: BaseRecording) -> list[Clock]:
    """The clock of each segment: as annotated, else by its start and the recording's rate."""
    annotated = recording.get_annotation(ANNOTATION)
    if annotated is not None:
        return [Clock.from_dict(values) for values in annotated]
    rate_hz = float(recording.sampling_frequency)
    return [
        clock_from_start(int(recording.get_num_samples(index)), rate_hz, float(recording.get_start_time(index)))
        for index in range(recording.get_num_segments())
    ]


def recording_clock(recording: BaseRecording) -> Clock:
    """The clock of a recording with a single segment."""
    (clock,) = recording_clocks(recording)
    return clock


def join_clocks(clocks: Sequence[Clock]) -> Clock:
    """The clock of recordings that are concatenated; each piece keeps its own times."""
    pieces: list[ClockPiece] = []
    for clock in clocks:
        offset = pieces[-1].end_sample if pieces else 0
        pieces += [
            replace(piece, start_sample=piece.start_sample + offset, end_sample=piece.end_sample + offset)
            for piece in clock.pieces
        ]
    return replace(clocks[0], pieces=tuple(pieces), nominal_is_stated=all(one.nominal_is_stated for one in clocks))


def clock_from_numbers(numbers: ArrayLike, rate_hz: float) -> Clock:
    """The clock that the numbers of samples make at a rate.

    Parameters
    ----------
    numbers : array_like
        One integer per sample, of shape (samples,) or (blocks, samples in a block); may be memory-mapped or an HDF5
        data set. Counters of 32 bits may wrap.
    rate_hz : float
        Samples per second.

    Raises
    ------
    BrokenClockError
        When they jump more than `MAX_PIECES` times.
    """
    values: Any = numbers if hasattr(numbers, "dtype") else np.asanyarray(numbers)
    wrap = 2 ** (8 * values.dtype.itemsize) if values.dtype.itemsize <= 4 else 0
    starts, firsts = [0], [0]
    offset = 0
    before: int | None = None
    for position, chunk in _chunks(values):
        steps = np.diff(chunk, prepend=chunk[0] - 1 if before is None else before)
        if before is None:
            firsts[0] = int(chunk[0])
        for at in np.flatnonzero(steps != 1).tolist():
            step = int(steps[at])
            if wrap and step == 1 - wrap:
                offset += wrap
                continue
            starts.append(position + at)
            firsts.append(int(chunk[at]) + offset)
            _refuse_too_many(starts)
        before = int(chunk[-1])
    ends = [*starts[1:], values.size]
    pieces = (
        ClockPiece(start, end, first / rate_hz, rate_hz) for start, end, first in zip(starts, ends, firsts, strict=True)
    )
    return Clock(tuple(pieces), rate_hz, "sample numbers")


def clock_from_timestamps(timestamps: ArrayLike, nominal_hz: float) -> Clock:
    """The clock that timestamps make.

    The rate of each piece is that of its whole span: single differences can't resolve it where the numbers are large,
    such as seconds since 1970 in float64 (steps of 0.24 microseconds).

    Parameters
    ----------
    timestamps : array_like
        Of each sample, in seconds, of shape (samples,); may be memory-mapped or an HDF5 data set.
    nominal_hz : float
        Samples per second, to within some hundred parts per million.

    Raises
    ------
    BrokenClockError
        When timestamps are not finite, or jump more than `MAX_PIECES` times.
    """
    period_s = 1 / nominal_hz
    starts: list[int] = [0]
    knots: list[tuple[int, float]] = []
    before: float | None = None
    size = 0
    for position, chunk in _chunks(timestamps):
        if not np.isfinite(chunk).all():
            at = position + int(np.flatnonzero(~np.isfinite(chunk))[0])
            raise BrokenClockError(f"the timestamp of sample {at} is no number")
        steps = np.diff(chunk, prepend=chunk[0] - period_s if before is None else before)
        resolution_s = 2 * float(np.spacing(np.abs(chunk).max()))
        jumped = np.flatnonzero(np.abs(steps - period_s) > _JUMP_SAMPLES * period_s + resolution_s).tolist()
        starts += [position + at for at in jumped]
        _refuse_too_many(starts)
        wanted = {*range(-position % _FIT_EVERY, len(chunk), _FIT_EVERY), *jumped, *(at - 1 for at in jumped if at)}
        if jumped and jumped[0] == 0 and before is not None:
            knots.append((position - 1, before))
        knots += [(position + at, float(chunk[at])) for at in sorted(wanted)]
        before, size = float(chunk[-1]), position + len(chunk)
    assert before is not None, "there are no timestamps"
    knots = sorted({*knots, (size - 1, before)})
    samples = np.array([sample for sample, _ in knots])
    times = np.array([time_s for _, time_s in knots])
    pieces: list[ClockPiece] = []
    for start, end in zip(starts, [*starts[1:], size], strict=True):
        inside = slice(np.searchsorted(samples, start), np.searchsorted(samples, end))
        pieces += _fit(samples[inside], times[inside], end, nominal_hz)
    return Clock(tuple(pieces), nominal_hz, "timestamps")


def usual_rate_hz(timestamps: Any) -> float:
    """The rate at which timestamps come, to some parts per million: over the longest stretch without a jump.

    Parameters
    ----------
    timestamps : array_like
        In seconds; the first million is read.
    """
    first = np.asarray(timestamps[:CHUNK_SAMPLES], dtype=np.float64)
    steps = np.diff(first)
    usual = np.nanmedian(steps)
    jumps = np.flatnonzero(~(np.abs(steps - usual) < _JUMP_SAMPLES * usual))
    ends = np.concatenate([[-1], jumps, [len(steps)]])
    longest = int(np.argmax(np.diff(ends)))
    start, end = int(ends[longest]) + 1, int(ends[longest + 1])
    rate_hz = float((end - start) / (first[end] - first[start])) if end > start else float(1 / usual)
    return float(round(rate_hz)) if abs(rate_hz - round(rate_hz)) < _ROUNDING * rate_hz else rate_hz


def _fit(samples: np.ndarray, times: np.ndarray, end: int, nominal_hz: float) -> Iterator[ClockPiece]:
    """Lines through timestamps without a jump: one, or as many as it takes to stay near them."""
    if len(samples) == 1:
        yield ClockPiece(int(samples[0]), end, float(times[0]), nominal_hz)
        return
    rate_hz = float((samples[-1] - samples[0]) / (times[-1] - times[0]))
    off = np.abs(times - times[0] - (samples - samples[0]) / rate_hz)
    worst = int(np.argmax(off))
    resolution_s = 2 * float(np.spacing(np.abs(times).max()))
    if len(samples) == 2 or off[worst] <= _FIT_SAMPLES / nominal_hz + resolution_s:
        yield ClockPiece(int(samples[0]), end, float(times[0]), rate_hz)
        return
    yield from _fit(samples[: worst + 1], times[: worst + 1], int(samples[worst]), nominal_hz)
    yield from _fit(samples[worst:], times[worst:], end, nominal_hz)


def _chunks(values: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Position and content of each chunk: integers as int64, others as float64."""
    per_row = values.shape[1] if values.ndim == 2 else 1
    rows = max(1, CHUNK_SAMPLES // per_row)
    for start in range(0, len(values), rows):
        chunk = np.ravel(values[start : start + rows])
        yield start * per_row, chunk.astype(np.int64 if chunk.dtype.kind in "iu" else np.float64)


def _refuse_too_many(starts: list[int]) -> None:
    if len(starts) > MAX_PIECES:
        raise BrokenClockError(f"the clock jumps more than {MAX_PIECES} times in the first {starts[-1]} samples")
