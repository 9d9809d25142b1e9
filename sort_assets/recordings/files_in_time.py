"""The files of a concatenation in time: which are of one session, and what is doubtful about their order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sort_assets.recordings.clock import Clock

if TYPE_CHECKING:
    from spikeinterface.core import BaseRecording

    from sort_assets.recordings.opening import Boundary

SEGMENT = "/segment_"
"""What stands between the name of a file and the number of its segment."""
_COMPARED_SAMPLES = 1000
_LEAST_COMPARED_SAMPLES = 100
"""Noise of as many samples is never the same twice."""
_SAME_START_SAMPLES = 0.5
"""Files that begin at the same sample, such as 0, are each on a clock of their own."""


def file_of_part(name: str) -> str:
    """The file, or session, of which a piece is the whole or a part."""
    return name.partition(SEGMENT)[0]


def seconds_into_file(pieces: Sequence[Boundary], sample: int, rate_hz: float) -> float | None:
    """How far into its file a sample is, in seconds; None where that is the first file.

    Parameters
    ----------
    pieces : sequence of Boundary
        All files and segments of the recording, in order.
    sample : int
    rate_hz : float
    """
    piece = next(one for one in reversed(pieces) if one.start_sample <= sample)
    first = next(one for one in pieces if file_of_part(one.name) == file_of_part(piece.name))
    if first is pieces[0]:
        return None
    return max(piece.start_time_s - first.start_time_s, 0.0) + (sample - piece.start_sample) / rate_hz


def sessions(recording: BaseRecording, clock: Clock, pieces: Sequence[Boundary]) -> list[tuple[int, int]]:
    """Ranges of samples, in each of which a moment can be there twice.

    Two that follow each other are of one session if the samples of the time that both hold are the same. By their
    clocks alone, a recording with segments that each begin at 0 would lose all but one of them.

    Parameters
    ----------
    recording : BaseRecording
        Single segment.
    clock : Clock
        Of the recording.
    pieces : sequence of Boundary
        Its files and segments, in order.

    Returns
    -------
    list of (int, int)
        Half-open, in order, without a sample between them.
    """
    found = [(0, pieces[0].end_sample)]
    for before, piece in pairwise(pieces):
        start, end = found[-1]
        if _holds_the_same(recording, clock, (before.start_sample, end), piece):
            found[-1] = start, piece.end_sample
        else:
            found.append((piece.start_sample, piece.end_sample))
    return found


def doubts_about_order(
    recording: BaseRecording, clock: Clock, pieces: Sequence[Boundary], part: tuple[int, int] | None = None
) -> list[str]:
    """A sentence where files neither follow each other in time, nor each have a clock of their own, or are copies.

    Parameters
    ----------
    recording : BaseRecording
        Single segment.
    clock : Clock
        Of the recording, in which each moment of a session is there once.
    pieces : sequence of Boundary
        Its files and segments, in order.
    part : tuple of (int, int) or None
        The samples that matter, half-open; None is all.
    """
    first, last = part or (0, clock.num_samples)
    kept = [(one, max(one.start_sample, first), min(one.end_sample, last)) for one in pieces]
    kept = [(one, start, end) for one, start, end in kept if start < end]
    copies = [
        f"'{piece.name}' begins with the same samples as '{before.name}' before it: is it a copy? Its spikes are there "
        "twice."
        for (before, start, _), (piece, _, end) in pairwise(kept)
        if start - before.start_sample < end - piece.start_sample
        and _are_same(recording, before.start_sample, piece.start_sample, min(_length(before), _length(piece)))
    ]
    if not kept or clock.cut(first, last).is_ascending:
        return copies
    if copies:
        return [*copies, "Loaded as a whole, times are counted from the first sample of the first file instead."]
    begin_s = clock.times_s([one.start_sample for one, _, _ in kept])
    if (np.abs(begin_s - begin_s[0]) * clock.nominal_hz < _SAME_START_SAMPLES).all():
        return []
    times_s = [(one, *clock.times_s([start, end - 1]).tolist()) for one, start, end in kept]
    for (before, _, ended_s), (piece, begins_s, _) in pairwise(times_s):
        if begins_s < ended_s:
            return [
                f"'{piece.name}' begins at {begins_s:.3f} s, and '{before.name}' before it ends at {ended_s:.3f} s. If "
                "both are on one clock, their names are not in the order of time, or a part is there twice. Loaded "
                "as a whole, times of spikes are counted from the first sample of the first file instead."
            ]
    return []


def _length(piece: Boundary) -> int:
    return piece.end_sample - piece.start_sample


def _holds_the_same(recording: BaseRecording, clock: Clock, before: tuple[int, int], piece: Boundary) -> bool:
    """Whether a file begins within the one before, by its clock, with the samples that are there."""
    begins_s, ended_s, next_s = clock.times_s([before[0], before[1] - 1, piece.start_sample]).tolist()
    if not begins_s + _SAME_START_SAMPLES / clock.nominal_hz <= next_s <= ended_s:
        return False
    at = before[0] + int(clock.cut(*before).samples(next_s))
    length = min(before[1] - at, _length(piece))
    return _are_same(recording, at, piece.start_sample, length)


def _are_same(recording: BaseRecording, one: int, other: int, length: int) -> bool:
    """Whether the samples from two places on are the same, and not constant."""
    if length < _LEAST_COMPARED_SAMPLES:
        return False
    length = min(length, _COMPARED_SAMPLES)
    first = recording.get_traces(start_frame=one, end_frame=one + length)
    second = recording.get_traces(start_frame=other, end_frame=other + length)
    return bool(np.array_equal(first, second) and np.ptp(first, axis=0).any())
