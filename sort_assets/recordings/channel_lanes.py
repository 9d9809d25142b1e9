"""A type of numba: one sample of 16 channels in the processor's vector registers.

Each operation on it is one vector operation. Without the `fastmath` flag nothing is fused or reordered, so that every
processor gives the same bits, and a channel's result does not depend on the others.

After a change here, change `band_pass_kernel` too: numba looks for changes of what it has kept only in the file of a
function.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
"""Channels that are filtered side by side."""
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
def load(typing_context: Any, like: Any, address: Any) -> Any:
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
def store(typing_context: Any, like: Any, address: Any, value: Any) -> Any:
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
def same(typing_context: Any, number: Any) -> Any:
    """One number for all channels."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(_INT32S, [0] * LANES))

    return lanes(types.float32), generate


def _one_of_two(comparison: str) -> Any:
    """Of two numbers by channel, the second where it compares so with the first, which stays where one is NaN."""

    @intrinsic
    def function(typing_context: Any, one: Any, other: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, second = arguments
            return builder.select(builder.fcmp_ordered(comparison, second, first), second, first)

        return lanes(lanes, lanes), generate

    return function


larger, smaller = _one_of_two(">"), _one_of_two("<")


@intrinsic
def where_at_most(typing_context: Any, value: Any, limit: Any, yes: Any, no: Any) -> Any:
    """`yes` in channels whose value is at most the limit, `no` in the others and where a number is NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one, other, first, second = arguments
        return builder.select(builder.fcmp_ordered("<=", one, other), first, second)

    return lanes(lanes, lanes, lanes, lanes), generate


def _over_channels(combine: Callable[[Any, Any, Any], Any]) -> Any:
    """A function of all channels' values, half of which are combined with the other half until one is left."""

    @intrinsic
    def function(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (left,) = arguments
            while left.type.count > 1:
                half, undefined = left.type.count // 2, ir.Constant(left.type, ir.Undefined)
                halves = []
                for first in (0, half):
                    places = ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(first, first + half)))
                    halves.append(builder.shuffle_vector(left, undefined, places))
                left = combine(builder, *halves)
            return builder.extract_element(left, ir.Constant(ir.IntType(32), 0))

        return types.float32(lanes), generate

    return function


sum_of = _over_channels(lambda builder, one, other: builder.fadd(one, other))
largest_of = _over_channels(
    lambda builder, one, other: builder.select(builder.fcmp_ordered(">", one, other), one, other)
)
smallest_of = _over_channels(
    lambda builder, one, other: builder.select(builder.fcmp_ordered("<", one, other), one, other)
)


def _llvm_function(name: str) -> Any:
    @intrinsic
    def function(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(_FLOATS, [_FLOATS])
            full_name = f"{name}.v{LANES}f32"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, full_name), arguments)

        return lanes(lanes), generate

    return function


absolute = _llvm_function("llvm.fabs")
rounded = _llvm_function("llvm.rint")


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


@intrinsic
def size_of(typing_context: Any, like: Any) -> Any:
    """Bytes of a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(ir.IntType(64), like.bitwidth // 8)

    return types.intp(like), generate
