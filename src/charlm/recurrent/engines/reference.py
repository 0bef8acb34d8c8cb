"""Engine `reference`: the equations as written, in the precision of the parameters."""

from typing import cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from charlm.recurrent import equations
from charlm.recurrent.eager import eager_backward
from charlm.recurrent.engines.base import Cell, Parameters, Precision, State, look_up

# With create_graph, the backward passes compute the steps again as functions of the arguments, so
# that autograd can differentiate the backward pass, which is plain tensor algebra, too.


class _LSTMContext(FunctionCtx):
    saved_tensors: tuple[Tensor, ...]  # inputs, h, c and the four parameters
    steps: list[equations.LSTMStep]


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _LSTMContext, *arguments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(*arguments)
        outputs, c, ctx.steps = equations.lstm(*arguments)
        return outputs, outputs[-1].clone(), c

    @staticmethod
    @eager_backward
    def backward(ctx: _LSTMContext, *gradients: Tensor) -> tuple[Tensor, ...]:
        arguments = ctx.saved_tensors
        steps = equations.lstm(*arguments)[-1] if torch.is_grad_enabled() else ctx.steps
        *others, d_bias = equations.lstm_backward(steps, *arguments[3:5], *gradients)
        return *others, d_bias, d_bias.clone()


class _GRUContext(FunctionCtx):
    saved_tensors: tuple[Tensor, ...]  # inputs, h and the four parameters
    steps: list[equations.GRUStep]


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _GRUContext, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*arguments)
        outputs, ctx.steps = equations.gru(*arguments)
        return outputs, outputs[-1].clone()

    @staticmethod
    @eager_backward
    def backward(ctx: _GRUContext, *gradients: Tensor) -> tuple[Tensor, ...]:
        arguments = ctx.saved_tensors
        steps = equations.gru(*arguments)[-1] if torch.is_grad_enabled() else ctx.steps
        return equations.gru_backward(steps, *arguments[2:4], *gradients)


def run_reference(
    cell: Cell,
    inputs: Tensor,
    *,
    indices: Tensor | None,
    state: State,
    parameters: Parameters,
    precision: Precision,
) -> tuple[Tensor, State]:
    """Run one layer by `charlm.recurrent.equations`; see `Engine`. `precision` has no effect."""
    function = _LSTM if cell == "lstm" else _GRU
    results = function.apply(look_up(inputs, indices), *state, *parameters)  # type: ignore[no-untyped-call]
    outputs, *final = cast("tuple[Tensor, ...]", results)
    return outputs, tuple(final)
