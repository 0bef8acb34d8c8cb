"""Second derivatives: the reference engine has them, the fused engine refuses them."""

from collections.abc import Callable

import pytest
import torch
from tests.recurrent.common import (
    CELLS,
    PEERS,
    Layer,
    TorchLayer,
    as_hx,
    parameter_gradients,
    parts,
    random_state,
)
from torch import Tensor, nn

from charlm.errors import CharlmError
from charlm.recurrent import EngineName, Precision, State


def penalty(
    layer: Layer | TorchLayer, inputs: Tensor, state: Tensor | State | None, head: nn.Module
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Return a gradient penalty and its gradient with respect to the weights.

    I. Gulrajani et al.: Improved training of Wasserstein GANs. NeurIPS 2017.
    """
    inputs = inputs.detach().requires_grad_()
    score = head(layer(inputs, state)[0]).mean() * 100
    (gradient,) = torch.autograd.grad(score, inputs, create_graph=True)
    loss = (gradient.norm(dim=-1) - 1).pow(2).mean()
    return loss, torch.autograd.grad(loss, tuple(layer.parameters()), allow_unused=True)


HEADS: dict[str, Callable[[], nn.Module]] = {
    "mean": lambda: nn.Identity(),
    "linear": lambda: nn.Linear(8, 1, dtype=torch.float64),
    "frozen": lambda: nn.Linear(8, 1, dtype=torch.float64).requires_grad_(False),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("layer_count", [1, 2])
def test_reference_s_second_derivatives_are_torch_s(
    cell: type[Layer], head: str, layer_count: int
) -> None:
    torch.manual_seed(0)
    module = HEADS[head]()
    layer = cell(5, 8, layer_count, engine="reference", dtype=torch.float64)
    peer = PEERS[cell](5, 8, layer_count, dtype=torch.float64)
    peer.load_state_dict(layer.state_dict())
    inputs = torch.randn(4, 3, 5, dtype=torch.float64)
    hx = as_hx(random_state(cell, layer_count, 3, 8, torch.float64))
    loss, gradients = penalty(layer, inputs, hx, module)
    expected, expected_gradients = penalty(peer, inputs, hx, module)
    torch.testing.assert_close(loss, expected)
    for (name, parameter), ours, theirs in zip(
        layer.named_parameters(), gradients, expected_gradients, strict=True
    ):
        zero = torch.zeros_like(parameter)
        torch.testing.assert_close(
            zero if ours is None else ours,
            zero if theirs is None else theirs,
            msg=f"{name} differs",
        )


@pytest.mark.parametrize("cell", CELLS)
def test_gradgradcheck(cell: type[Layer]) -> None:
    layer = cell(2, 3, 2, engine="reference", dtype=torch.float64)
    inputs = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    state = [part.requires_grad_() for part in random_state(cell, 2, 2, 3, torch.float64)]
    leaves = dict(layer.named_parameters())

    def function(inputs: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        given, weights = tensors[: len(state)], tensors[len(state) :]
        outputs, final = torch.func.functional_call(
            layer, dict(zip(leaves, weights, strict=True)), (inputs, as_hx(given))
        )
        return outputs, *parts(final)

    assert torch.autograd.gradgradcheck(function, (inputs, *state, *leaves.values()))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("head", HEADS)
def test_the_fused_engine_refuses_to_be_differentiated_twice(
    cell: type[Layer], precision: Precision, head: str
) -> None:
    layer = cell(5, 8, engine="fused", precision=precision)
    with pytest.raises(CharlmError, match='engine="reference"') as raised:
        penalty(layer, torch.randn(4, 3, 5), None, HEADS[head]().float())
    assert isinstance(raised.value, RuntimeError)


@pytest.mark.parametrize("cell", CELLS)
def test_first_derivatives_with_create_graph_are_the_same(cell: type[Layer]) -> None:
    """Only a second derivative raises an error, and gradients may be changed in place."""
    layer = cell(5, 32, engine="fused")
    inputs = torch.randn(4, 3, 5)
    layer(inputs)[0].sum().backward()
    expected = parameter_gradients(layer)
    layer.zero_grad()
    layer(inputs)[0].sum().backward(create_graph=True)
    for ours, gradient in zip(parameter_gradients(layer), expected, strict=True):
        assert torch.equal(ours, gradient)
    with torch.no_grad():
        nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    gradients = torch.autograd.grad(
        layer(inputs)[0].sum(), tuple(layer.parameters()), create_graph=True
    )
    for gradient in gradients:
        gradient.mul_(2)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_batch_of_gradients_is_refused(cell: type[Layer], engine: EngineName) -> None:
    layer = cell(5, 8, engine=engine)
    inputs = torch.randn(4, 3, 5, requires_grad=True)
    outputs, _ = layer(inputs)
    with pytest.raises(CharlmError, match="is_grads_batched=False"):
        torch.autograd.grad(outputs, inputs, torch.randn(7, *outputs.shape), is_grads_batched=True)

    def gradient(incoming: Tensor) -> Tensor:
        return torch.autograd.grad(outputs, inputs, incoming, retain_graph=True)[0]

    with pytest.raises(CharlmError, match="is_grads_batched=False"):
        torch.vmap(gradient)(torch.randn(7, *outputs.shape))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_second_backward_pass_needs_retain_graph(cell: type[Layer], engine: EngineName) -> None:
    layer = cell(5, 8, engine=engine)
    loss = layer(torch.randn(4, 3, 5))[0].sum()
    loss.backward(retain_graph=True)
    first = parameter_gradients(layer)
    loss.backward()
    for ours, gradient in zip(parameter_gradients(layer), first, strict=True):
        torch.testing.assert_close(ours, 2 * gradient)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
