"""The LSTM and the GRU as they are written, forward and backward: the oracle for all else.

Everything here is plain tensor algebra, a gate at a time and a step at a time, and works in the
precision of its arguments. The engines compute the same numbers faster and are tested against it.

Notation, for one step t of a batch: x is the input, h the hidden state and c the cell state before
the step, W_* weighs the input, U_* the hidden state, b_* is a bias, σ the logistic function and ⊙
the product element by element. Rows are examples, so "W x" is written ``x @ W.T``. In the backward
half ``d_v`` is the gradient of the loss with respect to v, and ``d_a_*`` that with respect to a
gate's argument, before its non-linearity.

An LSTM's gates are named after their work, and by letters: the input gate i lets in, the forget
gate f keeps, the output gate o lets out, and the input node g, called a candidate elsewhere, is
what there is to let in.

As in PyTorch, a layer's weights are stacked by gate: ``weight_ih = [W_i; W_f; W_g; W_o]`` for an
LSTM and ``[W_r; W_z; W_n]`` for a GRU, ``weight_hh`` and the two biases likewise.

Shapes: inputs (T, B, I), states (B, H), weight_ih (G·H, I), weight_hh (G·H, H), biases (G·H,), with
T steps, B examples, I input features, H hidden units and G gates (4 in an LSTM, 3 in a GRU).

Sources:
    S. Hochreiter, J. Schmidhuber: Long short-term memory. Neural Computation 9(8), 1997.
    F. Gers, J. Schmidhuber, F. Cummins: Learning to forget. Neural Computation 12(10), 2000
        (the forget gate).
    K. Cho et al.: Learning phrase representations using RNN encoder-decoder. EMNLP 2014 (the GRU).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class LSTMStep(NamedTuple):
    """What the backward pass needs of one LSTM step, each (B, H) but for x, which is (B, I)."""

    x: Tensor
    h: Tensor
    c: Tensor
    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    tanh_c: Tensor


def lstm(
    inputs: Tensor,
    h: Tensor,
    c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> tuple[Tensor, Tensor, list[LSTMStep]]:
    """Run an LSTM layer over a sequence from the state (h, c).

    Returns:
        The hidden state after each step (T, B, H), the last cell state (B, H), and one record a
        step for `lstm_backward`.
    """
    W_i, W_f, W_g, W_o = weight_ih.chunk(4)  # noqa: N806
    U_i, U_f, U_g, U_o = weight_hh.chunk(4)  # noqa: N806
    b_i, b_f, b_g, b_o = (bias_ih + bias_hh).chunk(4)
    outputs, steps = [], []
    for x in inputs:
        i = torch.sigmoid(x @ W_i.T + h @ U_i.T + b_i)  # input gate:  i = σ(W_i x + U_i h + b_i)
        f = torch.sigmoid(x @ W_f.T + h @ U_f.T + b_f)  # forget gate: f = σ(W_f x + U_f h + b_f)
        g = torch.tanh(x @ W_g.T + h @ U_g.T + b_g)  # input node:  g = tanh(W_g x + U_g h + b_g)
        o = torch.sigmoid(x @ W_o.T + h @ U_o.T + b_o)  # output gate: o = σ(W_o x + U_o h + b_o)
        new_c = f * c + i * g  # cell state:   c' = f ⊙ c + i ⊙ g
        tanh_c = torch.tanh(new_c)
        new_h = o * tanh_c  # hidden state: h' = o ⊙ tanh(c')
        steps.append(LSTMStep(x, h, c, i, f, g, o, tanh_c))
        h, c = new_h, new_c
        outputs.append(h)
    return torch.stack(outputs), c, steps


def lstm_backward(
    steps: list[LSTMStep],
    weight_ih: Tensor,
    weight_hh: Tensor,
    d_outputs: Tensor,
    d_h: Tensor,
    d_c: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Go back through the steps of `lstm`, last to first.

    Args:
        steps: the third result of `lstm`.
        weight_ih: as given to `lstm`.
        weight_hh: as given to `lstm`.
        d_outputs: gradient with respect to the first result of `lstm`, (T, B, H).
        d_h: gradient with respect to the last hidden state, (B, H).
        d_c: gradient with respect to the last cell state, (B, H).

    Returns:
        The gradients with respect to inputs, first h, first c, weight_ih, weight_hh, and to either
        bias (they are the same, as only the biases' sum counts).
    """
    d_inputs = []
    d_weight_ih = torch.zeros_like(weight_ih)
    d_weight_hh = torch.zeros_like(weight_hh)
    d_bias = torch.zeros_like(weight_ih[:, 0])
    for (x, h, c, i, f, g, o, tanh_c), d_output in zip(
        reversed(steps), d_outputs.flip(0), strict=True
    ):
        d_h = d_h + d_output  # h' goes two ways: out of the layer, and on in time
        # h' = o ⊙ tanh(c'), and tanh' = 1 - tanh²
        d_o = d_h * tanh_c
        d_c = d_c + d_h * o * (1 - tanh_c**2)
        # c' = f ⊙ c + i ⊙ g
        d_i = d_c * g
        d_f = d_c * c
        d_g = d_c * i
        d_c = d_c * f
        # σ' = σ (1 - σ)
        d_a_i = d_i * i * (1 - i)
        d_a_f = d_f * f * (1 - f)
        d_a_g = d_g * (1 - g**2)
        d_a_o = d_o * o * (1 - o)
        # a = W x + U h + b, all four gates at once
        d_a = torch.cat([d_a_i, d_a_f, d_a_g, d_a_o], dim=1)
        d_weight_ih += d_a.T @ x
        d_weight_hh += d_a.T @ h
        d_bias += d_a.sum(0)
        d_inputs.append(d_a @ weight_ih)
        d_h = d_a @ weight_hh
    return torch.stack(d_inputs).flip(0), d_h, d_c, d_weight_ih, d_weight_hh, d_bias


class GRUStep(NamedTuple):
    """What the backward pass needs of one GRU step, each (B, H) but for x, which is (B, I)."""

    x: Tensor
    h: Tensor
    r: Tensor
    z: Tensor
    n: Tensor
    m: Tensor


def gru(
    inputs: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> tuple[Tensor, list[GRUStep]]:
    """Run a GRU layer over a sequence from the state h.

    This is PyTorch's variant, in which the reset gate acts after the recurrent product rather than
    before it as in Cho et al.; with it the three recurrent products of a step are one.

    Returns:
        The hidden state after each step (T, B, H), and one record a step for `gru_backward`.
    """
    W_r, W_z, W_n = weight_ih.chunk(3)  # noqa: N806
    U_r, U_z, U_n = weight_hh.chunk(3)  # noqa: N806
    b_r, b_z, _ = (bias_ih + bias_hh).chunk(3)
    b_n, b_m = bias_ih.chunk(3)[2], bias_hh.chunk(3)[2]
    outputs, steps = [], []
    for x in inputs:
        r = torch.sigmoid(x @ W_r.T + h @ U_r.T + b_r)  # reset gate:  r = σ(W_r x + U_r h + b_r)
        z = torch.sigmoid(x @ W_z.T + h @ U_z.T + b_z)  # update gate: z = σ(W_z x + U_z h + b_z)
        m = h @ U_n.T + b_m  # memory of h:  m = U_n h + b_m
        n = torch.tanh(x @ W_n.T + b_n + r * m)  # candidate:   n = tanh(W_n x + b_n + r ⊙ m)
        new_h = (1 - z) * n + z * h  # hidden state: h' = (1 - z) ⊙ n + z ⊙ h
        steps.append(GRUStep(x, h, r, z, n, m))
        h = new_h
        outputs.append(h)
    return torch.stack(outputs), steps


def gru_backward(
    steps: list[GRUStep], weight_ih: Tensor, weight_hh: Tensor, d_outputs: Tensor, d_h: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Go back through the steps of `gru`, last to first.

    Args:
        steps: the second result of `gru`.
        weight_ih: as given to `gru`.
        weight_hh: as given to `gru`.
        d_outputs: gradient with respect to the first result of `gru`, (T, B, H).
        d_h: gradient with respect to the last hidden state, (B, H).

    Returns:
        The gradients with respect to inputs, first h, weight_ih, weight_hh, bias_ih and bias_hh.
    """
    d_inputs = []
    d_weight_ih = torch.zeros_like(weight_ih)
    d_weight_hh = torch.zeros_like(weight_hh)
    d_bias_ih = torch.zeros_like(weight_ih[:, 0])
    d_bias_hh = torch.zeros_like(weight_ih[:, 0])
    for (x, h, r, z, n, m), d_output in zip(reversed(steps), d_outputs.flip(0), strict=True):
        d_h = d_h + d_output
        # h' = (1 - z) ⊙ n + z ⊙ h
        d_n = d_h * (1 - z)
        d_z = d_h * (h - n)
        d_h = d_h * z
        # n = tanh(a_n), a_n = W_n x + b_n + r ⊙ m
        d_a_n = d_n * (1 - n**2)
        d_r = d_a_n * m
        d_m = d_a_n * r
        # σ' = σ (1 - σ)
        d_a_r = d_r * r * (1 - r)
        d_a_z = d_z * z * (1 - z)
        # the input meets a_r, a_z, a_n; the hidden state meets a_r, a_z, m
        d_a = torch.cat([d_a_r, d_a_z, d_a_n], dim=1)
        d_b = torch.cat([d_a_r, d_a_z, d_m], dim=1)
        d_weight_ih += d_a.T @ x
        d_weight_hh += d_b.T @ h
        d_bias_ih += d_a.sum(0)
        d_bias_hh += d_b.sum(0)
        d_inputs.append(d_a @ weight_ih)
        d_h = d_h + d_b @ weight_hh
    return torch.stack(d_inputs).flip(0), d_h, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh
