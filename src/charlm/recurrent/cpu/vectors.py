"""Vectors of sixteen floats in Numba, and the gates' nonlinearities.

Numba compiles Python, but neither keeps a block of results in registers nor knows bfloat16 by
itself. So a few words are added to it, each a handful of LLVM instructions: a value of type
`Vector` is sixteen 32-bit floats, `read` and `write` move it, and ``+ - * /`` and `fma` work on it.
Addresses are plain integers.

LLVM translates a vector of sixteen to whatever the processor has: one AVX-512 register, two of
AVX, four of NEON.
"""

# mypy: ignore-errors
# (The compiled half is in Numba's language, whose types mypy does not know.)

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from charlm.recurrent.cpu.target import LANES, kernel_function


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


I16, I32, I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
FLOATS = ir.VectorType(ir.FloatType(), LANES)
INTS = ir.VectorType(I32, LANES)
SHORTS = ir.VectorType(I16, LANES)
HALVES, PAIRS = ir.VectorType(_BFloat(), LANES), ir.VectorType(_BFloat(), 2 * LANES)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Vector")


Vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


def pointer(builder: Any, address: Any, kind: Any) -> Any:
    """Make a pointer of an integer."""
    return builder.inttoptr(address, kind.as_pointer())


def fill(builder: Any, scalar: Any) -> Any:
    """Fill a vector with one value."""
    kind = ir.VectorType(scalar.type, LANES)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
    mask = ir.Constant(INTS, [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), mask)


def call_function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Call a function, an intrinsic of LLVM say, by its name."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def fused_multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z`` of vectors, rounded once."""
    return call_function(builder, "llvm.fma.v16f32", FLOATS, x, y, z)


@intrinsic
def read(typing: Any, kind: Any, address: Any) -> Any:
    """Read sixteen numbers as floats: float32, or bfloat16, the upper half of a float."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if kind == types.float32:
            return builder.load(pointer(builder, arguments[1], FLOATS), align=4)
        halves = builder.load(pointer(builder, arguments[1], SHORTS), align=2)
        wide = builder.shl(builder.zext(halves, INTS), ir.Constant(INTS, [16] * LANES))
        return builder.bitcast(wide, FLOATS)

    return Vector(kind, types.int64), generate


@intrinsic
def write(typing: Any, kind: Any, address: Any, vector: Any) -> Any:
    """Write sixteen floats as float32, or as bfloat16 rounded to the nearest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, address, vector = arguments
        if kind != types.float32:
            name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
            vector = call_function(builder, name, HALVES, vector)
        builder.store(vector, pointer(builder, address, vector.type), align=2)
        return context.get_dummy_value()

    return types.void(kind, types.int64, Vector), generate


@intrinsic
def pack(typing: Any, kind: Any, to: Any, first: Any, second: Any) -> Any:
    """Copy sixteen floats, or pair sixteen bfloat16 with others (or zeros, at address 0)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, to, first, second = arguments
        if kind == types.float32:
            words = builder.load(pointer(builder, first, INTS), align=4)
        else:
            there = builder.icmp_signed("!=", second, I64(0))
            safe = builder.select(there, second, first)
            low, high = (
                builder.zext(builder.load(pointer(builder, a, SHORTS), align=2), INTS)
                for a in (first, safe)
            )
            high = builder.shl(high, ir.Constant(INTS, [16] * LANES))
            high = builder.select(there, high, ir.Constant(INTS, [0] * LANES))
            words = builder.or_(low, high)
        builder.store(words, pointer(builder, to, INTS), align=4)
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 3), generate


@intrinsic
def read_integer(typing: Any, address: Any) -> Any:
    """Read a 64-bit integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(pointer(builder, arguments[0], I64), align=8)

    return types.int64(types.int64), generate


@intrinsic
def call(typing: Any, address: Any) -> Any:
    """Call the C function ``int f(void)`` at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(pointer(builder, arguments[0], ir.FunctionType(I32, [])), [])

    return types.int32(types.int64), generate


@intrinsic
def spread(typing: Any, value: Any) -> Any:
    """Fill a vector with one float."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return fill(builder, arguments[0])

    return Vector(types.float32), generate


@intrinsic
def keep(typing: Any, vector: Any, count: Any) -> Any:
    """Keep the first `count` floats and put zeros in place of the others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, count = arguments
        lanes = ir.Constant(INTS, list(range(LANES)))
        kept = builder.icmp_signed("<", lanes, fill(builder, builder.trunc(count, I32)))
        return builder.select(kept, vector, ir.Constant(FLOATS, [0.0] * LANES))

    return Vector(Vector, types.int64), generate


@intrinsic
def fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return fused_multiply_add(builder, *arguments)

    return Vector(Vector, Vector, Vector), generate


def _arithmetic(function: Any, instruction: str) -> None:
    """Give a Python operator a meaning for vectors."""

    @infer_global(function)
    class _Template(ConcreteTemplate):
        cases = (signature(Vector, Vector, Vector),)

    @lower_builtin(function, Vector, Vector)
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return getattr(builder, instruction)(*arguments)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")


@intrinsic
def _clamp(typing: Any, x: Any) -> Any:
    """Bring x into [-87, 88], where its exponential is a normal float; NaN stays."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (x,) = arguments
        for bound, beyond in ((88.0, ">"), (-87.0, "<")):
            limit = ir.Constant(FLOATS, [bound] * LANES)
            x = builder.select(builder.fcmp_ordered(beyond, x, limit), limit, x)
        return x

    return Vector(Vector), generate


@intrinsic
def _shift_to_exponent(typing: Any, x: Any) -> Any:
    """2^n from the float 1.5·2^23 + n, whose lowest bits are those of the integer n."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.shl(builder.bitcast(arguments[0], INTS), ir.Constant(INTS, [23] * LANES))
        biased = builder.add(bits, ir.Constant(INTS, [127 << 23] * LANES))
        return builder.bitcast(biased, FLOATS)

    return Vector(Vector), generate


@kernel_function
def expm1(x):
    """e^x - 1, right to about two units in the last place, near zero too.

    With x = n ln 2 + r, |r| <= ln(2)/2: e^x - 1 = 2^n (e^r - 1) + (2^n - 1), and the Taylor
    series of e^r - 1 up to r^7 is right to 2e-8 of itself.
    """
    x = _clamp(x)
    magic = spread(np.float32(12582912.0))  # 1.5·2^23: adding it rounds to a whole number
    shifted = fma(x, spread(np.float32(1.4426950408889634)), magic)
    n = shifted - magic
    r = fma(n, spread(np.float32(-0.693359375)), x)  # ln 2 in two parts, the first exact
    r = fma(n, spread(np.float32(2.12194440e-4)), r)
    p = spread(np.float32(1 / 5040))
    p = fma(p, r, spread(np.float32(1 / 720)))
    p = fma(p, r, spread(np.float32(1 / 120)))
    p = fma(p, r, spread(np.float32(1 / 24)))
    p = fma(p, r, spread(np.float32(1 / 6)))
    p = fma(p, r, spread(np.float32(1 / 2)))
    power = _shift_to_exponent(shifted)
    return fma(power, fma(p * r, r, r), power - spread(np.float32(1)))


@kernel_function
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return spread(np.float32(1)) / (spread(np.float32(2)) + expm1(spread(np.float32(0)) - x))


@kernel_function
def tanh(x):
    """(e^2x - 1) / (e^2x + 1)."""
    e = expm1(x + x)
    return e / (e + spread(np.float32(2)))
