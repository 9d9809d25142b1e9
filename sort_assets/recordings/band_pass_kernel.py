"""The arithmetic of the band-pass, compiled by numba, on 16 channels side by side.

Each step of a recursive filter needs the one before, so that time can't be cut into parallel pieces; channels can.
Loops over arrays, which LLVM must vectorise by itself, were five times slower than the vectors of `channel_lanes`.
"""

from typing import Any

import numpy as np
from numba import njit

from sort_assets.machine.machine_code import kept
from sort_assets.recordings.band_pass_design import FEWEST_SAMPLES, SHIFT_TAPS
from sort_assets.recordings.channel_lanes import (
    LANES,
    absolute,
    larger,
    largest_of,
    load,
    rounded,
    same,
    size_of,
    smaller,
    smallest_of,
    store,
    sum_of,
    where_at_most,
)

PAD = FEWEST_SAMPLES
"""Samples by which both ends are continued."""
_ROW = 4 * LANES
"""Bytes of a sample of 16 channels in the work space."""
_MOST_HALVES = 400
"""More than there are halves between any two float32."""


@njit(nogil=True)
def _read(like: Any, source: int, source_row: int, rows: int, scale: Any, work: int) -> None:
    """Copy a block into the work space: from its first sample on, scaled, continued by `PAD` samples at both ends.

    The first sample is taken as zero, which the band-pass does not see: so an offset, however large, takes no bits
    of float32 away. Both ends are continued by rotating the signal about its end, as scipy does (`odd_ext`).
    """
    first = load(like, source)
    at = work + PAD * _ROW
    for row in range(rows):
        store(np.float32(0), at + row * _ROW, (load(like, source + row * source_row) - first) * scale)
    last = at + (rows - 1) * _ROW
    end = load(np.float32(0), last)
    for row in range(1, PAD + 1):
        store(np.float32(0), at - row * _ROW, same(np.float32(0)) - load(np.float32(0), at + row * _ROW))
        store(np.float32(0), last + row * _ROW, (end + end) - load(np.float32(0), last - row * _ROW))


@njit(nogil=True)
def _filter(at: int, rows: int, step: int, sections: Any) -> None:
    """Filter the work space in place in one direction, as if its first value had been there for ever."""
    step1, damping1, step2, damping2, step3, damping3, a1, a2, b1, b2 = sections
    step1, damping1 = same(step1), same(damping1)
    step2, damping2 = same(step2), same(damping2)
    step3, damping3 = same(step3), same(damping3)
    a1, a2, b1, b2 = same(a1), same(a2), same(b1), same(b2)
    low2 = low3 = band1 = band2 = band3 = delay1 = delay2 = delay3 = delay4 = same(np.float32(0))
    low1 = load(np.float32(0), at)
    for _ in range(rows):
        x = load(np.float32(0), at)
        # Two high-passes and a band-pass as state variable filters: `low` follows the slow potentials.
        x = (x - low1) - damping1 * band1
        band1 = band1 + step1 * x
        low1 = low1 + band1
        x = (x - low2) - damping2 * band2
        band2 = band2 + step2 * x
        low2 = low2 + band2
        x = (x - low3) - damping3 * band3
        before = band3
        band3 = band3 + step3 * x
        low3 = low3 + band3
        x = band3 + before
        # Two low-passes, in the transposed direct form II.
        y = x + delay1
        delay1 = ((x + x) - a1 * y) + delay2
        delay2 = x - a2 * y
        x = y + delay3
        delay3 = ((y + y) - b1 * x) + delay4
        delay4 = y - b2 * x
        store(np.float32(0), at, x)
        at += step


@njit(nogil=True)
def _shift(work: int, rows: int, taps: int, shifted: int) -> None:
    """Move each channel by its part of a sample: weighted sums of `SHIFT_TAPS` samples, half of them before its own."""
    for row in range(rows):
        at = work + (row - SHIFT_TAPS // 2) * _ROW
        value = same(np.float32(0))
        for tap in range(SHIFT_TAPS):
            value = value + load(np.float32(0), at + tap * _ROW) * load(np.float32(0), taps + tap * _ROW)
        store(np.float32(0), shifted + row * _ROW, value)


@njit(nogil=True)
def _write(like: Any, target: int, target_row: int, rows: int, count: Any, limit: Any, work: int, seen: int) -> None:
    """Write the work space as counts (or microvolts), and remember the largest value and whether all are finite."""
    peak, finite = load(np.float32(0), seen), load(np.float32(0), seen + _ROW)
    zero, largest, smallest = same(np.float32(0)), same(limit), same(-limit)
    count = same(count)
    for row in range(rows):
        value = load(np.float32(0), work + row * _ROW)
        peak = larger(peak, absolute(value))
        finite = finite + value * zero
        if limit > 0:
            value = larger(smaller(rounded(value / count), largest), smallest)
        store(like, target + row * target_row, value)
    store(np.float32(0), seen, peak)
    store(np.float32(0), seen + _ROW, finite)


@kept
@njit(nogil=True)
def filter_block(
    source_like: Any,
    source: int,
    source_row: int,
    rows: int,
    channels: int,
    scale: int,
    sections: Any,
    target_like: Any,
    target: int,
    target_row: int,
    skipped: int,
    written: int,
    count: Any,
    limit: Any,
    taps: int,
    work: int,
    seen: int,
) -> None:
    """Filter a block of all channels forward and backward, as one piece.

    Addresses are those of arrays whose samples of all channels stand together, rows a number of bytes apart; there are
    at least `LANES` channels.

    Parameters
    ----------
    source_like, target_like
        A number of the type of the samples: int16, uint16 or float32; and of the result: int16 or float32.
    source, source_row, rows, channels
        Address of the block with its margins, bytes of a row, how many rows and channels.
    scale
        Address of a float32 by channel: microvolts per count times the gain of `sections`.
    sections
        As `BandPassDesign.sections`.
    target, target_row, skipped, written
        Address of the result, bytes of a row; how many rows are left out before it, and how many it has.
    count, limit
        Microvolts per count of the result and its largest value; a limit of 0 leaves microvolts.
    taps
        Address of float32, of shape (groups of `LANES` channels, `SHIFT_TAPS`, `LANES`), which move each channel by a
        part of a sample; 0 where none is moved. The last group are the last `LANES` channels.
    work
        Address of the work space: twice `rows + 2 * PAD` times `LANES` float32.
    seen
        Address of two rows of `LANES` float32, in which the largest absolute value is kept up, and numbers that stay
        zero as long as all values are finite.
    """
    all_rows = rows + 2 * PAD
    source_size, target_size = size_of(source_like), size_of(target_like)
    for group in range((channels + LANES - 1) // LANES):
        # The last ones are filtered with some of those before, which become the same again.
        channel = min(group * LANES, channels - LANES)
        scaled_by = load(np.float32(0), scale + 4 * channel)
        _read(source_like, source + source_size * channel, source_row, rows, scaled_by, work)
        _filter(work, all_rows, _ROW, sections)
        _filter(work + (all_rows - 1) * _ROW, all_rows, -_ROW, sections)
        begin = work + (PAD + skipped) * _ROW
        if taps:
            shifted = work + all_rows * _ROW
            _shift(begin, written, taps + group * SHIFT_TAPS * _ROW, shifted)
            begin = shifted
        _write(target_like, target + target_size * channel, target_row, written, count, limit, begin, seen)


@kept
@njit(nogil=True)
def round_block(source: int, rows: int, target: int, count: Any, limit: Any, seen: int) -> None:
    """Round float32 values to int16 counts.

    Parameters
    ----------
    source, target
        Addresses of the float32 values and of the int16 counts.
    rows
        How many times `LANES` there are.
    count, limit, seen
        As for `filter_block`.
    """
    _write(np.int16(0), target, 2 * LANES, rows, count, limit, source, seen)


@njit(nogil=True)
def _median(row: int, channels: int, mask: int) -> Any:
    """The median over channels, as numpy gives it: between the smallest and the largest, halves are tried.

    A half that has as many values below as above it separates the two middle ones. Equal values in the middle can't be
    separated; then the limits meet.
    """
    full, last = (channels - 1) // LANES, row + 4 * (channels - LANES)
    of_last = load(np.float32(0), last) + load(np.float32(0), mask)
    # NaN stands in channels that another group has: it is neither smaller nor larger.
    smallest = where_at_most(of_last, of_last, of_last, same(np.float32(np.inf)))
    largest = where_at_most(of_last, of_last, of_last, same(np.float32(-np.inf)))
    for group in range(full):
        value = load(np.float32(0), row + group * _ROW)
        smallest, largest = smaller(smallest, value), larger(largest, value)
    low, high = smallest_of(smallest), largest_of(largest)
    wanted = np.float32((channels + 1) // 2)
    one, zero = same(np.float32(1)), same(np.float32(0))
    at = low
    for _ in range(_MOST_HALVES):
        limit = same(at)
        counts = where_at_most(of_last, limit, one, zero)
        for group in range(full):
            counts = counts + where_at_most(load(np.float32(0), row + group * _ROW), limit, one, zero)
        count = sum_of(counts)
        if count == wanted:
            break
        if count > wanted:
            high = at
        else:
            low = at
        middle = low + (high - low) * np.float32(0.5)
        if not low < middle < high:
            at = high
            break
        at = middle
    limit = same(at)
    below = where_at_most(of_last, limit, of_last, same(np.float32(-np.inf)))
    above = smaller(same(np.float32(np.inf)), where_at_most(of_last, limit, same(np.float32(np.inf)), of_last))
    counts = where_at_most(of_last, limit, one, zero)
    for group in range(full):
        value = load(np.float32(0), row + group * _ROW)
        below = larger(below, where_at_most(value, limit, value, below))
        above = smaller(above, where_at_most(value, limit, above, value))
        counts = counts + where_at_most(value, limit, one, zero)
    lower = largest_of(below)
    if channels % 2 == 1 or sum_of(counts) > wanted:
        return lower
    return (lower + smallest_of(above)) * np.float32(0.5)


@kept
@njit(nogil=True)
def subtract_median(rows: int, channels: int, source: int, mask: int) -> None:
    """Subtract the median over channels from each sample, in place.

    Parameters
    ----------
    rows, channels
        How many; at least `LANES` channels.
    source
        Address of float32, of shape (rows, channels).
    mask
        Address of `LANES` float32: NaN for those of the last `LANES` channels that a group before has, else 0.
    """
    for row in range(rows):
        at = source + row * 4 * channels
        median = same(_median(at, channels, mask))
        full = (channels - 1) // LANES
        last = at + 4 * (channels - LANES)
        of_last = load(np.float32(0), last) - median
        for group in range(full):
            store(np.float32(0), at + group * _ROW, load(np.float32(0), at + group * _ROW) - median)
        store(np.float32(0), last, of_last)


@kept
@njit(nogil=True)
def channel_medians(rows: int, channels: int, source: int, mask: int, medians: Any) -> None:
    """The median over channels of each sample.

    Parameters
    ----------
    rows, channels, source, mask
        As for `subtract_median`.
    medians
        float32 array of shape (rows,), which is written.
    """
    for row in range(rows):
        medians[row] = _median(source + row * 4 * channels, channels, mask)
