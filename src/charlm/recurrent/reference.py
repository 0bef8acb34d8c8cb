"""The two engines that need no explanation: our equations as written, and PyTorch's own layers.

An engine is a pair of functions, `lstm` and `gru`, that run one layer over a sequence:
``(inputs, indices, h, [c,] weight_ih, weight_hh, bias_ih, bias_hh, precision)`` gives
``(outputs, h, [c])``. Shapes are those of `charlm.recurrent.equations`; with `indices` (T, B),
`inputs` is a table (V, I) and step t of example b reads its row ``indices[t, b]``.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from charlm.recurrent import equations
from charlm.recurrent.eager import eager_backward

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
    def lstm(inputs: Tensor, indices: Tensor | None, *others: Any) -> tuple[Tensor, ...]:
        """Run an LSTM layer."""
        return _LSTM.apply(_look_up(inputs, indices), *others[:-1])  # type: ignore[no-any-return, no-untyped-call]

    @staticmethod
    def gru(inputs: Tensor, indices: Tensor | None, *others: Any) -> tuple[Tensor, ...]:
        """Run a GRU layer."""
        return _GRU.apply(_look_up(inputs, indices), *others[:-1])  # type: ignore[no-any-return, no-untyped-call]


class Torch:
    """The functions that `torch.nn.LSTM` and `torch.nn.GRU` call."""

    @staticmethod
    def lstm(
        inputs: Tensor,
        indices: Tensor | None,
        h: Tensor,
        c: Tensor,
        *weights_and_precision: Any,
    ) -> tuple[Tensor, ...]:
        """Run an LSTM layer."""
        *weights, precision = weights_and_precision
        dtype = h.dtype
        with _autocast(inputs, precision):
            read = _look_up(inputs, indices).to(dtype)
            outputs, h, c = torch.lstm(
                read, (h[None], c[None]), weights, True, 1, 0.0, True, False, False
            )
        return outputs.to(dtype), h[0].to(dtype), c[0].to(dtype)

    @staticmethod
    def gru(
        inputs: Tensor, indices: Tensor | None, h: Tensor, *weights_and_precision: Any
    ) -> tuple[Tensor, ...]:
        """Run a GRU layer."""
        *weights, precision = weights_and_precision
        dtype = h.dtype
        with _autocast(inputs, precision):
            read = _look_up(inputs, indices).to(dtype)
            outputs, h = torch.gru(read, h[None], weights, True, 1, 0.0, True, False, False)
        return outputs.to(dtype), h[0].to(dtype)


def _look_up(inputs: Tensor, indices: Tensor | None) -> Tensor:
    return inputs if indices is None else functional.embedding(indices, inputs)


def _autocast(inputs: Tensor, precision: str) -> torch.autocast:
    """Let torch multiply in bfloat16 if asked to, except where its LSTM cannot: without AVX-512."""
    device = inputs.device.type
    able = device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device, torch.bfloat16, enabled=able and precision == "bfloat16")
