# mypy: ignore-errors
# ruff: noqa: D417, N803, N806 (Triton's constants are written in capitals; see the module's text)
"""The loops over the steps as Triton kernels: `forward` and `backward`.

A program computes UNITS hidden units for one group of the batch's examples. Products are tiles of
(rows of the weights, examples), so that even 8 examples fill a tile of the tensor cores, whose wide
side is that of the weights.

Each kernel runs in one of two modes:

- RESIDENT: one launch runs all steps. A program loads its part of the recurrent weights once and
  keeps it in shared memory. Between steps, the programs of a group wait for each other: each adds 1
  to a counter and waits until all have. They must all run at once, or some would wait forever.
  Triton's interpreter runs one program after another, so there a group has one program.
- Otherwise one launch runs one step, and the product reads the weights as it goes.

A unit has four slots: the gates i, f, g and o of an LSTM; r, z, m and n of a GRU, where m is the
recurrent product of the candidate n. The first GATES slots of either cell have a recurrent product,
and are the rows of `weight_hh` in their order.

Pointers are given at the first step that a launch runs, and move from step to step. T is the number
of steps, B that of examples, H that of units (SIZE). A tile has BATCH examples and sums over DEPTH
units. All sums are in float32 and in one order.
"""

import triton
import triton.language as tl

# The interpreter multiplies bfloat16 wrongly; in float32 the products are the same.
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def _dot(a, b):
    if INTERPRETED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _add_pairs(x):
    """Add the two numbers along the last axis."""
    a, b = tl.split(x)
    return a + b


@triton.jit
def _load(pointer, mask):
    return tl.load(pointer, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _store(pointer, value, mask):
    tl.store(pointer, value.to(pointer.dtype.element_ty), mask=mask)


@triton.jit
def _wait(arrived, goal):
    """Count this program and wait until `goal` are counted; all then see what any wrote before.

    Adding releases what this program's threads wrote; reading acquires what the others' wrote.
    """
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release", scope="gpu")
    while tl.atomic_add(arrived, 0, sem="acquire", scope="gpu") < goal:
        pass
    tl.debug_barrier()


@triton.jit
def _forward_weights(weight, block, start, SIZE: tl.constexpr, UNITS: tl.constexpr,
                     DEPTH: tl.constexpr, GATES: tl.constexpr):  # fmt: skip
    """Load a program's rows of `weight_hh`, slot by slot, from column `start`: (4·UNITS, DEPTH)."""
    row = tl.arange(0, 4 * UNITS)
    slot, unit = row // UNITS, block * UNITS + row % UNITS
    k = start + tl.arange(0, DEPTH)
    mask = ((slot < GATES) & (unit < SIZE))[:, None] & (k < SIZE)[None, :]
    return tl.load(weight + (slot * SIZE + unit)[:, None] * SIZE + k[None, :], mask, other=0.0)


@triton.jit
def _forward_operand(operands, rows, in_group, start, SIZE: tl.constexpr, DEPTH: tl.constexpr):
    """Load hidden states from unit `start`, (DEPTH, BATCH), past the processor's own cache."""
    k = start + tl.arange(0, DEPTH)
    mask = (k < SIZE)[:, None] & in_group[None, :]
    pointers = operands + rows[None, :] * SIZE + k[:, None]
    return tl.load(pointers, mask, other=0.0, cache_modifier=".cg")


@triton.jit(do_not_specialize=["steps", "batch", "group_size"])
def forward(
    projected, weight, bias, hidden, operands, cells, gates, arrived,
    steps, advance, batch, group_size,
    CELL: tl.constexpr, SIZE: tl.constexpr, UNITS: tl.constexpr, BATCH: tl.constexpr,
    DEPTH: tl.constexpr, RESIDENT: tl.constexpr,
):  # fmt: skip
    """Run a layer from its initial state.

    Args:
        projected: W x of every step, (T, B, G·H).
        weight: `weight_hh`, (G·H, H).
        bias: by slots, (4·H,).
        hidden: hidden states (T + 1, B, H); the first is given, the others are written.
        operands: the same in the dtype of the product.
        cells: the same of an LSTM's cell states.
        gates: written by slots, (T, B, 4·H).
        arrived: one counter per group, 32 numbers apart, zero at first.
        steps: T.
        advance: the distance from a state to the next one, in numbers.
        batch: B.
        group_size: examples per group.
    """
    GATES: tl.constexpr = 4 if CELL == "lstm" else 3
    group, block = tl.program_id(0), tl.program_id(1)
    units = block * UNITS + tl.arange(0, UNITS)
    b0 = _load(bias + units, units < SIZE)[:, None]
    b1 = _load(bias + SIZE + units, units < SIZE)[:, None]
    b2 = _load(bias + 2 * SIZE + units, units < SIZE)[:, None]
    b3 = _load(bias + 3 * SIZE + units, units < SIZE)[:, None]
    if RESIDENT:
        w = _forward_weights(weight, block, 0, SIZE, UNITS, DEPTH, GATES)
    end = tl.minimum((group + 1) * group_size, batch)
    for t in tl.range(0, steps, num_stages=1):
        for first in tl.range(group * group_size, end, BATCH, num_stages=1):
            rows = first + tl.arange(0, BATCH)
            in_group = rows < end
            mask = (units < SIZE)[:, None] & in_group[None, :]
            unit = rows[None, :] * SIZE + units[:, None]
            x = projected + rows[None, :] * GATES * SIZE + units[:, None]
            x0, x1 = _load(x, mask) + b0, _load(x + SIZE, mask) + b1
            x2 = _load(x + 2 * SIZE, mask)
            if CELL == "lstm":
                x2, x3 = x2 + b2, _load(x + 3 * SIZE, mask) + b3
                c = _load(cells + unit, mask)
            else:
                h = _load(hidden + unit, mask)

            if RESIDENT:
                u = _dot(w, _forward_operand(operands, rows, in_group, 0, SIZE, DEPTH))
            else:
                u = tl.zeros((4 * UNITS, BATCH), tl.float32)
                for k in tl.range(0, SIZE, DEPTH):
                    wk = _forward_weights(weight, block, k, SIZE, UNITS, DEPTH, GATES)
                    u += _dot(wk, _forward_operand(operands, rows, in_group, k, SIZE, DEPTH))
            u = u.reshape(2, 2, UNITS, BATCH).permute(2, 3, 0, 1)
            u02, u13 = tl.split(u)
            u0, u2 = tl.split(u02)
            u1, u3 = tl.split(u13)

            slot = gates + rows[None, :] * 4 * SIZE + units[:, None]
            if CELL == "lstm":
                i = tl.sigmoid(x0 + u0)  # i = σ(W_i x + U_i h + b_i)
                f = tl.sigmoid(x1 + u1)  # f = σ(W_f x + U_f h + b_f)
                g = _tanh(x2 + u2)  # g = tanh(W_g x + U_g h + b_g)
                o = tl.sigmoid(x3 + u3)  # o = σ(W_o x + U_o h + b_o)
                c = f * c + i * g  # c' = f ⊙ c + i ⊙ g
                h = o * _tanh(c)  # h' = o ⊙ tanh(c')
                _store(slot, i, mask)
                _store(slot + SIZE, f, mask)
                _store(slot + 2 * SIZE, g, mask)
                _store(slot + 3 * SIZE, o, mask)
                _store(cells + advance + unit, c, mask)
            else:
                r = tl.sigmoid(x0 + u0)  # r = σ(W_r x + U_r h + b_r)
                z = tl.sigmoid(x1 + u1)  # z = σ(W_z x + U_z h + b_z)
                m = u2 + b2  # m = U_n h + b_m
                n = _tanh(x2 + b3 + r * m)  # n = tanh(W_n x + b_n + r ⊙ m)
                h = n + z * (h - n)  # h' = (1 - z) ⊙ n + z ⊙ h
                _store(slot, r, mask)
                _store(slot + SIZE, z, mask)
                _store(slot + 2 * SIZE, m, mask)
                _store(slot + 3 * SIZE, n, mask)
            _store(hidden + advance + unit, h, mask)
            _store(operands + advance + unit, h, mask)
        projected += batch * GATES * SIZE
        gates += batch * 4 * SIZE
        hidden += advance
        operands += advance
        cells += advance
        if RESIDENT:
            _wait(arrived + group * 32, (t + 1) * tl.num_programs(1))


@triton.jit
def _backward_parts(start, DEPTH: tl.constexpr):
    """Return the slots (8, 1) and the units (8, DEPTH) of the 8 parts of a sum over both.

    One warp sums each part; then the parts are added.
    """
    part = tl.arange(0, 8)[:, None]
    return part // 2, start + part % 2 * DEPTH + tl.arange(0, DEPTH)[None, :]


@triton.jit
def _backward_weights(weight, units, start, SIZE: tl.constexpr, DEPTH: tl.constexpr,
                      GATES: tl.constexpr):  # fmt: skip
    """Load a program's columns of `weight_hh`, (8, UNITS, DEPTH)."""
    slot, k = _backward_parts(start, DEPTH)
    mask = ((slot < GATES) & (k < SIZE))[:, None, :] & (units < SIZE)[None, :, None]
    pointers = weight + (slot * SIZE + k)[:, None, :] * SIZE + units[None, :, None]
    return tl.load(pointers, mask, other=0.0)


@triton.jit
def _backward_operand(d_gates, rows, in_group, start, SIZE: tl.constexpr, DEPTH: tl.constexpr,
                      GATES: tl.constexpr):  # fmt: skip
    """Load gradients with respect to the gates' arguments, (8, DEPTH, BATCH)."""
    slot, k = _backward_parts(start, DEPTH)
    mask = ((slot < GATES) & (k < SIZE))[:, :, None] & in_group[None, None, :]
    pointers = d_gates + rows[None, None, :] * 4 * SIZE + (slot * SIZE + k)[:, :, None]
    return tl.load(pointers, mask, other=0.0, cache_modifier=".cg")


@triton.jit(do_not_specialize=["steps", "batch", "group_size", "d_h_counts"])
def backward(
    weight, gates, cells, hidden, d_outputs, d_gates, d_h, d_c, arrived,
    steps, batch, group_size, d_h_counts,
    CELL: tl.constexpr, SIZE: tl.constexpr, UNITS: tl.constexpr, BATCH: tl.constexpr,
    DEPTH: tl.constexpr, RESIDENT: tl.constexpr,
):  # fmt: skip
    """Run the backward pass of a layer, from the last step to the first.

    Args:
        weight: as in `forward`.
        gates: as in `forward`, at the last step, as are the other tensors with steps.
        cells: the cell states before each step, (T, B, H).
        hidden: the hidden states before each step, (T, B, H).
        d_outputs: (T, B, H).
        d_gates: written by slots, (T + 1, B, 4·H), zero after the last step.
        d_h: gradient with respect to the final hidden state, (B, H). A GRU replaces it by the part
            of the gradient that does not pass through the gates, step by step.
        d_c: gradient with respect to an LSTM's cell state, (B, H), replaced step by step.
        arrived: as in `forward`.
        steps: as in `forward`.
        batch: as in `forward`.
        group_size: as in `forward`.
        d_h_counts: whether to add an LSTM's d_h: the launch runs the last step.
    """
    GATES: tl.constexpr = 4 if CELL == "lstm" else 3
    group, block = tl.program_id(0), tl.program_id(1)
    units = block * UNITS + tl.arange(0, UNITS)
    if RESIDENT:
        w = _backward_weights(weight, units, 0, SIZE, DEPTH, GATES)
    end = tl.minimum((group + 1) * group_size, batch)
    for t in tl.range(0, steps, num_stages=1):
        for first in tl.range(group * group_size, end, BATCH, num_stages=1):
            rows = first + tl.arange(0, BATCH)
            in_group = rows < end
            mask = (units < SIZE)[:, None] & in_group[None, :]
            unit = rows[None, :] * SIZE + units[:, None]
            slot = rows[None, :] * 4 * SIZE + units[:, None]
            d_output = _load(d_outputs + unit, mask)
            s0, s1 = _load(gates + slot, mask), _load(gates + SIZE + slot, mask)
            s2, s3 = _load(gates + 2 * SIZE + slot, mask), _load(gates + 3 * SIZE + slot, mask)
            if CELL == "lstm":
                d_output += _load(d_h + unit, mask & (d_h_counts != 0) & (t == 0))
                c, new_c = _load(cells + unit, mask), _load(cells + batch * SIZE + unit, mask)
                dc = _load(d_c + unit, mask)
            else:
                d_output += _load(d_h + unit, mask)
                h = _load(hidden + unit, mask)

            # The hidden state after this step is an input of the next step's gates: d_a U.
            after = d_gates + batch * 4 * SIZE
            if RESIDENT:
                x = _backward_operand(after, rows, in_group, 0, SIZE, DEPTH, GATES)
                u = _dot(w, x)
            else:
                u = tl.zeros((8, UNITS, BATCH), tl.float32)
                for k in tl.range(0, SIZE, 2 * DEPTH):
                    wk = _backward_weights(weight, units, k, SIZE, DEPTH, GATES)
                    x = _backward_operand(after, rows, in_group, k, SIZE, DEPTH, GATES)
                    u += _dot(wk, x)
            u = u.reshape(2, 2, 2, UNITS, BATCH).permute(3, 4, 0, 1, 2)
            dh = d_output + _add_pairs(_add_pairs(_add_pairs(u)))

            if CELL == "lstm":
                i, f, g, o, tanh_c = s0, s1, s2, s3, _tanh(new_c)
                dc += dh * o * (1 - tanh_c * tanh_c)  # h' = o ⊙ tanh(c')
                _store(d_gates + slot, dc * g * i * (1 - i), mask)  # c' = f ⊙ c + i ⊙ g
                _store(d_gates + SIZE + slot, dc * c * f * (1 - f), mask)
                _store(d_gates + 2 * SIZE + slot, dc * i * (1 - g * g), mask)
                _store(d_gates + 3 * SIZE + slot, dh * tanh_c * o * (1 - o), mask)
                _store(d_c + unit, dc * f, mask)
            else:
                r, z, m, n = s0, s1, s2, s3
                dn = dh * (1 - z) * (1 - n * n)  # h' = (1 - z) ⊙ n + z ⊙ h
                _store(d_gates + slot, dn * m * r * (1 - r), mask)  # n = tanh(… + r ⊙ m)
                _store(d_gates + SIZE + slot, dh * (h - n) * z * (1 - z), mask)
                _store(d_gates + 2 * SIZE + slot, dn * r, mask)
                _store(d_gates + 3 * SIZE + slot, dn, mask)
                _store(d_h + unit, dh * z, mask)
        gates -= batch * 4 * SIZE
        d_gates -= batch * 4 * SIZE
        cells -= batch * SIZE
        hidden -= batch * SIZE
        d_outputs -= batch * SIZE
        if RESIDENT:
            _wait(arrived + group * 32, (t + 1) * tl.num_programs(1))
