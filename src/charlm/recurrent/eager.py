"""What the hand-written kernels need of autograd: plain tensors, and first derivatives only."""

from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

from charlm.recurrent.errors import LayerRuntimeError

Gradients: TypeAlias = tuple[Tensor | None, ...]


class LinkedContext(Protocol):
    """The context of an autograd function that uses `once_differentiable`."""

    inputs: tuple[Tensor, ...]
    """Stand for the tensors that the function differentiates, see `linked_to`."""


def is_eager(*tensors: object) -> bool:
    """Return whether these are ordinary tensors that torch neither records nor transforms.

    They are not under `torch.jit.trace`, `torch.export`, ``torch.func`` and forward-mode
    derivatives, with a dispatch mode such as ``FakeTensorMode``, or if one is a tensor subclass or
    on the meta device. A kernel must then not read memory by its address.
    """
    return (
        not torch.compiler.is_exporting()  # first: what follows cannot be exported itself
        and all(map(_is_ordinary, tensors))
        and not torch._C._is_tracing()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and forward_ad._current_level < 0
    )


def _is_ordinary(tensor: object) -> bool:
    return (
        isinstance(tensor, Tensor)
        and type(tensor) in (Tensor, nn.Parameter)
        and not tensor.is_meta
        and tensor.layout == torch.strided
    )


def eager_backward(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Refuse to run a backward pass on gradients that are not ordinary tensors."""

    @wraps(backward)
    def run(ctx: object, *gradients: Tensor) -> Gradients:
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


def once_differentiable(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Mark a backward pass whose gradients have no derivatives of their own.

    Taking such a derivative raises an error, with respect to whatever the gradients depend on: the
    incoming gradients, and the tensors that ``ctx.inputs`` stands for, see `linked_to`. torch's
    decorator of this name forgets the latter.
    """

    @wraps(backward)
    def run(ctx: LinkedContext, *gradients: Tensor) -> Gradients:
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
    """Return what stands for tensors in autograd's graph without keeping their memory."""
    return (_Link.apply(*tensors),) if torch.is_grad_enabled() else ()  # type: ignore[no-untyped-call]


class _Link(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *tensors: Tensor) -> Tensor:
        return torch.empty(0)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Gradients:
        raise AssertionError("nothing is computed from a link")


class _NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, number: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(g.detach() for g in tensors[:number])

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Gradients:
        raise LayerRuntimeError(
            'engine="fused" gives first derivatives only; for second derivatives make the layer '
            'with engine="reference"'
        )
