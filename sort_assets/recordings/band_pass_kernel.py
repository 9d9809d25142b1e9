"""The arithmetic of the band-pass, compiled by numba: 16 channels side by side in the processor's vector registers.

Each step of a recursive filter needs the one before, so that time can't be cut into parallel pieces; channels can. A
value of the type `Lanes` is one sample of 16 channels, and each operation on it one vector operation. Loops over
arrays, which LLVM must vectorise by itself, were five times slower. Without the `fastmath` flag nothing is fused or
reordered, so that every processor gives the same bits, and a channel's result does not depend on the others.

All of it is in one module, because numba looks for changes of what it has kept only in the file of a function.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
"""Channels that are filtered side by side."""
PAD = 33
"""Samples by which both ends are continued: scipy's `padlen` for the five sections of the band-pass."""

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INT32S = ir.VectorType(ir.IntType(32), LANES)
_INT16S = ir.VectorType(ir.IntType(16), LANES)


class Lanes(types.Type):  # type: ignore[misc]
    """Numba's type of a float32 sample of 16 channels."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes({LANES})")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _FLOATS)


def _pointer(builder: Any, address: Any, vector: Any) -> Any:
    return builder.inttoptr(address, vector.as_pointer())


@intrinsic
def _load(typing_context: Any, like: Any, address: Any) -> Any:
    """Samples of 16 channels at an address, which are of the type of `like`, as float32."""
    if like not in (types.int16, types.uint16, types.float32):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = _FLOATS if like == types.float32 else _INT16S
        loaded = builder.load(_pointer(builder, arguments[1], source))
        loaded.align = 2
        if like == types.float32:
            return loaded
        wide = builder.sext(loaded, _INT32S) if like == types.int16 else builder.zext(loaded, _INT32S)
        return builder.sitofp(wide, _FLOATS)

    return lanes(like, types.intp), generate


@intrinsic
def _store(typing_context: Any, like: Any, address: Any, value: Any) -> Any:
    """Write samples of 16 channels as the type of `like`; int16 must have been rounded and clipped."""
    if like not in (types.int16, types.float32):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, place, samples = arguments
        if like == types.int16:
            samples = builder.trunc(builder.fptosi(samples, _INT32S), _INT16S)
        builder.store(samples, _pointer(builder, place, samples.type)).align = 2
        return context.get_dummy_value()

    return types.void(like, types.intp, lanes), generate


@intrinsic
def _same(typing_context: Any, number: Any) -> Any:
    """One number for all channels."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(_INT32S, [0] * LANES))

    return lanes(types.float32), generate


@intrinsic
def _larger(typing_context: Any, one: Any, other: Any) -> Any:
    """The larger one of two numbers, by channel; the first where one is NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, second = arguments
        return builder.select(builder.fcmp_ordered(">", second, first), second, first)

    return lanes(lanes, lanes), generate


@intrinsic
def _smaller(typing_context: Any, one: Any, other: Any) -> Any:
    """The smaller one of two numbers, by channel; the first where one is NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, second = arguments
        return builder.select(builder.fcmp_ordered("<", second, first), second, first)

    return lanes(lanes, lanes), generate


def _llvm_function(name: str) -> Any:
    @intrinsic
    def function(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(_FLOATS, [_FLOATS])
            full_name = f"{name}.v{LANES}f32"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, full_name), arguments)

        return lanes(lanes), generate

    return function


_absolute = _llvm_function("llvm.fabs")
_rounded = _llvm_function("llvm.rint")


def _arithmetic(python_operator: Callable[[Any, Any], Any], instruction: str) -> None:
    @intrinsic
    def calculate(typing_context: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return lanes(lanes, lanes), generate

    @overload(python_operator, strict=False)  # Numba takes annotations for another signature.
    def of_lanes(one: Any, other: Any) -> Any:
        if one == lanes and other == lanes:
            return lambda one, other: calculate(one, other)
        return None


for _operator, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _arithmetic(_operator, _instruction)


TAPS = 32
"""Samples from which one between two samples is interpolated."""
_ROW = 4 * LANES
"""Bytes of a sample of 16 channels in the work space."""


@njit(nogil=True)
def _read(like: Any, source: int, source_row: int, rows: int, scale: Any, work: int) -> None:
    """Copy a block into the work space: from its first sample on, scaled, continued by `PAD` samples at both ends.

    The first sample is taken as zero, which the band-pass does not see: so an offset, however large, takes no bits
    of float32 away. Both ends are continued by rotating the signal about its end, as scipy does (`odd_ext`).
    """
    first = _load(like, source)
    at = work + PAD * _ROW
    for row in range(rows):
        _store(np.float32(0), at + row * _ROW, (_load(like, source + row * source_row) - first) * scale)
    last = at + (rows - 1) * _ROW
    end = _load(np.float32(0), last)
    for row in range(1, PAD + 1):
        _store(np.float32(0), at - row * _ROW, _same(np.float32(0)) - _load(np.float32(0), at + row * _ROW))
        _store(np.float32(0), last + row * _ROW, (end + end) - _load(np.float32(0), last - row * _ROW))


@njit(nogil=True)
def _filter(at: int, rows: int, step: int, sections: Any) -> None:
    """Filter the work space in place in one direction, as if its first value had been there for ever."""
    step1, damping1, step2, damping2, step3, damping3, a1, a2, b1, b2 = sections
    step1, damping1 = _same(step1), _same(damping1)
    step2, damping2 = _same(step2), _same(damping2)
    step3, damping3 = _same(step3), _same(damping3)
    a1, a2, b1, b2 = _same(a1), _same(a2), _same(b1), _same(b2)
    low2 = low3 = band1 = band2 = band3 = delay1 = delay2 = delay3 = delay4 = _same(np.float32(0))
    low1 = _load(np.float32(0), at)
    for _ in range(rows):
        x = _load(np.float32(0), at)
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
        _store(np.float32(0), at, x)
        at += step


@njit(nogil=True)
def _shift(work: int, rows: int, taps: int, shifted: int) -> None:
    """Move each channel by its part of a sample: weighted sums of `TAPS` samples, of which half come before its own."""
    for row in range(rows):
        at = work + (row - TAPS // 2) * _ROW
        value = _same(np.float32(0))
        for tap in range(TAPS):
            value = value + _load(np.float32(0), at + tap * _ROW) * _load(np.float32(0), taps + tap * _ROW)
        _store(np.float32(0), shifted + row * _ROW, value)


@njit(nogil=True)
def _write(like: Any, target: int, target_row: int, rows: int, count: Any, limit: Any, work: int, seen: int) -> None:
    """Write the work space as counts (or microvolts), and remember the largest value and whether all are finite."""
    peak, finite = _load(np.float32(0), seen), _load(np.float32(0), seen + _ROW)
    zero, largest, smallest = _same(np.float32(0)), _same(limit), _same(-limit)
    count = _same(count)
    for row in range(rows):
        value = _load(np.float32(0), work + row * _ROW)
        peak = _larger(peak, _absolute(value))
        finite = finite + value * zero
        if limit > 0:
            value = _larger(_smaller(_rounded(value / count), largest), smallest)
        _store(like, target + row * target_row, value)
    _store(np.float32(0), seen, peak)
    _store(np.float32(0), seen + _ROW, finite)


def _kept(function: Any) -> Any:
    """Let numba keep what it compiles of a function for the next process.

    It lies beside this file, or where that is not allowed in the user's cache folder; `NUMBA_CACHE_DIR` names another
    place.
    """
    try:
        function.enable_caching()
    except RuntimeError:  # "no locator available": no folder can be written, and every process compiles.
        return function
    return function


@intrinsic
def _size(typing_context: Any, like: Any) -> Any:
    """Bytes of a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(ir.IntType(64), like.bitwidth // 8)

    return types.intp(like), generate


@_kept
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
    kept: int,
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
    target, target_row, skipped, kept
        Address of the result, bytes of a row; how many rows are left out before it, and how many it has.
    count, limit
        Microvolts per count of the result and its largest value; a limit of 0 leaves microvolts.
    taps
        Address of float32, of shape (groups of `LANES` channels, `TAPS`, `LANES`), which move each channel by a part of
        a sample; 0 where none is moved. The last group are the last `LANES` channels.
    work
        Address of the work space: twice `rows + 2 * PAD` times `LANES` float32.
    seen
        Address of two rows of `LANES` float32, in which the largest absolute value is kept up, and numbers that stay
        zero as long as all values are finite.
    """
    all_rows = rows + 2 * PAD
    source_size, target_size = _size(source_like), _size(target_like)
    for group in range((channels + LANES - 1) // LANES):
        # The last ones are filtered with some of those before, which become the same again.
        channel = min(group * LANES, channels - LANES)
        scaled_by = _load(np.float32(0), scale + 4 * channel)
        _read(source_like, source + source_size * channel, source_row, rows, scaled_by, work)
        _filter(work, all_rows, _ROW, sections)
        _filter(work + (all_rows - 1) * _ROW, all_rows, -_ROW, sections)
        begin = work + (PAD + skipped) * _ROW
        if taps:
            shifted = work + all_rows * _ROW
            _shift(begin, kept, taps + group * TAPS * _ROW, shifted)
            begin = shifted
        _write(target_like, target + target_size * channel, target_row, kept, count, limit, begin, seen)


@_kept
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
