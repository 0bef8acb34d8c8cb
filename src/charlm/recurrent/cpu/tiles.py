"""The innermost part of a matrix product: a tile of sums that stays in registers."""

# mypy: ignore-errors
# (Numba and llvmlite publish no types; the annotations here name their classes.)

import itertools

from llvmlite import ir
from numba import types
from numba.core.dispatcher import Dispatcher

from charlm.recurrent.cpu.target import (
    GRU_TILE_VECTORS,
    SUMS_PITCH,
    TILE_ROWS,
    TILE_VECTORS,
    kernel_function,
)
from charlm.recurrent.cpu.vectors import (
    BFLOAT_PAIRS,
    DTYPE,
    FLOAT,
    FLOATS,
    INT32,
    INT64,
    CompiledFunction,
    call_function,
    fused_multiply_add,
    instruction,
    pointer,
    splat,
)


def _multiply_add(
    builder: ir.IRBuilder, dtype: types.Type, total: ir.Value, x: ir.Value, y: ir.Value
) -> ir.Value:
    """``total + x * y``: of floats, or of pairs of bfloat16, of which both products are added."""
    if dtype == types.float32:
        return fused_multiply_add(builder, x, y, total)
    name = "llvm.x86.avx512bf16.dpbf16ps.512"
    return call_function(builder, name, FLOATS, total, builder.bitcast(x, BFLOAT_PAIRS), y)


def make_tile(rows: int, vectors: int, panels: int = 1) -> CompiledFunction:
    """Make a function that multiplies `rows` rows by `panels` · `vectors` · 16 columns.

    The sums stay in registers until all products have been added. Each iteration of its loop loads
    `vectors` vectors of each panel of packed weights and one word of each row. A word is a number
    of float32 or a pair of bfloat16.
    """

    @instruction(types.void, DTYPE, *[types.int64] * 8)
    def tile(
        builder: ir.IRBuilder,
        dtype: types.Type,
        a: ir.Value,
        row_stride: ir.Value,
        word_stride: ir.Value,
        last_row: ir.Value,
        b: ir.Value,
        words: ir.Value,
        sums: ir.Value,
        pitch: ir.Value,
    ) -> None:
        """Add the product of rows and packed weights to the sums.

        Args:
            builder: where to emit.
            dtype: of the operands.
            a: address of the rows.
            row_stride: bytes from a row to the next.
            word_stride: bytes from a word of a row to the next.
            last_row: number of the last row; it is read in place of all that follow.
            b: address of the packed weights: (panels, words, vectors, 16) words.
            words: length of the inner dimension, in words.
            sums: address of the sums: (rows, panels, vectors, 16) floats.
            pitch: bytes from a row of sums to the next.
        """
        is_float = dtype == types.float32
        word, vector = (FLOAT, FLOATS) if is_float else (INT32, BFLOAT_PAIRS)

        def load(address: ir.Value, offset: ir.Value, value: ir.Type) -> ir.Value:
            return builder.load(pointer(builder, builder.add(address, offset), value), align=4)

        offsets = [
            (r, v, builder.add(builder.mul(pitch, INT64(r)), INT64(64 * v)))
            for r in range(rows)
            for v in range(panels * vectors)
        ]
        panel_bytes = builder.mul(words, INT64(64 * vectors))
        starts = []
        for r in range(rows):
            row = builder.select(builder.icmp_signed("<", INT64(r), last_row), INT64(r), last_row)
            starts.append(builder.add(a, builder.mul(row, row_stride)))
        initial = [load(sums, offset, FLOATS) for _, _, offset in offsets]
        before = builder.block
        loop = builder.append_basic_block("products")
        after = builder.append_basic_block("sums")
        builder.branch(loop)

        builder.position_at_end(loop)
        step = builder.phi(INT64)
        totals = [builder.phi(FLOATS) for _ in offsets]
        packed = builder.mul(step, INT64(64 * vectors))
        columns = []
        for p, v in itertools.product(range(panels), range(vectors)):
            offset = builder.add(builder.mul(panel_bytes, INT64(p)), INT64(64 * v))
            columns.append(load(b, builder.add(packed, offset), vector))
        offset = builder.mul(step, word_stride)
        numbers = [splat(builder, load(start, offset, word)) for start in starts]
        results = [
            _multiply_add(builder, dtype, total, numbers[r], columns[v])
            for (r, v, _), total in zip(offsets, totals, strict=True)
        ]
        next_step = builder.add(step, INT64(1))
        builder.cbranch(builder.icmp_signed("<", next_step, words), loop, after)
        step.add_incoming(INT64(0), before)
        step.add_incoming(next_step, loop)
        for total, first, result in zip(totals, initial, results, strict=True):
            total.add_incoming(first, before)
            total.add_incoming(result, loop)

        builder.position_at_end(after)
        for (_, _, offset), result in zip(offsets, results, strict=True):
            builder.store(result, pointer(builder, builder.add(sums, offset), FLOATS), align=4)

    return tile


def make_multiply(vectors: int, vectors_per_panel: int) -> Dispatcher:
    """Make a function that multiplies up to TILE_ROWS rows by `vectors` · 16 columns.

    One or two rows are multiplied one at a time by all panels at once, which keeps as many sums in
    registers as a whole tile has.
    """
    tile = make_tile(TILE_ROWS, vectors_per_panel)
    single_row = make_tile(1, vectors_per_panel, vectors // vectors_per_panel)

    def multiply(dtype, a, row_stride, rows, b, words, sums):
        """Add the product of the rows at `a` and the packed weights at `b` to the sums.

        Args:
            dtype: of the operands.
            a: address of the rows, each of `words` 32-bit words.
            row_stride: bytes from a row to the next.
            rows: number of rows, at most TILE_ROWS.
            b: address of the packed weights: (panels, words, vectors per panel, 16) words.
            words: length of the inner dimension, in words.
            sums: address of the sums: rows of SUMS_PITCH bytes.
        """
        if rows <= 2:
            for r in range(rows):
                single_row(
                    dtype,
                    a=a + r * row_stride,
                    row_stride=0,
                    word_stride=4,
                    last_row=0,
                    b=b,
                    words=words,
                    sums=sums + r * SUMS_PITCH,
                    pitch=0,
                )
        else:
            for v in range(0, vectors, vectors_per_panel):
                tile(
                    dtype,
                    a=a,
                    row_stride=row_stride,
                    word_stride=4,
                    last_row=rows - 1,
                    b=b + v * words * 64,
                    words=words,
                    sums=sums + v * 64,
                    pitch=SUMS_PITCH,
                )

    return kernel_function(multiply, f"_{vectors}x{vectors_per_panel}")


multiply_lstm = make_multiply(4, TILE_VECTORS)
multiply_gru = make_multiply(3, GRU_TILE_VECTORS)
multiply_backward = make_multiply(2, TILE_VECTORS)
full_tile, single_row = make_tile(TILE_ROWS, TILE_VECTORS), make_tile(1, TILE_VECTORS)
