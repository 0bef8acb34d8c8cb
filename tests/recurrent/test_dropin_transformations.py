"""Transformed, recorded and compiled layers compute what torch's layers do."""

import pytest
import torch
from tests.recurrent.common import Layer
from tests.recurrent.dropin import Behaviours, New, gradients, x
from torch import nn

from charlm.recurrent import GRU, LSTM, EngineName

BEHAVIOURS = Behaviours(
    refused={
        "symbolic_trace": "torch.fx.symbolic_trace",
        "second_derivatives": "Second derivatives",
        "hessian": "Second derivatives",
        "batched_gradients": "is_grads_batched",
        "vectorized_jacobian": "vectorized Jacobians",
    }
)


@BEHAVIOURS.add
def functional_gradient(new: New) -> object:
    layer = new(5, 6)
    values = {name: p.detach() for name, p in layer.named_parameters()}
    return torch.func.grad(
        lambda v: torch.func.functional_call(layer, v, (x(),))[0].square().sum()
    )(values)


@BEHAVIOURS.add
def vmap(new: New) -> object:
    return torch.vmap(new(5, 6))(x(2, 4, 3, 5))


@BEHAVIOURS.add
def jvp(new: New) -> object:
    layer = new(5, 6)
    return torch.func.jvp(lambda t: layer(t)[0], (x(),), (x() + 1,))


@BEHAVIOURS.add
def forward_derivative(new: New) -> object:
    layer = new(5, 6)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x(), x() + 1)
        return torch.autograd.forward_ad.unpack_dual(layer(dual)[0]).tangent


@BEHAVIOURS.add
def jacobian(new: New) -> object:
    layer = new(5, 6)
    return torch.autograd.functional.jacobian(lambda t: layer(t)[0], x(2, 1, 5))


@BEHAVIOURS.add
def vectorized_jacobian(new: New) -> object:
    layer = new(5, 6)
    return torch.autograd.functional.jacobian(lambda t: layer(t)[0], x(2, 1, 5), vectorize=True)


@BEHAVIOURS.add
def batched_gradients(new: New) -> object:
    inputs = x().requires_grad_()
    outputs, _ = new(5, 6)(inputs)
    return torch.autograd.grad(outputs, inputs, x(7, *outputs.shape), is_grads_batched=True)


@BEHAVIOURS.add
def second_derivatives(new: New) -> object:
    layer, inputs = new(5, 6), x().requires_grad_()
    (gradient,) = torch.autograd.grad(layer(inputs)[0].sum(), inputs, create_graph=True)
    return gradients(layer, gradient)


@BEHAVIOURS.add
def hessian(new: New) -> object:
    layer = new(2, 3)
    return torch.autograd.functional.hessian(lambda t: layer(t)[0].sum(), x(2, 1, 2))


@BEHAVIOURS.add
def create_graph_alone(new: New) -> object:
    layer = new(5, 6)
    return torch.autograd.grad(layer(x())[0].sum(), tuple(layer.parameters()), create_graph=True)


@BEHAVIOURS.add
def symbolic_trace(new: New) -> object:
    return torch.fx.symbolic_trace(nn.Sequential(new(5, 6)))(x())


@BEHAVIOURS.add
def traced(new: New) -> object:
    return torch.jit.trace(new(5, 6), x())(x(2, 3, 5))


@BEHAVIOURS.add
def scripted(new: New) -> object:
    return torch.jit.script(new(5, 6, 2))(x())


@BEHAVIOURS.add
def exported(new: New) -> object:
    return torch.export.export(nn.Sequential(new(5, 6)), (x(),)).module()(x())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "engine", "name"), BEHAVIOURS.cases())
def test_transformations_work_as_torch_s(cell: type[Layer], engine: EngineName, name: str) -> None:
    BEHAVIOURS.check(cell, engine, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("name", BEHAVIOURS.refused)
def test_what_the_docstring_names_is_refused(cell: type[Layer], name: str) -> None:
    BEHAVIOURS.check_refused(cell, name)
