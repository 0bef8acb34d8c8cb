"""The equations of the LSTM and the GRU, forward and backward: the reference for every engine.

This is plain tensor algebra, one gate and one step at a time, in the precision of the arguments.
The engines compute the same numbers faster and are tested against it.

Notation, for one step of a batch: x is the input, h the hidden state and c the cell state before
the step; W_* weighs the input and U_* the hidden state, b_* is a bias, σ the logistic function and
⊙ the element-wise product. Rows are examples, so "W x" is written ``x @ W.T``. In the backward
functions, ``d_v`` is the gradient of the loss with respect to v, and ``d_a_*`` is the gradient with
respect to a gate's argument, before its non-linearity.

The gates of an LSTM: the input gate i decides how much of the input node g (the candidate) enters
the cell state, the forget gate f how much of the cell state stays, and the output gate o how much
of it the hidden state shows.

As in PyTorch, a layer's weights are stacked by gate: ``weight_ih = [W_i; W_f; W_g; W_o]`` for an
LSTM and ``[W_r; W_z; W_n]`` for a GRU. ``weight_hh`` and the two biases have the same order.

Shapes: inputs (T, B, I), states (B, H), weight_ih (G·H, I), weight_hh (G·H, H), biases (G·H,), with
T steps, B examples, I input features, H hidden units and G gates (4 in an LSTM, 3 in a GRU).

Sources:
    S. Hochreiter, J. Schmidhuber: Long short-term memory. Neural Computation 9(8), 1997,
        doi:10.1162/neco.1997.9.8.1735.
    F. Gers, J. Schmidhuber, F. Cummins: Learning to forget: continual prediction with LSTM. Neural
        Computation 12(10), 2000, doi:10.1162/089976600300015015 (the forget gate).
    K. Cho et al.: Learning phrase representations using RNN encoder-decoder for statistical machine
        translation. EMNLP 2014, arXiv:1406.1078 (the GRU).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class LSTMStep(NamedTuple):
    """The values of one LSTM step that the backward pass needs, (B, H) except x, (B, I)."""

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

    Args:
        inputs: (T, B, I).
        h: hidden state before the first step, (B, H).
        c: cell state before the first step, (B, H).
        weight_ih: [W_i; W_f; W_g; W_o], (4·H, I).
        weight_hh: [U_i; U_f; U_g; U_o], (4·H, H).
        bias_ih: (4·H,).
        bias_hh: (4·H,); only the sum of the two biases matters.

    Returns:
        The hidden state after each step (T, B, H), the final cell state (B, H), and one record per
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
    """Compute the gradients of `lstm`, from the last step to the first.

    Args:
        steps: the third result of `lstm`.
        weight_ih: as given to `lstm`, (4·H, I).
        weight_hh: as given to `lstm`, (4·H, H).
        d_outputs: gradient with respect to the first result of `lstm`, (T, B, H).
        d_h: gradient with respect to the final hidden state, (B, H).
        d_c: gradient with respect to the final cell state, (B, H).

    Returns:
        The gradients with respect to inputs, initial h, initial c, weight_ih, weight_hh, and
        either bias: they are the same, as only the sum of the biases matters.
    """
    d_inputs = []
    d_weight_ih = torch.zeros_like(weight_ih)
    d_weight_hh = torch.zeros_like(weight_hh)
    d_bias = torch.zeros_like(weight_ih[:, 0])
    for (x, h, c, i, f, g, o, tanh_c), d_output in zip(
        reversed(steps), d_outputs.flip(0), strict=True
    ):
        d_h = d_h + d_output  # h' is an output, and an input of the next step
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
    """The values of one GRU step that the backward pass needs, (B, H) except x, (B, I)."""

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

    This is PyTorch's variant: the reset gate acts after the recurrent product rather than before it
    as in Cho et al., so the three recurrent products of a step are one.

    Args:
        inputs: (T, B, I).
        h: hidden state before the first step, (B, H).
        weight_ih: [W_r; W_z; W_n], (3·H, I).
        weight_hh: [U_r; U_z; U_n], (3·H, H).
        bias_ih: [b_r; b_z; b_n], (3·H,).
        bias_hh: (3·H,), with b_m as its last third; its other thirds are added to b_r and b_z.

    Returns:
        The hidden state after each step (T, B, H), and one record per step for `gru_backward`.
    """
    W_r, W_z, W_n = weight_ih.chunk(3)  # noqa: N806
    U_r, U_z, U_n = weight_hh.chunk(3)  # noqa: N806
    b_r, b_z, _ = (bias_ih + bias_hh).chunk(3)
    b_n, b_m = bias_ih.chunk(3)[2], bias_hh.chunk(3)[2]
    outputs, steps = [], []
    for x in inputs:
        r = torch.sigmoid(x @ W_r.T + h @ U_r.T + b_r)  # reset gate:  r = σ(W_r x + U_r h + b_r)
        z = torch.sigmoid(x @ W_z.T + h @ U_z.T + b_z)  # update gate: z = σ(W_z x + U_z h + b_z)
        m = h @ U_n.T + b_m  # recurrent:   m = U_n h + b_m
        n = torch.tanh(x @ W_n.T + b_n + r * m)  # candidate:   n = tanh(W_n x + b_n + r ⊙ m)
        new_h = (1 - z) * n + z * h  # hidden state: h' = (1 - z) ⊙ n + z ⊙ h
        steps.append(GRUStep(x, h, r, z, n, m))
        h = new_h
        outputs.append(h)
    return torch.stack(outputs), steps


def gru_backward(
    steps: list[GRUStep], weight_ih: Tensor, weight_hh: Tensor, d_outputs: Tensor, d_h: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of `gru`, from the last step to the first.

    Args:
        steps: the second result of `gru`.
        weight_ih: as given to `gru`, (3·H, I).
        weight_hh: as given to `gru`, (3·H, H).
        d_outputs: gradient with respect to the first result of `gru`, (T, B, H).
        d_h: gradient with respect to the final hidden state, (B, H).

    Returns:
        The gradients with respect to inputs, initial h, weight_ih, weight_hh, bias_ih and bias_hh.
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
        # the input is a term of a_r, a_z and a_n, the hidden state of a_r, a_z and m
        d_a = torch.cat([d_a_r, d_a_z, d_a_n], dim=1)
        d_b = torch.cat([d_a_r, d_a_z, d_m], dim=1)
        d_weight_ih += d_a.T @ x
        d_weight_hh += d_b.T @ h
        d_bias_ih += d_a.sum(0)
        d_bias_hh += d_b.sum(0)
        d_inputs.append(d_a @ weight_ih)
        d_h = d_h + d_b @ weight_hh
    return torch.stack(d_inputs).flip(0), d_h, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh
