"""Parametrized, pruned and functionally replaced weights work as in torch."""

import copy
import warnings

import pytest
import torch
from tests.recurrent.common import Layer
from tests.recurrent.dropin import Behaviours, New, gradients, x
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from charlm.recurrent import GRU, LSTM, EngineName

BEHAVIOURS = Behaviours(
    refused={
        "functional_call_of_other_shape": "shapes that do not fit",
    }
)


@BEHAVIOURS.add
def weight_norm(new: New) -> object:
    layer = parametrizations.weight_norm(new(5, 6), "weight_hh_l0")
    return gradients(layer, layer(x())[0]), repr(layer)


@BEHAVIOURS.add
def weight_norm_by_hook(new: New) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = nn.utils.weight_norm(new(5, 6), "weight_hh_l0")
    return gradients(layer, layer(x())[0])


@BEHAVIOURS.add
def spectral_norm(new: New) -> object:
    layer = parametrizations.spectral_norm(new(5, 6), "weight_hh_l0").eval()
    return gradients(layer, layer(x())[0])


@BEHAVIOURS.add
def orthogonal(new: New) -> object:
    layer = parametrizations.orthogonal(new(5, 6), "weight_hh_l0")
    return gradients(layer, layer(x())[0])


@BEHAVIOURS.add
def own_parametrization(new: New) -> object:
    class Double(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    layer = new(5, 6, 2)
    for name in ("weight_ih_l0", "bias_hh_l1"):
        parametrize.register_parametrization(layer, name, Double())
    with parametrize.cached():
        cached = layer(x())
    found = gradients(layer, layer(x())[0])
    parametrize.remove_parametrizations(layer, "weight_ih_l0")
    return cached, found, layer(x()), list(layer.state_dict())


@BEHAVIOURS.add
def deepcopy_of_a_parametrized_layer(new: New) -> object:
    layer = parametrizations.weight_norm(new(5, 6), "weight_hh_l0")
    return copy.deepcopy(layer)(x())


@BEHAVIOURS.add
def pruned(new: New) -> object:
    layer = new(5, 6)
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    found = gradients(layer, layer(x())[0])
    prune.remove(layer, "weight_hh_l0")
    return found, layer(x()), list(layer.state_dict())


@BEHAVIOURS.add
def functional_call_with_tensors(new: New) -> object:
    layer = new(5, 6)
    values = {name: p.detach() * 2 for name, p in layer.named_parameters()}
    return torch.func.functional_call(layer, values, (x(),)), layer(x())


@BEHAVIOURS.add
def functional_call_in_part(new: New) -> object:
    layer = new(5, 6)
    weight = (layer.weight_hh_l0.detach() * 2).requires_grad_()
    outputs, _ = torch.func.functional_call(layer, {"weight_hh_l0": weight}, (x(),))
    outputs.sum().backward()
    return weight.grad, layer.weight_hh_l0.grad


@BEHAVIOURS.add
def functional_call_of_other_shape(new: New) -> object:
    weight = {"weight_hh_l0": x(3, 3)}
    return torch.func.functional_call(new(5, 6), weight, (x(),))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "engine", "name"), BEHAVIOURS.cases())
def test_parametrizations_work_as_torch_s(cell: type[Layer], engine: EngineName, name: str) -> None:
    BEHAVIOURS.check(cell, engine, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("name", BEHAVIOURS.refused)
def test_what_the_docstring_names_is_refused(cell: type[Layer], name: str) -> None:
    BEHAVIOURS.check_refused(cell, name)
