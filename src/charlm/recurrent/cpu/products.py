"""Matrix products and sums of rows, compiled by Numba.

In compiled code, `dtype` is FLOAT32 or BFLOAT16, `itemsize` the bytes of such a number, and `a` a
record of `charlm.recurrent.cpu.arguments`, which gives the shapes.
"""

# mypy: ignore-errors
# (Written in the subset of Python that Numba compiles; mypy does not know its types.)

from charlm.recurrent.cpu.arguments import LANES
from charlm.recurrent.cpu.target import (
    BLOCK_DEPTH,
    BLOCK_ROWS,
    FLOAT32,
    PANEL_COLUMNS,
    TILE_ROWS,
    kernel_function,
)
from charlm.recurrent.cpu.threads import share
from charlm.recurrent.cpu.tiles import full_tile, single_row
from charlm.recurrent.cpu.vectors import interleave, load, load_integer, store


@kernel_function
def add_rows(dtype, itemsize, a):
    """Add each row of numbers to a row of sums, in the order of the rows.

    The threads share the columns, so that no two add to the same number. `a` is an
    `AddRowsArguments`.
    """
    rows, width, batch = a.rows, a.width, a.batch
    numbers, indices, sums = a.numbers, a.indices, a.sums
    first, end, _ = share(width // LANES, a.team)
    for row in range(rows):
        source = numbers + row * width * itemsize
        number = load_integer(indices + row * 8) if indices != 0 else row // batch
        row_of_sums = sums + number * width * 4
        for column in range(first * LANES, end * LANES, LANES):
            to = row_of_sums + column * 4
            store(FLOAT32, to, load(FLOAT32, to) + load(dtype, source + column * itemsize))


@kernel_function
def _pack_rows(dtype, itemsize, to, source, stride, rows, columns):
    """Copy a block of a matrix into 32-bit words, (words, columns), as a tile reads them.

    With float32, a row of the block becomes a row of words. With bfloat16, two rows become one: the
    numbers of a column form a word, and an odd last row is paired with zeros.

    Args:
        dtype: of the matrix.
        itemsize: bytes of a number.
        to: address of the copy.
        source: address of the block.
        stride: bytes from a row of the block to the next.
        rows: number of rows.
        columns: number of columns, a multiple of 16.
    """
    per_word = 4 // itemsize
    for word in range((rows + per_word - 1) // per_word):
        upper = source + word * per_word * stride
        lower = upper + stride if word * per_word + 1 < rows else 0
        for column in range(0, columns, LANES):
            offset = column * itemsize
            words = to + (word * columns + column) * 4
            interleave(dtype, words, upper + offset, lower + offset if lower != 0 else 0)


@kernel_function
def product(dtype, itemsize, a):
    """Add A B to C. `a` is a `ProductArguments`.

    The loops are those of K. Goto, R. van de Geijn: Anatomy of high-performance matrix
    multiplication. ACM Transactions on Mathematical Software 34(3), 2008. The inner dimension is
    split into blocks, B is packed into panels of columns, and so is A if it is transposed. The
    threads share the rows of C; each packs B for itself.
    """
    m, n, k, transposed = a.m, a.n, a.k, a.transposed
    a_start, a_stride, b_start, b_stride, c_start = a.a, a.a_stride, a.b, a.b_stride, a.c
    first, end, thread = share((m + BLOCK_ROWS - 1) // BLOCK_ROWS, a.team)
    packed_a = a.scratch + thread * (n + BLOCK_ROWS) * BLOCK_DEPTH * 4
    packed_b = packed_a + BLOCK_ROWS * BLOCK_DEPTH * 4
    block_depth = BLOCK_DEPTH * 4 // itemsize
    for start in range(0, k, block_depth):
        depth = min(block_depth, k - start)
        words = (depth * itemsize + 3) // 4
        for column in range(0, n, PANEL_COLUMNS):
            panel = packed_b + column * BLOCK_DEPTH * 4
            source = b_start + start * b_stride + column * itemsize
            _pack_rows(dtype, itemsize, panel, source, b_stride, depth, PANEL_COLUMNS)
        for block in range(first, end):
            row = block * BLOCK_ROWS
            rows = min(BLOCK_ROWS, m - row)
            if transposed:
                source = a_start + start * a_stride + row * itemsize
                _pack_rows(dtype, itemsize, packed_a, source, a_stride, depth, rows)
                block_start, row_stride, word_stride = packed_a, 4, rows * 4
            else:
                block_start = a_start + row * a_stride + start * itemsize
                row_stride, word_stride = a_stride, 4
            for column in range(0, n, PANEL_COLUMNS):
                panel = packed_b + column * BLOCK_DEPTH * 4
                for r in range(0, rows, TILE_ROWS):
                    tile_start = block_start + r * row_stride
                    sums = c_start + ((row + r) * n + column) * 4
                    tile_rows = min(TILE_ROWS, rows - r)
                    if tile_rows == TILE_ROWS:
                        full_tile(
                            dtype,
                            a=tile_start,
                            row_stride=row_stride,
                            word_stride=word_stride,
                            last_row=TILE_ROWS - 1,
                            b=panel,
                            words=words,
                            sums=sums,
                            pitch=n * 4,
                        )
                    else:
                        for extra in range(tile_rows):
                            single_row(
                                dtype,
                                a=tile_start + extra * row_stride,
                                row_stride=0,
                                word_stride=word_stride,
                                last_row=0,
                                b=panel,
                                words=words,
                                sums=sums + extra * n * 4,
                                pitch=0,
                            )
