"""Vectors of sixteen floats for Numba.

Numba compiles Python, but it neither keeps a block of results in registers nor knows bfloat16. So
this module adds a type `Vector` of sixteen 32-bit floats and a few functions on it, each of which
becomes a handful of LLVM instructions: `load` and `store` move vectors from and to memory, ``+``,
``-``, ``*``, ``/`` and `fma` compute with them. Addresses are 64-bit integers.

LLVM maps a vector of sixteen floats to the registers of the processor: one of AVX-512, two of AVX,
four of NEON.
"""

# mypy: ignore-errors
# (Numba and llvmlite publish no types; the annotations here name their classes.)

import inspect
import operator
from collections.abc import Callable, Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.datamodel import DataModelManager
from numba.core.typing import BaseContext as TypingContext
from numba.core.typing import Signature
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from charlm.recurrent.cpu.arguments import LANES


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


INT16, INT32, INT64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
FLOAT = ir.FloatType()
FLOATS = ir.VectorType(FLOAT, LANES)
INTS = ir.VectorType(INT32, LANES)
SHORTS = ir.VectorType(INT16, LANES)
BFLOATS = ir.VectorType(_BFloat(), LANES)
BFLOAT_PAIRS = ir.VectorType(_BFloat(), 2 * LANES)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Vector")


Vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, numba_type: types.Type) -> None:
        super().__init__(manager, numba_type, FLOATS)


# Building blocks of the functions below, and of `charlm.recurrent.cpu.tiles`.


def pointer(builder: ir.IRBuilder, address: ir.Value, to: ir.Type) -> ir.Value:
    """Convert an address to a pointer to a type."""
    return builder.inttoptr(address, to.as_pointer())


def constant(vector: ir.VectorType, value: float) -> ir.Constant:
    """Return a constant vector whose numbers are all equal."""
    return ir.Constant(vector, [value] * LANES)


def splat(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    """Fill a vector with one number."""
    vector = ir.VectorType(scalar.type, LANES)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, INT32(0))
    return builder.shuffle_vector(first, undefined, constant(INTS, 0))


def call_function(
    builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value
) -> ir.Value:
    """Call a function by its name, such as an intrinsic function of LLVM."""
    function = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)


def fused_multiply_add(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """``x * y + z`` of vectors, rounded once."""
    return call_function(builder, "llvm.fma.v16f32", FLOATS, x, y, z)


DTYPE = object()
"""Stands for the type of an argument that is FLOAT32 or BFLOAT16, see `instruction`."""

Emitter = Callable[..., ir.Value | None]
CompiledFunction = Callable[..., object]
"""A function that only compiled code can call."""


def instruction(
    result: types.Type, *parameters: types.Type
) -> Callable[[Emitter], CompiledFunction]:
    """Make a function that kernels can call out of one that emits LLVM instructions.

    The decorated function takes an `ir.IRBuilder` and then one `ir.Value` per parameter. It returns
    the result's value, or None if there is no result. A parameter declared as DTYPE is passed as
    the argument's Numba type, `types.float32` or `types.uint16` (for bfloat16), so that other
    instructions can be emitted for each.

    Args:
        result: Numba type of the result.
        parameters: Numba types of the parameters.
    """

    def decorate(emit: Emitter) -> CompiledFunction:
        names = inspect.signature(emit)

        def declare(context: TypingContext, *given: types.Type, **named: types.Type):
            given = names.bind(context, *given, **named).args[1:]
            declared = [
                actual if parameter is DTYPE else parameter
                for actual, parameter in zip(given, parameters, strict=True)
            ]

            def generate(
                context: BaseContext,
                builder: ir.IRBuilder,
                signature: Signature,
                values: Sequence[ir.Value],
            ) -> ir.Value:
                emitted = emit(
                    builder,
                    *(
                        actual if parameter is DTYPE else value
                        for actual, parameter, value in zip(given, parameters, values, strict=True)
                    ),
                )
                return context.get_dummy_value() if emitted is None else emitted

            return result(*declared), generate

        declare.__name__, declare.__doc__ = emit.__name__, emit.__doc__
        declare.__signature__ = names  # Numba reads the names of the parameters, so keep those
        return intrinsic(declare)

    return decorate


@instruction(Vector, DTYPE, types.int64)
def load(builder: ir.IRBuilder, dtype: types.Type, address: ir.Value) -> ir.Value:
    """Load sixteen numbers as floats; bfloat16 is the upper half of a float."""
    if dtype == types.float32:
        return builder.load(pointer(builder, address, FLOATS), align=4)
    halves = builder.load(pointer(builder, address, SHORTS), align=2)
    return builder.bitcast(builder.shl(builder.zext(halves, INTS), constant(INTS, 16)), FLOATS)


@instruction(types.void, DTYPE, types.int64, Vector)
def store(builder: ir.IRBuilder, dtype: types.Type, address: ir.Value, vector: ir.Value) -> None:
    """Store sixteen floats as float32, or as bfloat16 rounded to nearest."""
    if dtype != types.float32:
        vector = call_function(builder, "llvm.x86.avx512bf16.cvtneps2bf16.512", BFLOATS, vector)
    builder.store(vector, pointer(builder, address, vector.type), align=2)


@instruction(types.void, DTYPE, types.int64, types.int64, types.int64)
def interleave(
    builder: ir.IRBuilder, dtype: types.Type, to: ir.Value, upper: ir.Value, lower: ir.Value
) -> None:
    """Copy sixteen floats, or sixteen pairs of bfloat16, each from one column of two rows.

    Args:
        builder: where to emit.
        dtype: of the rows; with float32, `lower` is not used.
        to: address of sixteen 32-bit words.
        upper: address in the first row.
        lower: address in the second row, or 0 for a row of zeros.
    """
    if dtype == types.float32:
        words = builder.load(pointer(builder, upper, INTS), align=4)
    else:
        exists = builder.icmp_signed("!=", lower, INT64(0))
        readable = builder.select(exists, lower, upper)
        first, second = (
            builder.zext(builder.load(pointer(builder, address, SHORTS), align=2), INTS)
            for address in (upper, readable)
        )
        second = builder.shl(second, constant(INTS, 16))
        words = builder.or_(first, builder.select(exists, second, constant(INTS, 0)))
    builder.store(words, pointer(builder, to, INTS), align=4)


@instruction(types.int64, types.int64)
def load_integer(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Load a 64-bit integer."""
    return builder.load(pointer(builder, address, INT64), align=8)


@instruction(types.int32, types.int64)
def call_c(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Call the C function ``int f(void)`` at an address."""
    return builder.call(pointer(builder, address, ir.FunctionType(INT32, [])), [])


@instruction(Vector, types.float32)
def broadcast(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Fill a vector with one float."""
    return splat(builder, value)


@instruction(Vector, Vector, types.int64)
def keep_first(builder: ir.IRBuilder, vector: ir.Value, count: ir.Value) -> ir.Value:
    """Keep the first `count` floats and set the others to zero."""
    lanes = ir.Constant(INTS, list(range(LANES)))
    kept = builder.icmp_signed("<", lanes, splat(builder, builder.trunc(count, INT32)))
    return builder.select(kept, vector, constant(FLOATS, 0.0))


@instruction(Vector, Vector, Vector, Vector)
def fma(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """``x * y + z``, rounded once."""
    return fused_multiply_add(builder, x, y, z)


@instruction(Vector, Vector)
def clamp(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Clamp x to [-87, 88], where e^x is a normal float; NaN stays NaN."""
    for bound, beyond in ((88.0, ">"), (-87.0, "<")):
        limit = constant(FLOATS, bound)
        x = builder.select(builder.fcmp_ordered(beyond, x, limit), limit, x)
    return x


@instruction(Vector, Vector)
def exp2_of_rounded(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """2^n of the float 1.5 · 2^23 + n, whose lowest bits are those of the integer n."""
    exponent = builder.shl(builder.bitcast(x, INTS), constant(INTS, 23))
    return builder.bitcast(builder.add(exponent, constant(INTS, 127 << 23)), FLOATS)


def _define_operator(function: Callable[..., object], emit: str) -> None:
    """Define a Python operator for two vectors by a method of `ir.IRBuilder`."""

    @infer_global(function)
    class _Template(ConcreteTemplate):
        cases = (signature(Vector, Vector, Vector),)

    @lower_builtin(function, Vector, Vector)
    def generate(
        context: BaseContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Sequence[ir.Value],
    ) -> ir.Value:
        return getattr(builder, emit)(*values)


_define_operator(operator.add, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")
_define_operator(operator.truediv, "fdiv")
