"""The clock that numbers of samples make at the nominal rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sort_assets.recordings.clock import MAX_PIECES, BrokenClockError, Clock, ClockPiece, chunks
from sort_assets.recordings.corrupt_times import mended
from sort_assets.recordings.step_range import step_range

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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
    for position, chunk in chunks(values):
        if before is None:
            firsts[0] = int(chunk[0])
        lowest, highest = step_range(chunk, before)
        if lowest >= 1 >= highest:
            before = int(chunk[-1])
            continue
        steps = np.diff(chunk, prepend=chunk[0] - 1 if before is None else before)
        for at in np.flatnonzero(steps != 1).tolist():
            step = int(steps[at])
            if abs(step) > wrap // 2 > 0:
                turn = -wrap if step > 0 else wrap
                offset += turn
                if step + turn == 1:
                    continue
            starts.append(position + at)
            firsts.append(int(chunk[at]) + offset)
            _refuse_too_many(starts)
        before = int(chunk[-1])
    ends = [*starts[1:], values.size]
    pieces = (
        ClockPiece(start, end, first / rate_hz, rate_hz) for start, end, first in zip(starts, ends, firsts, strict=True)
    )
    return mended(Clock(tuple(pieces), rate_hz, "sample numbers"))


def _refuse_too_many(starts: list[int]) -> None:
    if len(starts) > MAX_PIECES:
        raise BrokenClockError(f"the clock jumps more than {MAX_PIECES} times in the first {starts[-1]} samples")
