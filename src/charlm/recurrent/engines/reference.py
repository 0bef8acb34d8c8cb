"""Engine `reference`: our equations as written."""

from typing import Any

import torch
from torch import Tensor

from charlm.recurrent import equations
from charlm.recurrent.eager import eager_backward
from charlm.recurrent.engines.base import Parameters, State, look_up

# With create_graph the steps are computed again: as functions of the arguments, so that autograd
# can differentiate the backward pass, which is plain tensor algebra too.


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(*arguments)
        outputs, c, ctx.steps = equations.lstm(*arguments)
        return outputs, outputs[-1].clone(), c

    @staticmethod
    @eager_backward
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        arguments = ctx.saved_tensors
        steps = equations.lstm(*arguments)[-1] if torch.is_grad_enabled() else ctx.steps
        *others, d_bias = equations.lstm_backward(steps, *arguments[3:5], *gradients)
        return *others, d_bias, d_bias.clone()


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*arguments)
        outputs, ctx.steps = equations.gru(*arguments)
        return outputs, outputs[-1].clone()

    @staticmethod
    @eager_backward
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        arguments = ctx.saved_tensors
        steps = equations.gru(*arguments)[-1] if torch.is_grad_enabled() else ctx.steps
        return equations.gru_backward(steps, *arguments[2:4], *gradients)


class Reference:
    """`equations`, forward and backward, in the precision of the parameters."""

    @staticmethod
    def lstm(
        inputs: Tensor,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: str,
    ) -> tuple[Tensor, State]:
        """Run an LSTM layer."""
        outputs, h, c = _LSTM.apply(look_up(inputs, indices), *state, *parameters)  # type: ignore[no-untyped-call]
        return outputs, (h, c)

    @staticmethod
    def gru(
        inputs: Tensor,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: str,
    ) -> tuple[Tensor, State]:
        """Run a GRU layer."""
        outputs, h = _GRU.apply(look_up(inputs, indices), *state, *parameters)  # type: ignore[no-untyped-call]
        return outputs, (h,)
