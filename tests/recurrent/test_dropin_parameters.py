"""Parameters are loaded, saved, frozen, shared and replaced as in torch."""

import copy
import io
import pickle

import pytest
import torch
from tests.recurrent.common import Layer
from tests.recurrent.dropin import Behaviour, Behaviours, New, gradients, is_lstm, x
from torch import nn

from charlm.recurrent import GRU, LSTM, EngineName

BEHAVIOURS = Behaviours(
    refused={
        "weight_hh_with_fewer_columns": "shapes that do not fit",
        "weight_hh_with_more_columns": "shapes that do not fit",
        "weight_hh_with_fewer_rows": "shapes that do not fit",
        "weight_ih_with_fewer_columns": "shapes that do not fit",
        "weight_ih_with_more_rows": "shapes that do not fit",
    }
)


@BEHAVIOURS.add
def load_state_dict(new: New) -> object:
    layer, other = new(5, 6, 2), new(5, 6, 2)
    result = other.load_state_dict(layer.state_dict())
    return str(result), other(x())


@BEHAVIOURS.add
def load_state_dict_assign(new: New) -> object:
    layer, other = new(5, 6), new(5, 6, device="meta")
    other.load_state_dict(layer.state_dict(), assign=True)
    return other(x())


@BEHAVIOURS.add
def load_missing(new: New) -> object:
    state = new(5, 6).state_dict()
    del state["bias_hh_l0"]
    return new(5, 6).load_state_dict(state)


@BEHAVIOURS.add
def load_missing_not_strict(new: New) -> object:
    state = new(5, 6).state_dict()
    del state["bias_hh_l0"]
    return str(new(5, 6).load_state_dict(state, strict=False))


@BEHAVIOURS.add
def load_unexpected(new: New) -> object:
    return new(5, 6).load_state_dict(new(5, 6, 2).state_dict())


@BEHAVIOURS.add
def load_other_size(new: New) -> object:
    return new(5, 6).load_state_dict(new(5, 7).state_dict())


@BEHAVIOURS.add
def load_into_torch_s(new: New) -> object:
    peer = (nn.LSTM if is_lstm(new) else nn.GRU)(5, 6, 2)
    peer.load_state_dict(new(5, 6, 2).state_dict())
    return peer(x())


@BEHAVIOURS.add
def load_from_torch_s(new: New) -> object:
    layer = new(5, 6, 2)
    layer.load_state_dict((nn.LSTM if is_lstm(new) else nn.GRU)(5, 6, 2).state_dict())
    return layer(x())


@BEHAVIOURS.add
def reset_parameters(new: New) -> object:
    layer = new(5, 6, 2)
    torch.manual_seed(3)
    layer.reset_parameters()
    return layer(x())


@BEHAVIOURS.add
def flatten_parameters(new: New) -> object:
    layer = new(5, 6)
    return layer.flatten_parameters(), layer(x())


@BEHAVIOURS.add
def deepcopy(new: New) -> object:
    layer = new(5, 6, 2)
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
    return copied(x()), layer(x())


@BEHAVIOURS.add
def save_and_load_a_module(new: New) -> object:
    layer, buffer = new(5, 6, 2), io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)(x())


@BEHAVIOURS.add
def pickled(new: New) -> object:
    layer = pickle.loads(pickle.dumps(new(5, 6, 2, batch_first=True)))
    return layer(x()), repr(layer)


@BEHAVIOURS.add
def save_and_load_a_state_dict(new: New) -> object:
    layer, buffer = new(5, 6, 2), io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    layer.reset_parameters()
    layer.load_state_dict(torch.load(buffer))
    return layer(x())


@BEHAVIOURS.add
def frozen(new: New) -> object:
    layer = new(5, 6).requires_grad_(False)
    outputs, _ = layer(x())
    return outputs.requires_grad, outputs


@BEHAVIOURS.add
def partly_frozen(new: New) -> object:
    layer = new(5, 6, 2)
    layer.weight_hh_l0.requires_grad_(False)
    layer.bias_ih_l1.requires_grad_(False)
    layer(x())[0].sum().backward()
    return {name: p.grad for name, p in layer.named_parameters()}


@BEHAVIOURS.add
def frozen_with_inputs(new: New) -> object:
    inputs = x().requires_grad_()
    new(5, 6).requires_grad_(False)(inputs)[0].sum().backward()
    return inputs.grad


@BEHAVIOURS.add
def zero_grad(new: New) -> object:
    layer = new(5, 6)
    layer(x())[0].sum().backward()
    layer.zero_grad()
    cleared = [p.grad for p in layer.parameters()]
    layer(x())[0].sum().backward()
    layer.zero_grad(set_to_none=False)
    return cleared, [p.grad for p in layer.parameters()]


@BEHAVIOURS.add
def replaced_parameter(new: New) -> object:
    layer = new(5, 6)
    layer.weight_hh_l0 = nn.Parameter(x(layer.weight_hh_l0.shape[0], 6))
    return layer(x())


@BEHAVIOURS.add
def replaced_by_a_tensor(new: New) -> object:
    layer = new(5, 6)
    layer.weight_hh_l0 = x(3, 3)
    return layer(x())


@BEHAVIOURS.add
def replaced_data(new: New) -> object:
    layer = new(5, 6)
    layer.weight_hh_l0.data = x(layer.weight_hh_l0.shape[0], 6)
    layer.bias_ih_l0.data.zero_()
    return layer(x())


@BEHAVIOURS.add
def shared_between_layers(new: New) -> object:
    layer = new(6, 6, 2)
    layer.weight_ih_l1, layer.weight_hh_l1 = layer.weight_ih_l0, layer.weight_hh_l0
    return gradients(layer, layer(x(4, 3, 6))[0])


@BEHAVIOURS.add
def shared_between_modules(new: New) -> object:
    first, second = new(6, 6), new(6, 6)
    second.weight_hh_l0 = first.weight_hh_l0
    return gradients(first, second(first(x(4, 3, 6))[0])[0])


@BEHAVIOURS.add
def used_twice(new: New) -> object:
    layer = new(5, 6)
    return gradients(layer, layer(x())[0] + layer(x() * 2)[0])


@BEHAVIOURS.add
def tied_to_an_embedding(new: New) -> object:
    layer, embedding = new(6, 6), nn.Embedding(7, 6)
    outputs, _ = layer(embedding(torch.arange(7)[:, None]))
    return gradients(layer, outputs @ embedding.weight.T), embedding.weight.grad


def with_weight(name: str, more_rows: int, *columns: int) -> Behaviour:
    def run(new: New) -> object:
        layer = new(5, 6)
        rows = layer.weight_hh_l0.shape[0]
        setattr(layer, name, nn.Parameter(x(rows + more_rows, *columns)))
        return layer(x())

    return run


BEHAVIOURS.add_as("weight_hh_with_fewer_columns", with_weight("weight_hh_l0", 0, 5))
BEHAVIOURS.add_as("weight_hh_with_more_columns", with_weight("weight_hh_l0", 0, 7))
BEHAVIOURS.add_as("weight_hh_with_fewer_rows", with_weight("weight_hh_l0", -6, 6))
BEHAVIOURS.add_as("weight_ih_with_fewer_columns", with_weight("weight_ih_l0", 0, 4))
BEHAVIOURS.add_as("weight_ih_with_more_rows", with_weight("weight_ih_l0", 6, 5))
BEHAVIOURS.add_as("bias_ih_too_short", with_weight("bias_ih_l0", -6))
BEHAVIOURS.add_as("bias_hh_too_long", with_weight("bias_hh_l0", 6))


def converted(name: str, target: torch.dtype | str) -> Behaviour:
    def run(new: New) -> object:
        layer = new(5, 6)
        parameter = getattr(layer, name)
        parameter.data = parameter.data.to(target)
        return layer(x())

    return run


for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
    BEHAVIOURS.add_as(f"{name}_double", converted(name, torch.float64))
    BEHAVIOURS.add_as(f"{name}_meta", converted(name, "meta"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "engine", "name"), BEHAVIOURS.cases())
def test_parameters_work_as_torch_s(cell: type[Layer], engine: EngineName, name: str) -> None:
    BEHAVIOURS.check(cell, engine, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("name", BEHAVIOURS.refused)
def test_what_the_docstring_names_is_refused(cell: type[Layer], name: str) -> None:
    BEHAVIOURS.check_refused(cell, name)
