"""What the hand-written kernels need of autograd: plain tensors, and first derivatives only."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from charlm.recurrent.errors import LayerRuntimeError

_Backward = Callable[..., tuple[Tensor | None, ...]]


def is_eager(*tensors: Any) -> bool:
    """Whether these are ordinary tensors that torch neither records nor transforms.

    It is not so under `torch.jit.trace`, `torch.export`, ``torch.func`` and forward-mode
    derivatives, with a dispatch mode such as ``FakeTensorMode``, and for tensor subclasses and the
    meta device. A kernel must then not read memory by its address.
    """
    return (
        not torch.compiler.is_exporting()  # first: what follows cannot be exported itself
        and all(
            type(t) in (Tensor, nn.Parameter) and not t.is_meta and t.layout == torch.strided
            for t in tensors
        )
        and not torch._C._is_tracing()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and forward_ad._current_level < 0
    )


def eager_backward(backward: _Backward) -> _Backward:
    """Refuse to run a backward pass on gradients that are not ordinary tensors."""

    @wraps(backward)
    def run(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if not all(map(_has_memory, gradients)):
            raise LayerRuntimeError(
                "the backward pass takes one gradient at a time, and plain tensors: use "
                "is_grads_batched=False and vectorize=False"
            )
        return backward(ctx, *gradients)

    return run


def _has_memory(tensor: Tensor) -> bool:
    return (
        type(tensor) is Tensor
        and not tensor.is_meta
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not torch._C._functorch.is_legacy_batchedtensor(tensor)
    )


def once_differentiable(backward: _Backward) -> _Backward:
    """Mark a backward pass whose gradients have no derivatives of their own.

    To take such a derivative raises an error, with respect to whatever the gradients depend on:
    the incoming gradients, and what ``ctx.inputs`` stands for, see `linked_to`. torch's decorator
    of this name forgets the latter.
    """

    @wraps(backward)
    def run(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = backward(ctx, *gradients)
        if not torch.is_grad_enabled():  # it is with create_graph
            return found
        tensors = [g for g in found if g is not None]
        marked = _NoDerivative.apply(len(tensors), *tensors, *ctx.inputs, *gradients)  # type: ignore[no-untyped-call]
        rest = iter(marked)
        return tuple(None if g is None else next(rest) for g in found)

    return run


def linked_to(*tensors: Tensor) -> tuple[Tensor, ...]:
    """What stands for tensors in autograd's graph without keeping their memory."""
    return (_Link.apply(*tensors),) if torch.is_grad_enabled() else ()  # type: ignore[no-untyped-call]


class _Link(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        return torch.empty(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise AssertionError("nothing is computed from a link")


class _NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, number: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(g.detach() for g in tensors[:number])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise LayerRuntimeError(
            'engine="fused" gives first derivatives only; for second derivatives make the layer '
            'with engine="reference"'
        )
