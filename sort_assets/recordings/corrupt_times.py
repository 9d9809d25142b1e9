"""Corrupt numbers and timestamps: a few samples after which the clock goes on as if they had been right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from sort_assets.recordings.clock import SMALLEST_OVERLAP, Clock, ClockPiece, missing_between

_MOST_CORRUPT = 30_000
"""As many samples whose numbers or timestamps are corrupt, one after the other, are mended."""
_SOLID_SAMPLES = 16
"""As many consecutive samples are no chance, where single ones are corrupt."""
_SMALL_JUMPS = range(1 - SMALLEST_OVERLAP, SMALLEST_OVERLAP)


def mended(clock: Clock) -> Clock:
    """The clock without what is corrupt: samples after which the count goes on as if they had been right.

    They are taken to follow the sample before. What is lost or there twice does not come back exactly; a few samples
    may, and are left as they are unless they come back at once.
    """
    kept: list[ClockPiece] = []
    corrupt, solid = list[tuple[int, int]](), list[int]()  # solid: indices of pieces that are no single corrupt samples
    for piece in clock.pieces:
        before = _followed(kept, solid, piece, clock.nominal_hz)
        if before is not None:
            first = kept[before].end_sample
            corrupt.append((first, piece.start_sample))
            del kept[before + 1 :]
            solid = [index for index in solid if index <= before]
            kept[-1] = replace(kept[-1], end_sample=piece.start_sample)
        if (
            before is not None
            and kept[-1].rate_hz == piece.rate_hz
            and not missing_between(kept[-1], piece, clock.nominal_hz)
        ):
            kept[-1] = replace(kept[-1], end_sample=piece.end_sample)
        else:
            kept.append(piece)
        if kept[-1].end_sample - kept[-1].start_sample >= _SOLID_SAMPLES and solid[-1:] != [len(kept) - 1]:
            solid.append(len(kept) - 1)
    pieces, more = _without_crumbs(kept, clock.nominal_hz)
    return replace(clock, pieces=tuple(pieces), corrupt=_united([*clock.corrupt, *corrupt, *more]))


def _united(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Half-open ranges in order, each sample in one of them at most."""
    made: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if made and start <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], end)
        else:
            made.append((start, end))
    return tuple(made)


def _without_crumbs(pieces: Sequence[ClockPiece], nominal_hz: float) -> tuple[list[ClockPiece], list[tuple[int, int]]]:
    """The pieces without several short ones in a row, which are no stretches between gaps; and where these were.

    Such as numbers that stand still until the end, or timestamps that were interpolated over a loss.
    """
    made: list[ClockPiece] = []
    corrupt: list[tuple[int, int]] = []
    for is_short, group in groupby(pieces, lambda piece: _length(piece) < _SOLID_SAMPLES):
        run = list(group)
        if not is_short or len(run) < 2 or len(run) == len(pieces) or not _jumps_within(run, nominal_hz):
            made += run
            continue
        first, end = run[0].start_sample, run[-1].end_sample
        corrupt.append((first, end))
        if made:
            made[-1] = replace(made[-1], end_sample=end)
        else:
            after = pieces[len(run)]
            made.append(replace(after, start_sample=first, end_sample=end, start_time_s=_time_before(after, first)))
    return _without_needless_borders(made, nominal_hz), corrupt


def _length(piece: ClockPiece) -> int:
    return piece.end_sample - piece.start_sample


def _jumps_within(run: Sequence[ClockPiece], nominal_hz: float) -> bool:
    return any(missing_between(before, after, nominal_hz) for before, after in pairwise(run))


def _time_before(piece: ClockPiece, sample: int) -> float:
    return piece.start_time_s - (piece.start_sample - sample) / piece.rate_hz


def _without_needless_borders(pieces: Sequence[ClockPiece], nominal_hz: float) -> list[ClockPiece]:
    """The pieces, of which those that follow each other at one rate are one."""
    made = [pieces[0]]
    for piece in pieces[1:]:
        if made[-1].rate_hz == piece.rate_hz and not missing_between(made[-1], piece, nominal_hz):
            made[-1] = replace(made[-1], end_sample=piece.end_sample)
        else:
            made.append(piece)
    return made


def _followed(kept: Sequence[ClockPiece], solid: Sequence[int], piece: ClockPiece, nominal_hz: float) -> int | None:
    """Index of the earlier piece whose line a piece goes on, so that those between are corrupt."""
    last = len(kept) - 2
    for index in sorted({*range(max(0, last - _SOLID_SAMPLES), last + 1), *(one for one in solid if one <= last)})[
        ::-1
    ]:
        before, after = kept[index], kept[index + 1]
        between = piece.start_sample - after.start_sample
        if between > _MOST_CORRUPT:
            return None
        due_s = before.start_time_s + (piece.start_sample - before.start_sample) / before.rate_hz
        is_small = missing_between(before, after, nominal_hz) in _SMALL_JUMPS and bool(solid) and solid[-1] > index
        if not is_small and abs(piece.start_time_s - due_s) * nominal_hz < 0.5:
            return int(index)
    return None
