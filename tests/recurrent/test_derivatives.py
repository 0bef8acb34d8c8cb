"""Second derivatives: the reference engine has them, the fused one says that it has none."""

import pytest
import torch
from torch import nn

from charlm.errors import CharlmError
from charlm.recurrent import GRU, LSTM

CELLS = (LSTM, GRU)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def penalty(layer, inputs, state, head):
    """A gradient penalty as of WGAN-GP, and its gradient with respect to the weights."""
    inputs = inputs.detach().requires_grad_()
    score = head(layer(inputs, state)[0]).mean() * 100
    (gradient,) = torch.autograd.grad(score, inputs, create_graph=True)
    loss = (gradient.norm(dim=-1) - 1).pow(2).mean()
    return loss, torch.autograd.grad(loss, tuple(layer.parameters()), allow_unused=True)


HEADS = {
    "mean": lambda: nn.Identity(),
    "linear": lambda: nn.Linear(8, 1, dtype=torch.float64),
    "frozen": lambda: nn.Linear(8, 1, dtype=torch.float64).requires_grad_(False),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("layer_count", [1, 2])
def test_reference_s_second_derivatives_are_torch_s(cell, head, layer_count):
    torch.manual_seed(0)
    head = HEADS[head]()
    layer = cell(5, 8, layer_count, engine="reference", dtype=torch.float64)
    peer = getattr(nn, cell.__name__)(5, 8, layer_count, dtype=torch.float64)
    peer.load_state_dict(layer.state_dict())
    inputs = torch.randn(4, 3, 5, dtype=torch.float64)
    state = torch.randn(2, layer_count, 3, 8, dtype=torch.float64).unbind()
    found = [
        penalty(each, inputs, state if cell is LSTM else state[0], head) for each in (layer, peer)
    ]
    torch.testing.assert_close(found[0][0], found[1][0])
    for (name, _), ours, theirs in zip(
        layer.named_parameters(), *(gradients for _, gradients in found), strict=True
    ):
        ours, theirs = (torch.zeros(()) if g is None else g for g in (ours, theirs))
        torch.testing.assert_close(ours, theirs.expand_as(ours), msg=f"{name} differs")


@pytest.mark.parametrize("cell", CELLS)
def test_gradgradcheck(cell):
    layer = cell(2, 3, 2, engine="reference", dtype=torch.float64)
    inputs = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    state = torch.randn(2, 2, 2, 3, dtype=torch.float64).unbind()
    state = [part.requires_grad_() for part in state[: 2 if cell is LSTM else 1]]
    leaves = dict(layer.named_parameters())

    def function(inputs, *tensors):
        given, weights = tensors[: len(state)], tensors[len(state) :]
        outputs, final = torch.func.functional_call(
            layer,
            dict(zip(leaves, weights, strict=True)),
            (inputs, given if len(given) == 2 else given[0]),
        )
        return outputs, *parts(final)

    assert torch.autograd.gradgradcheck(function, (inputs, *state, *leaves.values()))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("head", HEADS)
def test_the_fused_engine_refuses_to_be_differentiated_twice(cell, precision, head):
    head = HEADS[head]().float()
    layer = cell(5, 8, engine="fused", precision=precision)
    with pytest.raises(CharlmError, match='engine="reference"') as raised:
        penalty(layer, torch.randn(4, 3, 5), None, head)
    assert isinstance(raised.value, RuntimeError)


@pytest.mark.parametrize("cell", CELLS)
def test_first_derivatives_with_create_graph_are_the_same(cell):
    """The error comes only with a second derivative, and gradients may be changed in place."""
    layer = cell(5, 32, engine="fused")
    inputs = torch.randn(4, 3, 5)
    layer(inputs)[0].sum().backward()
    expected = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    layer(inputs)[0].sum().backward(create_graph=True)
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)
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
def test_a_batch_of_gradients_is_refused(cell, engine):
    layer = cell(5, 8, engine=engine)
    inputs = torch.randn(4, 3, 5, requires_grad=True)
    outputs, _ = layer(inputs)
    with pytest.raises(CharlmError, match="is_grads_batched=False"):
        torch.autograd.grad(outputs, inputs, torch.randn(7, *outputs.shape), is_grads_batched=True)

    def gradient(incoming):
        return torch.autograd.grad(outputs, inputs, incoming, retain_graph=True)[0]

    with pytest.raises(CharlmError, match="is_grads_batched=False"):
        torch.vmap(gradient)(torch.randn(7, *outputs.shape))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_going_back_twice_needs_retain_graph(cell, engine):
    layer = cell(5, 8, engine=engine)
    loss = layer(torch.randn(4, 3, 5))[0].sum()
    loss.backward(retain_graph=True)
    first = [p.grad.clone() for p in layer.parameters()]
    loss.backward()
    for parameter, gradient in zip(layer.parameters(), first, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
