"""The step loops of the CPU engine, compiled by Numba; `charlm.recurrent.cpu` calls them.

Numba compiles Python, but neither keeps a block of results in registers nor knows bfloat16 by
itself. So a few words are added to it, each a handful of LLVM instructions: a value of type
`Vector` is sixteen 32-bit floats, `read` and `write` move it, ``+ - * /`` and `fma` work on it,
and `tile` is the heart of a matrix product. Addresses are plain integers.

LLVM translates a vector of sixteen to whatever the processor has: one AVX-512 register, two of
AVX, four of NEON.
"""

# mypy: ignore-errors
# (The compiled half is in Numba's language, whose types mypy does not know.)

import hashlib
import itertools
import logging
import operator
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.core.registry import cpu_target
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")

_log = logging.getLogger(__name__)

_TARGET = cpu_target.target_context.codegen().magic_tuple()  # triple, processor, features
_FEATURES = _TARGET[2].split(",")
FAST_BFLOAT16 = "+avx512bf16" in _FEATURES
# A tile of 8 rows and 2 or 3 vectors fills the 32 registers of AVX-512 best. Where a vector takes
# two of 16 registers (AVX) or four of 32 (NEON), that is one of 6 rows and one vector.
WIDE = "+avx512f" in _FEATURES
ROWS = 8 if WIDE else 6
VECTORS, GRU_VECTORS = (2, 3) if WIDE else (1, 1)
LANES = 16
PANEL = VECTORS * LANES  # columns that a tile multiplies by
SCRATCH_ROW = 4 * LANES * 4  # bytes of a row of sums: four gates of sixteen floats
SCRATCH = ROWS * SCRATCH_ROW  # bytes of scratch memory a thread needs
BLOCK = 20  # integers in a block of arguments
# A product of matrices goes through its inner dimension in blocks of DEPTH words, of which a panel
# of columns (32 or 64 kB) and GROUP rows (64 or 96 kB) stay in a core's second-level cache.
DEPTH, GROUP = 512, 32 if WIDE else 48

# Kinds of stored numbers, told apart by their type when a kernel is compiled.
FLOAT32, BFLOAT16 = np.float32(0), np.uint16(0)

_COMPILER = numba.__version__, llvmlite.__version__, numba.config.OPT, _TARGET
_LAYOUT = ROWS, VECTORS, GRU_VECTORS, DEPTH, GROUP, FAST_BFLOAT16
_DIGEST = hashlib.sha256(
    __spec__.loader.get_data(__file__) + repr((_COMPILER, _LAYOUT)).encode()
).hexdigest()[:16]


def _uniquely_named(function: Callable[..., Any], variant: str = "") -> Callable[..., Any]:
    """Give a function a name of its own, in which its machine code is cached and linked.

    The machine code of one kernel holds that of the functions it calls. A process that loads
    kernels which others have compiled links every function by its name alone, whatever it does. So
    the name tells the variant of the function, and by a digest all that its machine code depends
    on: this file, the compiler and the processor.
    """
    function.__name__ = function.__qualname__ = f"{function.__name__}{variant}_{_DIGEST}"
    return function


def _compile(function: Callable[..., Any], variant: str = "") -> Any:
    """Compile a function that kernels call."""
    return njit(_uniquely_named(function, variant))


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(_I32, LANES)
_SHORTS = ir.VectorType(_I16, LANES)
_HALVES, _PAIRS = ir.VectorType(_BFloat(), LANES), ir.VectorType(_BFloat(), 2 * LANES)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Vector")


Vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _spread(builder: Any, scalar: Any) -> Any:
    """Fill a vector with one value."""
    kind = ir.VectorType(scalar.type, LANES)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, _I32(0))
    mask = ir.Constant(_INTS, [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), mask)


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    return _call(builder, "llvm.fma.v16f32", _FLOATS, x, y, z)


@intrinsic
def read(typing: Any, kind: Any, address: Any) -> Any:
    """Read sixteen numbers as floats: float32, or bfloat16, the upper half of a float."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if kind == types.float32:
            return builder.load(_pointer(builder, arguments[1], _FLOATS), align=4)
        halves = builder.load(_pointer(builder, arguments[1], _SHORTS), align=2)
        wide = builder.shl(builder.zext(halves, _INTS), ir.Constant(_INTS, [16] * LANES))
        return builder.bitcast(wide, _FLOATS)

    return Vector(kind, types.int64), generate


@intrinsic
def write(typing: Any, kind: Any, address: Any, vector: Any) -> Any:
    """Write sixteen floats as float32, or as bfloat16 rounded to the nearest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, address, vector = arguments
        if kind != types.float32:
            name = "llvm.x86.avx512bf16.cvtneps2bf16.512"
            vector = _call(builder, name, _HALVES, vector)
        builder.store(vector, _pointer(builder, address, vector.type), align=2)
        return context.get_dummy_value()

    return types.void(kind, types.int64, Vector), generate


@intrinsic
def pack(typing: Any, kind: Any, to: Any, first: Any, second: Any) -> Any:
    """Copy sixteen floats, or pair sixteen bfloat16 with others (or zeros, at address 0)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, to, first, second = arguments
        if kind == types.float32:
            words = builder.load(_pointer(builder, first, _INTS), align=4)
        else:
            there = builder.icmp_signed("!=", second, _I64(0))
            safe = builder.select(there, second, first)
            low, high = (
                builder.zext(builder.load(_pointer(builder, a, _SHORTS), align=2), _INTS)
                for a in (first, safe)
            )
            high = builder.shl(high, ir.Constant(_INTS, [16] * LANES))
            high = builder.select(there, high, ir.Constant(_INTS, [0] * LANES))
            words = builder.or_(low, high)
        builder.store(words, _pointer(builder, to, _INTS), align=4)
        return context.get_dummy_value()

    return types.void(kind, *[types.int64] * 3), generate


@intrinsic
def read_integer(typing: Any, address: Any) -> Any:
    """Read a 64-bit integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(builder, arguments[0], _I64), align=8)

    return types.int64(types.int64), generate


@intrinsic
def call(typing: Any, address: Any) -> Any:
    """Call the C function ``int f(void)`` at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(_pointer(builder, arguments[0], ir.FunctionType(_I32, [])), [])

    return types.int32(types.int64), generate


@intrinsic
def spread(typing: Any, value: Any) -> Any:
    """Fill a vector with one float."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return Vector(types.float32), generate


@intrinsic
def keep(typing: Any, vector: Any, count: Any) -> Any:
    """Keep the first `count` floats and put zeros in place of the others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, count = arguments
        lanes = ir.Constant(_INTS, list(range(LANES)))
        kept = builder.icmp_signed("<", lanes, _spread(builder, builder.trunc(count, _I32)))
        return builder.select(kept, vector, ir.Constant(_FLOATS, [0.0] * LANES))

    return Vector(Vector, types.int64), generate


@intrinsic
def fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fma(builder, *arguments)

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
            limit = ir.Constant(_FLOATS, [bound] * LANES)
            x = builder.select(builder.fcmp_ordered(beyond, x, limit), limit, x)
        return x

    return Vector(Vector), generate


@intrinsic
def _shift_to_exponent(typing: Any, x: Any) -> Any:
    """2^n from the float 1.5·2^23 + n, whose lowest bits are those of the integer n."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.shl(builder.bitcast(arguments[0], _INTS), ir.Constant(_INTS, [23] * LANES))
        biased = builder.add(bits, ir.Constant(_INTS, [127 << 23] * LANES))
        return builder.bitcast(biased, _FLOATS)

    return Vector(Vector), generate


@_compile
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


@_compile
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return spread(np.float32(1)) / (spread(np.float32(2)) + expm1(spread(np.float32(0)) - x))


@_compile
def tanh(x):
    """(e^2x - 1) / (e^2x + 1)."""
    e = expm1(x + x)
    return e / (e + spread(np.float32(2)))


def _make_tile(rows: int, vectors: int, panels: int = 1) -> Any:
    """Make a function that multiplies `rows` rows by `panels` · `vectors` · 16 columns.

    The sums stay in registers until all products are added up. Each turn of the loop reads
    `vectors` vectors of each panel of packed weights and one number, or pair of numbers, of each
    row.
    """

    @intrinsic
    def tile(
        typing: Any, kind: Any, a: Any, across: Any, along: Any, last: Any, b: Any, k: Any, c: Any,
        pitch: Any,
    ) -> Any:  # fmt: skip
        """Add to the sums at `c` the products of the rows at `a` and the packed weights at `b`.

        Of kind float32, the operands are multiplied one by one; else they are pairs of bfloat16,
        of which two products are added at once. At `a`, rows lie `across` bytes apart and the `k`
        numbers or pairs of a row `along` bytes; in place of rows beyond number `last`, that one is
        read. Rows of sums lie `pitch` bytes apart.
        """
        pairs = kind != types.float32
        number = _I32 if pairs else ir.FloatType()
        vector = _PAIRS if pairs else _FLOATS

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, a, across, along, last, b, k, c, pitch = arguments

            def read(address: Any, offset: Any, what: Any) -> Any:
                return builder.load(_pointer(builder, builder.add(address, offset), what), align=4)

            def multiply(total: Any, x: Any, y: Any) -> Any:
                if pairs:
                    name = "llvm.x86.avx512bf16.dpbf16ps.512"
                    return _call(builder, name, _FLOATS, total, builder.bitcast(x, _PAIRS), y)
                return _fma(builder, x, y, total)

            places = [
                (r, v, builder.add(builder.mul(pitch, _I64(r)), _I64(64 * v)))
                for r in range(rows)
                for v in range(panels * vectors)
            ]
            panel = builder.mul(k, _I64(64 * vectors))
            starts = []
            for r in range(rows):
                row = builder.select(builder.icmp_signed("<", _I64(r), last), _I64(r), last)
                starts.append(builder.add(a, builder.mul(row, across)))
            initial = [read(c, place, _FLOATS) for _, _, place in places]
            before = builder.block
            loop = builder.append_basic_block("products")
            after = builder.append_basic_block("sums")
            builder.branch(loop)

            builder.position_at_end(loop)
            step = builder.phi(_I64)
            sums = [builder.phi(_FLOATS) for _ in places]
            packed = builder.mul(step, _I64(64 * vectors))
            columns = []
            for p, v in itertools.product(range(panels), range(vectors)):
                place = builder.add(builder.mul(panel, _I64(p)), _I64(64 * v))
                columns.append(read(b, builder.add(packed, place), vector))
            offset = builder.mul(step, along)
            numbers = [_spread(builder, read(start, offset, number)) for start in starts]
            results = [
                multiply(total, numbers[r], columns[v])
                for (r, v, _), total in zip(places, sums, strict=True)
            ]
            next_step = builder.add(step, _I64(1))
            builder.cbranch(builder.icmp_signed("<", next_step, k), loop, after)
            step.add_incoming(_I64(0), before)
            step.add_incoming(next_step, loop)
            for total, first, result in zip(sums, initial, results, strict=True):
                total.add_incoming(first, before)
                total.add_incoming(result, loop)

            builder.position_at_end(after)
            for (_, _, place), result in zip(places, results, strict=True):
                builder.store(result, _pointer(builder, builder.add(c, place), _FLOATS), align=4)
            return context.get_dummy_value()

        return types.void(kind, *[types.int64] * 8), generate

    return tile


def _make_multiply(vectors: int, together: int) -> Any:
    """Make a function that multiplies by `vectors` · 16 columns, packed `together` vectors a panel.

    One row alone, and a second, go by all panels at once, which keeps as many sums in flight.
    """
    tile, row = _make_tile(ROWS, together), _make_tile(1, together, vectors // together)

    def multiply(kind, a, stride, rows, b, k, c):
        """Add the products of up to ROWS rows at `a` to the rows of sums at `c`."""
        if rows <= 2:
            for r in range(rows):
                row(kind, a + r * stride, 0, 4, 0, b, k, c + r * SCRATCH_ROW, 0)
        else:
            for v in range(0, vectors, together):
                tile(kind, a, stride, 4, rows - 1, b + v * k * 64, k, c + v * 64, SCRATCH_ROW)

    return _compile(multiply, f"_{vectors}x{together}")


_multiply_lstm, _multiply_gru = _make_multiply(4, VECTORS), _make_multiply(3, GRU_VECTORS)
_multiply_back = _make_multiply(2, VECTORS)
_tile, _row = _make_tile(ROWS, VECTORS), _make_tile(1, VECTORS)


# The kernels proper. Each is run by every thread of a team on a block of integers, the arguments:
# sizes, and addresses of arrays laid out as `charlm.recurrent.cpu` says. A thread has its own
# panels of units (columns of the recurrent product) for all steps, so that a panel's weights stay
# in its cache, and the results do not depend on the number of threads. A panel's product is made
# for a few rows (examples) at a time in the thread's scratch memory and its gates follow at once,
# while the numbers are at hand. One barrier a step is all the waiting there is.


@_compile
def _share(items, team):
    """Return where this thread's share of the items starts and ends, and its number."""
    if team == 0:
        return 0, items, 0
    me, size = call(read_integer(team)), call(read_integer(team + 8))
    return items * me // size, items * (me + 1) // size, me


@_compile
def _barrier(team):
    if team != 0:
        call(read_integer(team + 16))


@_compile
def _start_sums(table, table_rows, indices, at, rows, panel, sums):
    """Start the sums of rows from `at` on with rows of the table: without indices, its first."""
    for r in range(rows):
        row = read_integer(indices + (at + r) * 8) if indices != 0 else 0
        for gate in range(4):
            bias = read(FLOAT32, table + ((panel * table_rows + row) * 4 + gate) * 64)
            write(FLOAT32, sums + r * SCRATCH_ROW + gate * 64, bias)


@_compile
def _lstm_forward(kind, wide, a):
    team, scratch, steps, batch, size, advance = a[0], a[1], a[2], a[3], a[4], a[5]
    table, indices, x, width, w_ih, w_hh = a[6], a[7], a[8], a[9], a[10], a[11]
    gates, cells, states, operand, units, table_rows = a[12], a[13], a[14], a[15], a[16], a[17]
    groups = (batch + ROWS - 1) // ROWS
    first, last, me = _share(size // LANES * groups, team)
    sums = scratch + me * SCRATCH
    for t in range(steps):
        for item in range(first, last):
            panel, row = item // groups, item % groups * ROWS
            rows, at = min(ROWS, batch - row), t * batch + row
            here = units - panel * LANES  # an infinite input must not reach the units of padding
            _start_sums(table, table_rows, indices, at, rows, panel, sums)
            h = operand + (row * size + t * advance) * wide
            if x != 0:
                w = w_ih + panel * 4 * LANES * width * wide
                _multiply_lstm(
                    kind, x + at * width * wide, width * wide, rows, w, width * wide // 4, sums
                )
            w = w_hh + panel * 4 * LANES * size * wide
            _multiply_lstm(kind, h, size * wide, rows, w, size * wide // 4, sums)
            for r in range(rows):
                total = sums + r * SCRATCH_ROW
                i = sigmoid(keep(read(FLOAT32, total), here))
                f = sigmoid(keep(read(FLOAT32, total + 64), here))
                g = tanh(keep(read(FLOAT32, total + 128), here))
                o = sigmoid(keep(read(FLOAT32, total + 192), here))
                unit = (row + r) * size + t * advance + panel * LANES
                cell = cells + (t * advance + (panel * batch + row + r) * LANES) * 4
                c = f * read(FLOAT32, cell) + i * g
                write(FLOAT32, cell + advance * 4, c)
                h_new = o * tanh(c)
                unit += advance
                write(FLOAT32, states + unit * 4, h_new)
                if wide == 2:
                    write(kind, operand + unit * 2, h_new)
                gate = gates + ((t * size // LANES + panel) * batch + row + r) * 4 * LANES * wide
                write(kind, gate, i)
                write(kind, gate + LANES * wide, f)
                write(kind, gate + 2 * LANES * wide, g)
                write(kind, gate + 3 * LANES * wide, o)
        _barrier(team)


@_compile
def _gru_forward(kind, wide, a):
    team, scratch, steps, batch, size, advance = a[0], a[1], a[2], a[3], a[4], a[5]
    table, indices, x, width, w_ih, w_hh = a[6], a[7], a[8], a[9], a[10], a[11]
    gates, states, operand, units, table_rows = a[12], a[14], a[15], a[16], a[17]
    groups = (batch + ROWS - 1) // ROWS
    first, last, me = _share(size // LANES * groups, team)
    sums = scratch + me * SCRATCH
    for t in range(steps):
        for item in range(first, last):
            panel, row = item // groups, item % groups * ROWS
            rows, at = min(ROWS, batch - row), t * batch + row
            here = units - panel * LANES  # an infinite input must not reach the units of padding
            _start_sums(table, table_rows, indices, at, rows, panel, sums)
            # The slots are n, r, z and m: the input adds to the first three, h to the last three.
            if x != 0:
                w = w_ih + panel * 3 * LANES * width * wide
                _multiply_gru(
                    kind, x + at * width * wide, width * wide, rows, w, width * wide // 4, sums
                )
            h = operand + (row * size + t * advance) * wide
            w = w_hh + panel * 3 * LANES * size * wide
            _multiply_gru(kind, h, size * wide, rows, w, size * wide // 4, sums + 64)
            for r in range(rows):
                total = sums + r * SCRATCH_ROW
                m = keep(read(FLOAT32, total + 192), here)
                reset = sigmoid(keep(read(FLOAT32, total + 64), here))
                z = sigmoid(keep(read(FLOAT32, total + 128), here))
                n = tanh(keep(read(FLOAT32, total), here) + reset * m)
                unit = (row + r) * size + t * advance + panel * LANES
                h_new = n + z * (read(FLOAT32, states + unit * 4) - n)
                unit += advance
                write(FLOAT32, states + unit * 4, h_new)
                if wide == 2:
                    write(kind, operand + unit * 2, h_new)
                gate = gates + ((t * size // LANES + panel) * batch + row + r) * 4 * LANES * wide
                write(kind, gate, n)
                write(kind, gate + LANES * wide, reset)
                write(kind, gate + 2 * LANES * wide, z)
                write(kind, gate + 3 * LANES * wide, m)
        _barrier(team)


# Backward, step t first finishes the gradient of the hidden state after step t, in the sums: what
# comes back from step t + 1 through the recurrent weights, added to what came from outside. One
# step before the first, it is the gradient of the initial state.


@_compile
def _lstm_backward(kind, wide, a):
    team, scratch, steps, batch, size, w_hh = a[0], a[1], a[2], a[3], a[4], a[5]
    gates, cells, d_outputs, d_gates, d_h, d_c = a[6], a[7], a[8], a[9], a[10], a[11]
    one = spread(np.float32(1))
    groups = (batch + ROWS - 1) // ROWS
    first, last, me = _share(size // (2 * LANES) * groups, team)
    sums = scratch + me * SCRATCH
    stride = 4 * size * wide
    for t in range(steps - 1, -2, -1):
        for item in range(first, last):
            panel, row = item // groups, item % groups * ROWS
            rows, at = min(ROWS, batch - row), t * batch + row
            for r in range(rows):
                for v in range(2):
                    mine = (row + r) * size + (panel * 2 + v) * LANES
                    d = read(FLOAT32, d_h + mine * 4)
                    if t >= 0:
                        d = d + read(FLOAT32, d_outputs + (t * batch * size + mine) * 4)
                    write(FLOAT32, sums + r * SCRATCH_ROW + v * 64, d)
            if t < steps - 1:
                later = d_gates + (at + batch) * stride
                w = w_hh + panel * 2 * LANES * stride
                _multiply_back(kind, later, stride, rows, w, stride // 4, sums)
            for r in range(rows):
                for v in range(2):
                    mine = (row + r) * size + (panel * 2 + v) * LANES
                    dh = read(FLOAT32, sums + r * SCRATCH_ROW + v * 64)
                    if t < 0:
                        write(FLOAT32, d_h + mine * 4, dh)
                        continue
                    gate = ((at + r) * 4 * size + (panel * 2 + v) * LANES) * wide
                    block = ((t * size // LANES + panel * 2 + v) * batch + row + r) * LANES
                    i = read(kind, gates + block * 4 * wide)
                    f = read(kind, gates + (block * 4 + LANES) * wide)
                    g = read(kind, gates + (block * 4 + 2 * LANES) * wide)
                    o = read(kind, gates + (block * 4 + 3 * LANES) * wide)
                    c = read(FLOAT32, cells + block * 4)
                    tanh_c = tanh(read(FLOAT32, cells + (block + batch * size) * 4))
                    dc = read(FLOAT32, d_c + mine * 4) + dh * o * (one - tanh_c * tanh_c)
                    write(FLOAT32, d_c + mine * 4, dc * f)
                    d = d_gates + gate
                    write(kind, d, dc * g * i * (one - i))
                    write(kind, d + size * wide, dc * c * f * (one - f))
                    write(kind, d + 2 * size * wide, dc * i * (one - g * g))
                    write(kind, d + 3 * size * wide, dh * tanh_c * o * (one - o))
                    write(FLOAT32, d_h + mine * 4, spread(np.float32(0)))
        _barrier(team)


@_compile
def _gru_backward(kind, wide, a):
    team, scratch, steps, batch, size, w_hh = a[0], a[1], a[2], a[3], a[4], a[5]
    gates, states, d_outputs, d_gates, d_h = a[6], a[7], a[8], a[9], a[10]
    one = spread(np.float32(1))
    groups = (batch + ROWS - 1) // ROWS
    first, last, me = _share(size // (2 * LANES) * groups, team)
    sums = scratch + me * SCRATCH
    stride = 4 * size * wide
    for t in range(steps - 1, -2, -1):
        for item in range(first, last):
            panel, row = item // groups, item % groups * ROWS
            rows, at = min(ROWS, batch - row), t * batch + row
            for r in range(rows):
                for v in range(2):
                    mine = (row + r) * size + (panel * 2 + v) * LANES
                    d = read(FLOAT32, d_h + mine * 4)
                    if t >= 0:
                        d = d + read(FLOAT32, d_outputs + (t * batch * size + mine) * 4)
                    write(FLOAT32, sums + r * SCRATCH_ROW + v * 64, d)
            if t < steps - 1:
                later = d_gates + (at + batch) * stride + size * wide  # the slots r, z and m
                w = w_hh + panel * 2 * LANES * 3 * size * wide
                _multiply_back(kind, later, stride, rows, w, 3 * size * wide // 4, sums)
            for r in range(rows):
                for v in range(2):
                    mine = (row + r) * size + (panel * 2 + v) * LANES
                    dh = read(FLOAT32, sums + r * SCRATCH_ROW + v * 64)
                    if t < 0:
                        write(FLOAT32, d_h + mine * 4, dh)
                        continue
                    gate = ((at + r) * 4 * size + (panel * 2 + v) * LANES) * wide
                    block = ((t * size // LANES + panel * 2 + v) * batch + row + r) * LANES
                    n = read(kind, gates + block * 4 * wide)
                    reset = read(kind, gates + (block * 4 + LANES) * wide)
                    z = read(kind, gates + (block * 4 + 2 * LANES) * wide)
                    m = read(kind, gates + (block * 4 + 3 * LANES) * wide)
                    h = read(FLOAT32, states + (t * batch * size + mine) * 4)
                    dn = dh * (one - z) * (one - n * n)
                    d = d_gates + gate
                    write(kind, d, dn)
                    write(kind, d + size * wide, dn * m * reset * (one - reset))
                    write(kind, d + 2 * size * wide, dh * (h - n) * z * (one - z))
                    write(kind, d + 3 * size * wide, dn * reset)
                    write(FLOAT32, d_h + mine * 4, dh * z)
        _barrier(team)


@_compile
def _add_rows(kind, wide, a):
    """Add each row of numbers to a row of sums, in the rows' order.

    To the one that its index names, or without indices to the one of its step, of `batch` rows.
    """
    team, count, width, numbers = a[0], a[2], a[3], a[4]
    indices, batch, sums = a[5], a[6], a[7]
    first, last, _ = _share(width // LANES, team)
    for row in range(count):
        source = numbers + row * width * wide
        to = read_integer(indices + row * 8) if indices != 0 else row // batch
        target = sums + to * width * 4
        for column in range(first * LANES, last * LANES, LANES):
            total = read(FLOAT32, target + column * 4) + read(kind, source + column * wide)
            write(FLOAT32, target + column * 4, total)


@_compile
def _pack_columns(kind, wide, to, columns, start, stride, k, first, last):
    """Copy rows first to last of `columns` columns of a matrix (k rows) as a tile reads them.

    Each copied row holds 32-bit words: numbers, or the pairs that two rows of bfloat16 make.
    """
    for word in range((last - first) * wide // 4 + (last - first) % (4 // wide)):
        row = first + word * (4 // wide)
        source = start + row * stride
        below = source + stride if row + 1 < k else 0
        for column in range(0, columns, LANES):
            offset = column * wide
            target = to + (word * columns + column) * 4
            pack(kind, target, source + offset, below + offset if below != 0 else 0)


@_compile
def _product(kind, wide, a):
    """Add to C (m, n) the product of A (m, k) and B (k, n), where n is a multiple of 32.

    A may come as its transpose (k, m); then m, too, is a multiple of 32.
    """
    team, scratch, m, n, k = a[0], a[1], a[2], a[3], a[4]
    a_start, across, transposed = a[5], a[6], a[7]
    b_start, b_stride, c_start = a[8], a[9], a[10]
    groups = (m + GROUP - 1) // GROUP
    first, last, me = _share(groups, team)
    packed_a = scratch + me * (n + GROUP) * DEPTH * 4
    packed_b = packed_a + GROUP * DEPTH * 4
    depth = DEPTH * 4 // wide
    for start in range(0, k, depth):
        end = min(start + depth, k)
        words = ((end - start) * wide + 3) // 4
        for column in range(0, n, PANEL):
            panel = packed_b + column * DEPTH * 4
            source = b_start + column * wide
            _pack_columns(kind, wide, panel, PANEL, source, b_stride, k, start, end)
        for group in range(first, last):
            row = group * GROUP
            here = min(GROUP, m - row)
            if transposed:
                source = a_start + row * wide
                _pack_columns(kind, wide, packed_a, here, source, across, k, start, end)
            for column in range(0, n, PANEL):
                panel = packed_b + column * DEPTH * 4
                for r in range(row, row + here, ROWS):
                    if transposed:
                        place, apart, along = packed_a + (r - row) * 4, 4, here * 4
                    else:
                        place, apart, along = a_start + r * across + start * wide, across, 4
                    c = c_start + (r * n + column) * 4
                    count = min(ROWS, row + here - r)
                    if count < ROWS:
                        for extra in range(count):
                            _row(
                                kind, place + extra * apart, 0, along, 0, panel, words,
                                c + extra * n * 4, 0,
                            )  # fmt: skip
                    else:
                        _tile(kind, place, apart, along, ROWS - 1, panel, words, c, n * 4)


# What C can call. Numba does not cache closures, so these are written out; a process compiles
# only those that it needs.


def _run_lstm_forward_float32(block):
    _lstm_forward(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_lstm_forward_bfloat16(block):
    _lstm_forward(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_lstm_backward_float32(block):
    _lstm_backward(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_lstm_backward_bfloat16(block):
    _lstm_backward(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_gru_forward_float32(block):
    _gru_forward(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_gru_forward_bfloat16(block):
    _gru_forward(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_gru_backward_float32(block):
    _gru_backward(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_gru_backward_bfloat16(block):
    _gru_backward(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_product_float32(block):
    _product(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_product_bfloat16(block):
    _product(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


def _run_add_rows_float32(block):
    _add_rows(FLOAT32, 4, carray(block, (BLOCK,), np.int64))


def _run_add_rows_bfloat16(block):
    _add_rows(BFLOAT16, 2, carray(block, (BLOCK,), np.int64))


@cache
def compiled(name: str) -> int:
    """Return the address of a kernel: a C function ``void f(long long *block)``.

    Compiling takes about a second, and its result is cached on disk. A cache that cannot be read
    or written costs that second in each process and nothing else.
    """
    function = _uniquely_named(globals()[f"_run_{name}"])
    signature = types.void(types.voidptr)
    try:
        kernel = cfunc(signature, cache=True)(function)
    except Exception as error:  # no writable folder, a full disk, a damaged file
        _log.debug("kernel %s is compiled without a cache: %r", name, error)
        with suppress(Exception):
            FunctionCache(function).flush()  # so that the next process can fill it anew
        kernel = cfunc(signature)(function)
    address: int = kernel.address
    return address
