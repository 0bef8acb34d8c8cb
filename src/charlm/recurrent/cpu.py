"""Engine `fused` on the CPU: hand-written forward and backward, one autograd node a layer.

The gradients are those of `charlm.recurrent.equations`; what differs is the order of the work.
All that does not wait for the previous step is done for all steps at once: the input products
before the loop (a look-up of rows where the inputs are rows of a table), and after the backward
loop one product for each weight gradient. In the loop remain one recurrent product a step and the
point-wise part.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Fused:
    """The engine; see `charlm.recurrent.reference` for the form of the two functions."""

    @staticmethod
    def lstm(inputs: Tensor, indices: Tensor | None, *others: Any) -> tuple[Tensor, ...]:
        """Run an LSTM layer."""
        h, c, *weights, precision = others
        return _Layer.apply(_LSTMLoops, inputs, indices, precision, *weights, h, c)  # type: ignore[no-any-return, no-untyped-call]

    @staticmethod
    def gru(inputs: Tensor, indices: Tensor | None, *others: Any) -> tuple[Tensor, ...]:
        """Run a GRU layer."""
        h, *weights, precision = others
        return _Layer.apply(_GRULoops, inputs, indices, precision, *weights, h)  # type: ignore[no-any-return, no-untyped-call]


class _Layer(torch.autograd.Function):
    """One layer over a sequence; `loops` holds what differs between the cells."""

    @staticmethod
    def forward(
        ctx: Any,
        loops: Any,
        inputs: Tensor,
        indices: Tensor | None,
        precision: str,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        dtype = torch.bfloat16 if precision == "bfloat16" else weight_ih.dtype
        inputs, w_ih, w_hh = inputs.to(dtype), weight_ih.to(dtype), weight_hh.to(dtype)
        bias, hidden_bias = loops.split_bias(bias_ih, bias_hh)
        gates = (inputs @ w_ih.T).to(weight_ih.dtype) + bias
        if indices is not None:
            gates = gates[indices]
        hidden, saved, final = loops.forward(gates, w_hh.T, hidden_bias, *state)
        ctx.save_for_backward(inputs, indices, w_ih, w_hh, hidden, *saved)
        ctx.loops = loops
        return hidden[1:], hidden[-1].clone(), *final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Any, ...]:
        inputs, indices, w_ih, w_hh, hidden, *saved = ctx.saved_tensors
        d_gates, d_products, d_state = ctx.loops.backward(hidden, *saved, w_hh, *d_outputs)
        d_gates, d_products = d_gates.flatten(0, 1), d_products.flatten(0, 1)
        d_bias_ih, d_bias_hh = d_gates.sum(0), d_products.sum(0)
        d_products = d_products.to(w_hh.dtype)
        d_weight_hh = d_products.T @ hidden[:-1].flatten(0, 1).to(w_hh.dtype)
        if indices is not None:  # as if the table itself had been the input, once
            rows = indices.flatten()
            d_gates = d_gates.new_zeros(len(inputs), d_gates.shape[1]).index_add_(0, rows, d_gates)
        d_gates = d_gates.to(w_ih.dtype)
        d_weight_ih = d_gates.T @ inputs.reshape(-1, inputs.shape[-1])
        d_inputs = (d_gates @ w_ih).view_as(inputs) if ctx.needs_input_grad[1] else None
        return None, d_inputs, None, None, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh, *d_state


class _LSTMLoops:
    @staticmethod
    def split_bias(bias_ih: Tensor, bias_hh: Tensor) -> tuple[Tensor, None]:
        return bias_ih + bias_hh, None

    @staticmethod
    def forward(
        gates: Tensor, w: Tensor, _: None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        steps, size = len(gates), h.shape[1]
        hidden, cells = h.new_empty(steps + 1, *h.shape), h.new_empty(steps + 1, *h.shape)
        hidden[0], cells[0] = h, c
        for t in range(steps):
            a = gates[t].add_(hidden[t].to(w.dtype) @ w)
            a[:, : 2 * size].sigmoid_()
            a[:, 2 * size : 3 * size].tanh_()
            a[:, 3 * size :].sigmoid_()
            i, f, g, o = a.chunk(4, dim=1)
            torch.mul(f, cells[t], out=cells[t + 1]).addcmul_(i, g)
            torch.tanh(cells[t + 1], out=hidden[t + 1]).mul_(o)
        return hidden, (gates, cells), (cells[-1].clone(),)

    @staticmethod
    def backward(
        hidden: Tensor,
        gates: Tensor,
        cells: Tensor,
        w: Tensor,
        d_outputs: Tensor,
        d_h: Tensor,
        d_c: Tensor,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        d_gates = torch.empty_like(gates)
        for t in reversed(range(len(gates))):
            i, f, g, o = gates[t].chunk(4, dim=1)
            d_i, d_f, d_g, d_o = d_gates[t].chunk(4, dim=1)
            tanh_c = cells[t + 1].tanh()
            d_h = d_h + d_outputs[t]
            d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
            torch.mul(d_h * tanh_c, o * (1 - o), out=d_o)
            torch.mul(d_c * g, i * (1 - i), out=d_i)
            torch.mul(d_c * cells[t], f * (1 - f), out=d_f)
            torch.mul(d_c * i, 1 - g * g, out=d_g)
            d_c = d_c * f
            d_h = (d_gates[t].to(w.dtype) @ w).to(d_h.dtype)
        return d_gates, d_gates, (d_h, d_c)


class _GRULoops:
    @staticmethod
    def split_bias(bias_ih: Tensor, bias_hh: Tensor) -> tuple[Tensor, Tensor]:
        # The candidate's recurrent bias stays apart: the reset gate multiplies it.
        bias, size = bias_ih + bias_hh, len(bias_ih) // 3
        bias[2 * size :] = bias_ih[2 * size :]
        return bias, bias_hh[2 * size :]

    @staticmethod
    def forward(
        gates: Tensor, w: Tensor, bias: Tensor, h: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[()]]:
        steps, size = len(gates), h.shape[1]
        hidden, memories = h.new_empty(steps + 1, *h.shape), h.new_empty(steps, *h.shape)
        hidden[0] = h
        for t in range(steps):
            products = (hidden[t].to(w.dtype) @ w).to(h.dtype)
            gates[t, :, : 2 * size].add_(products[:, : 2 * size]).sigmoid_()
            r, z, n = gates[t].chunk(3, dim=1)
            torch.add(products[:, 2 * size :], bias, out=memories[t])
            n.addcmul_(r, memories[t]).tanh_()
            torch.lerp(n, hidden[t], z, out=hidden[t + 1])
        return hidden, (gates, memories), ()

    @staticmethod
    def backward(
        hidden: Tensor, gates: Tensor, memories: Tensor, w: Tensor, d_outputs: Tensor, d_h: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor]]:
        # The gradients of the gates' arguments, and those of the recurrent products' results: the
        # two differ in the candidate's third.
        d_gates, d_products = torch.empty_like(gates), torch.empty_like(gates)
        size = hidden.shape[2]
        for t in reversed(range(len(gates))):
            r, z, n = gates[t].chunk(3, dim=1)
            d_r, d_z, d_n = d_gates[t].chunk(3, dim=1)
            d_h = d_h + d_outputs[t]
            torch.mul(d_h * (1 - z), 1 - n * n, out=d_n)
            torch.mul(d_h * (hidden[t] - n), z * (1 - z), out=d_z)
            torch.mul(d_n * memories[t], r * (1 - r), out=d_r)
            d_products[t, :, : 2 * size] = d_gates[t, :, : 2 * size]
            torch.mul(d_n, r, out=d_products[t, :, 2 * size :])
            d_h = d_h * z + (d_products[t].to(w.dtype) @ w).to(d_h.dtype)
        return d_gates, d_products, (d_h,)
