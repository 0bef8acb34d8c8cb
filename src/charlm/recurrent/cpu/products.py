"""Matrix products and sums of rows, compiled by Numba."""

# mypy: ignore-errors
# (The compiled half is in Numba's language, whose types mypy does not know.)

from charlm.recurrent.cpu.target import DEPTH, FLOAT32, GROUP, LANES, PANEL, ROWS, kernel_function
from charlm.recurrent.cpu.threads import share
from charlm.recurrent.cpu.tiles import full_tile, single_row
from charlm.recurrent.cpu.vectors import pack, read, read_integer, write


@kernel_function
def add_rows(kind, wide, a):
    """Add each row of numbers to a row of sums, in the rows' order.

    The index of a row gives its row of sums; without indices, it is the step, of `batch` rows.
    """
    team, count, width, numbers = a[0], a[2], a[3], a[4]
    indices, batch, sums = a[5], a[6], a[7]
    first, last, _ = share(width // LANES, team)
    for row in range(count):
        source = numbers + row * width * wide
        to = read_integer(indices + row * 8) if indices != 0 else row // batch
        target = sums + to * width * 4
        for column in range(first * LANES, last * LANES, LANES):
            total = read(FLOAT32, target + column * 4) + read(kind, source + column * wide)
            write(FLOAT32, target + column * 4, total)


@kernel_function
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


@kernel_function
def product(kind, wide, a):
    """Add to C (m, n) the product of A (m, k) and B (k, n), where n is a multiple of 32.

    A may come as its transpose (k, m); then m, too, is a multiple of 32.
    """
    team, scratch, m, n, k = a[0], a[1], a[2], a[3], a[4]
    a_start, across, transposed = a[5], a[6], a[7]
    b_start, b_stride, c_start = a[8], a[9], a[10]
    groups = (m + GROUP - 1) // GROUP
    first, last, me = share(groups, team)
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
                            single_row(
                                kind, place + extra * apart, 0, along, 0, panel, words,
                                c + extra * n * 4, 0,
                            )  # fmt: skip
                    else:
                        full_tile(kind, place, apart, along, ROWS - 1, panel, words, c, n * 4)
