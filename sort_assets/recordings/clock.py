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

START_AND_RATE = "start and rate"
"""Source of a clock of which nothing else is known."""
CHUNK_SAMPLES = 1_000_000
"""How many numbers or timestamps are read at a time."""
MAX_PIECES = 10_000
"""A file with more jumps has no clock that could be followed."""
ANNOTATION = "clocks"
"""Annotation of a recording: the clock of each of its segments."""
_MOST_RESTARTS = 2
"""A clock that is back at its beginning more often counts trials."""
_RESTART = 0.1
"""Share of a recording that is not left out because the clock says that its time was there before."""
SMALLEST_OVERLAP = 30
"""Steps back of fewer samples are jitter, or a number that came twice: they leave no sample out."""


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
        What says so: "sample numbers", "timestamps", "timestamps of packets", or "start and rate".
    nominal_is_stated : bool
        Whether the file states a rate; NWB has none beside timestamps.
    uncertainty_s : float
        By how much times may be wrong, in seconds: the smallest lasting jump that was told from jitter, or a larger
        one whose place the jitter hides; or the duration of a packet whose samples have one timestamp. 0 where each
        sample has its own.
    corrupt : tuple of (int, int)
        Half-open ranges of samples that had a corrupt number or timestamp, which was not used.
    """

    pieces: tuple[ClockPiece, ...]
    nominal_hz: float
    source: str
    nominal_is_stated: bool = True
    uncertainty_s: float = 0.0
    corrupt: tuple[tuple[int, int], ...] = ()

    @property
    def corrupt_samples(self) -> int:
        """How many samples had a corrupt number or timestamp."""
        return sum(end - start for start, end in self.corrupt)

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
        rate_hz = self.rate_hz
        for before, after in pairwise(self.pieces):
            missing = missing_between(before, after, rate_hz)
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

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader of the times should know, for people; usually nothing."""
        found = []
        by_s = f"{1e3 * self.uncertainty_s:.3g} ms"
        if self.uncertainty_s * self.nominal_hz > 1:
            found.append(
                f"All times may be wrong by up to {by_s}: the file does not give each sample its own."
                if self.source == "timestamps of packets"
                else f"The timestamps jitter: times may be wrong by up to {by_s}, as by a gap that was not noticed."
            )
        if self.corrupt_samples:
            found.append(f"{self.corrupt_samples} corrupt times of samples were not used.")
        return tuple(found)

    def cut(self, start_sample: int, end_sample: int) -> Clock:
        """The clock of a part of the recording, in samples of the part."""
        pieces = []
        for piece in self.pieces:
            start, end = max(piece.start_sample, start_sample), min(piece.end_sample, end_sample)
            if start < end:
                time_s = piece.start_time_s + (start - piece.start_sample) / piece.rate_hz
                moved = replace(piece, start_sample=start - start_sample, end_sample=end - start_sample)
                pieces.append(replace(moved, start_time_s=time_s))
        corrupt = ((max(start, start_sample), min(end, end_sample)) for start, end in self.corrupt)
        inside = tuple((start - start_sample, end - start_sample) for start, end in corrupt if start < end)
        return replace(self, pieces=tuple(pieces), corrupt=inside)

    @property
    def is_ascending(self) -> bool:
        """Whether no sample comes before an earlier one, as in one file, or in the parts of one session."""
        tolerance_s = SMALLEST_OVERLAP / self.nominal_hz
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

    def without_overlaps(self, *, are_same: bool = False) -> list[tuple[int, int]]:
        """Which samples are left when each moment is taken once, as half-open ranges.

        Samples of a time that was there before are left out, and what comes before the clock steps back to before its
        beginning, or after: it is of another run. Where that is more than a tenth of the recording, the clock started
        again, and all samples are left.

        Parameters
        ----------
        are_same : bool
            Whether samples of a time that was there before are known to be the same, such as those of trigger files.
        """
        tolerance_s = SMALLEST_OVERLAP / self.nominal_hz
        most = self.num_samples if are_same else _RESTART * self.num_samples
        first_s = self.pieces[0].start_time_s
        if not are_same and sum(piece.start_time_s <= first_s + tolerance_s for piece in self.pieces) > _MOST_RESTARTS:
            return [(0, self.num_samples)]
        kept: list[tuple[int, int]] = []
        begins_s, ends_s = self.pieces[0].start_time_s, self.pieces[0].start_time_s
        for piece in self.pieces:
            start = piece.start_sample
            left = sum(end - first for first, end in kept)
            steps_back = piece.start_time_s < ends_s - tolerance_s
            if kept and steps_back and piece.start_time_s <= begins_s + 0.5 / self.nominal_hz:
                if min(left, self.num_samples - start) > most:
                    begins_s = piece.start_time_s
                elif left > self.num_samples - start:
                    continue
                else:
                    kept, begins_s = [], piece.start_time_s
            elif steps_back:
                overlap = math.ceil((ends_s - piece.start_time_s) * piece.rate_hz - 0.5)
                if min(overlap, piece.end_sample - start) > most:
                    begins_s = piece.start_time_s
                else:
                    start += overlap
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
        corrupt = tuple((round(start * ratio), round(end * ratio)) for start, end in self.corrupt)
        return replace(self, pieces=pieces, nominal_hz=self.nominal_hz * ratio, corrupt=corrupt)

    def to_dict(self) -> dict[str, Any]:
        """A representation for JSON; `from_dict` restores it."""
        values = {**asdict(self), "pieces": [asdict(piece) for piece in self.pieces]}
        corrupt = values.pop("corrupt")
        # As it was before their places were known, where there are none: data versions are made of it.
        return {**values, "corrupt_samples": self.corrupt_samples, **({"corrupt": list(corrupt)} if corrupt else {})}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Clock:
        """The clock that `to_dict` described."""
        count = values.get("corrupt_samples", 0)
        corrupt = values.get("corrupt") or ([(0, count)] if count else [])
        known = {name: value for name, value in values.items() if name != "corrupt_samples"}
        pieces = tuple(ClockPiece(**piece) for piece in values["pieces"])
        return cls(**{**known, "pieces": pieces, "corrupt": tuple((start, end) for start, end in corrupt)})


def missing_between(before: ClockPiece, after: ClockPiece, rate_hz: float) -> int:
    """How many samples are missing between two pieces."""
    return round((after.start_time_s - before.end_time_s) * rate_hz)


class BrokenClockError(ValueError):
    """Numbers or timestamps that make no clock: not finite, standing still, or jumping all the time."""


def clock_from_start(num_samples: int, rate_hz: float, start_time_s: float = 0.0) -> Clock:
    """The clock of a file that states its start and its rate, and nothing else."""
    return Clock((ClockPiece(0, num_samples, start_time_s, rate_hz),), rate_hz, START_AND_RATE)


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
    corrupt: list[tuple[int, int]] = []
    for clock in clocks:
        offset = pieces[-1].end_sample if pieces else 0
        corrupt += [(start + offset, end + offset) for start, end in clock.corrupt]
        pieces += [
            replace(piece, start_sample=piece.start_sample + offset, end_sample=piece.end_sample + offset)
            for piece in clock.pieces
        ]
    return replace(
        clocks[0],
        pieces=tuple(pieces),
        nominal_is_stated=all(clock.nominal_is_stated for clock in clocks),
        uncertainty_s=max(clock.uncertainty_s for clock in clocks),
        corrupt=tuple(corrupt),
    )


def chunks(values: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Position and content of each chunk of numbers or timestamps: integers as int64, others as float64."""
    per_row = values.shape[1] if values.ndim == 2 else 1
    rows = max(1, CHUNK_SAMPLES // per_row)
    for start in range(0, len(values), rows):
        chunk = np.ravel(values[start : start + rows])
        yield start * per_row, chunk.astype(np.int64 if chunk.dtype.kind in "iu" else np.float64, copy=False)
