"""The heart of a matrix product: a tile of results that stays in registers."""

# mypy: ignore-errors
# (The compiled half is in Numba's language, whose types mypy does not know.)

import itertools
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from charlm.recurrent.cpu.target import GRU_VECTORS, ROWS, SCRATCH_ROW, VECTORS, kernel_function
from charlm.recurrent.cpu.vectors import (
    FLOATS,
    I32,
    I64,
    PAIRS,
    call_function,
    fill,
    fused_multiply_add,
    pointer,
)


def make_tile(rows: int, vectors: int, panels: int = 1) -> Any:
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
        number = I32 if pairs else ir.FloatType()
        vector = PAIRS if pairs else FLOATS

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, a, across, along, last, b, k, c, pitch = arguments

            def read(address: Any, offset: Any, what: Any) -> Any:
                return builder.load(pointer(builder, builder.add(address, offset), what), align=4)

            def multiply(total: Any, x: Any, y: Any) -> Any:
                if pairs:
                    name = "llvm.x86.avx512bf16.dpbf16ps.512"
                    return call_function(builder, name, FLOATS, total, builder.bitcast(x, PAIRS), y)
                return fused_multiply_add(builder, x, y, total)

            places = [
                (r, v, builder.add(builder.mul(pitch, I64(r)), I64(64 * v)))
                for r in range(rows)
                for v in range(panels * vectors)
            ]
            panel = builder.mul(k, I64(64 * vectors))
            starts = []
            for r in range(rows):
                row = builder.select(builder.icmp_signed("<", I64(r), last), I64(r), last)
                starts.append(builder.add(a, builder.mul(row, across)))
            initial = [read(c, place, FLOATS) for _, _, place in places]
            before = builder.block
            loop = builder.append_basic_block("products")
            after = builder.append_basic_block("sums")
            builder.branch(loop)

            builder.position_at_end(loop)
            step = builder.phi(I64)
            sums = [builder.phi(FLOATS) for _ in places]
            packed = builder.mul(step, I64(64 * vectors))
            columns = []
            for p, v in itertools.product(range(panels), range(vectors)):
                place = builder.add(builder.mul(panel, I64(p)), I64(64 * v))
                columns.append(read(b, builder.add(packed, place), vector))
            offset = builder.mul(step, along)
            numbers = [fill(builder, read(start, offset, number)) for start in starts]
            results = [
                multiply(total, numbers[r], columns[v])
                for (r, v, _), total in zip(places, sums, strict=True)
            ]
            next_step = builder.add(step, I64(1))
            builder.cbranch(builder.icmp_signed("<", next_step, k), loop, after)
            step.add_incoming(I64(0), before)
            step.add_incoming(next_step, loop)
            for total, first, result in zip(sums, initial, results, strict=True):
                total.add_incoming(first, before)
                total.add_incoming(result, loop)

            builder.position_at_end(after)
            for (_, _, place), result in zip(places, results, strict=True):
                builder.store(result, pointer(builder, builder.add(c, place), FLOATS), align=4)
            return context.get_dummy_value()

        return types.void(kind, *[types.int64] * 8), generate

    return tile


def make_multiply(vectors: int, together: int) -> Any:
    """Make a function that multiplies by `vectors` · 16 columns, packed `together` vectors a panel.

    One row alone, and a second, go by all panels at once, which keeps as many sums in flight.
    """
    tile, row = make_tile(ROWS, together), make_tile(1, together, vectors // together)

    def multiply(kind, a, stride, rows, b, k, c):
        """Add the products of up to ROWS rows at `a` to the rows of sums at `c`."""
        if rows <= 2:
            for r in range(rows):
                row(kind, a + r * stride, 0, 4, 0, b, k, c + r * SCRATCH_ROW, 0)
        else:
            for v in range(0, vectors, together):
                tile(kind, a, stride, 4, rows - 1, b + v * k * 64, k, c + v * 64, SCRATCH_ROW)

    return kernel_function(multiply, f"_{vectors}x{together}")


multiply_lstm, multiply_gru = make_multiply(4, VECTORS), make_multiply(3, GRU_VECTORS)
multiply_back = make_multiply(2, VECTORS)
full_tile, single_row = make_tile(ROWS, VECTORS), make_tile(1, VECTORS)
