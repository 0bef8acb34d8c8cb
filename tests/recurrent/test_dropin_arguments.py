"""The constructor: arguments, attributes, initial parameters and `repr` are torch's."""

import warnings

import pytest
import torch
from tests.recurrent.common import Layer
from tests.recurrent.dropin import Behaviour, Behaviours, New, is_lstm, x
from torch import nn

from charlm.recurrent import GRU, LSTM, EngineName

BEHAVIOURS = Behaviours(
    refused={
        "bidirectional": "bidirectional",
        "proj_size": "proj_size",
    }
)


@BEHAVIOURS.add
def attributes(new: New) -> object:
    layer = new(5, 6, 2, False, True, 0.25)
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
             "bidirectional", "proj_size", "mode", "training")  # fmt: skip
    return [getattr(layer, name) for name in names]


@BEHAVIOURS.add
def keywords(new: New) -> object:
    return new(input_size=5, hidden_size=6, num_layers=2, bias=True, batch_first=True, dropout=0.0,
             bidirectional=False, device="cpu", dtype=torch.float64).all_weights  # fmt: skip


@BEHAVIOURS.add
def initial_parameters(new: New) -> object:
    return dict(new(5, 6, 3).named_parameters())


@BEHAVIOURS.add
def initial_parameters_without_biases(new: New) -> object:
    return dict(new(5, 6, 2, bias=False).named_parameters())


@BEHAVIOURS.add
def order_of_parameters(new: New) -> object:
    return [name for name, _ in new(5, 6, 2).named_parameters()]


@BEHAVIOURS.add
def order_of_state_dict(new: New) -> object:
    return list(new(5, 6, 2).state_dict())


@BEHAVIOURS.add
def modules(new: New) -> object:
    return len(list(new(5, 6, 2).modules())), len(list(new(5, 6, 2).buffers()))


@BEHAVIOURS.add
def all_weights(new: New) -> object:
    return new(5, 6, 2).all_weights


@BEHAVIOURS.add
def default_dtype(new: New) -> object:
    torch.set_default_dtype(torch.float64)
    try:
        return new(5, 6)(torch.ones(2, 1, 5))
    finally:
        torch.set_default_dtype(torch.float32)


@BEHAVIOURS.add
def default_device(new: New) -> object:
    with torch.device("meta"):
        layer = new(5, 6)
    return str(layer.weight_ih_l0.device), layer.weight_ih_l0.shape


@BEHAVIOURS.add
def isinstance_of_torch_s(new: New) -> object:
    layer = new(5, 6)
    return isinstance(layer, nn.RNNBase), isinstance(layer, nn.LSTM), isinstance(layer, nn.GRU)


def repr_of(*arguments: object, **options: object) -> Behaviour:
    return lambda new: repr(new(*arguments, **options))


REPRS: dict[str, Behaviour] = {
    "repr": repr_of(5, 6),
    "repr_of_layers": repr_of(5, 6, 2),
    "repr_of_all": repr_of(5, 6, 2, bias=False, batch_first=True, dropout=0.5),
    "repr_in_a_model": lambda new: repr(nn.Sequential(new(5, 6), nn.Linear(6, 2))),
}
for name, function in REPRS.items():
    BEHAVIOURS.add_as(name, function)

CONSTRUCTED: list[tuple[str, tuple[object, ...], dict[str, object]]] = [
    ("no_arguments", (), {}),
    ("one_argument", (5,), {}),
    ("unknown_argument", (5, 6), {"nonsense": 1}),
    ("input_size_0", (0, 6), {}),
    ("input_size_negative", (-1, 6), {}),
    ("input_size_float", (5.0, 6), {}),
    ("input_size_text", ("5", 6), {}),
    ("input_size_none", (None, 6), {}),
    ("hidden_size_0", (5, 0), {}),
    ("hidden_size_negative", (5, -6), {}),
    ("hidden_size_float", (5, 6.0), {}),
    ("num_layers_0", (5, 6, 0), {}),
    ("num_layers_negative", (5, 6, -1), {}),
    ("num_layers_float", (5, 6, 1.5), {}),
    ("num_layers_text", (5, 6, "2"), {}),
    ("bias_number", (5, 6, 1, 1), {}),
    ("bias_none", (5, 6), {"bias": None}),
    ("batch_first_number", (5, 6), {"batch_first": 1}),
    ("dropout_above_1", (5, 6, 2), {"dropout": 1.5}),
    ("dropout_negative", (5, 6, 2), {"dropout": -0.1}),
    ("dropout_nan", (5, 6, 2), {"dropout": float("nan")}),
    ("dropout_bool", (5, 6, 2), {"dropout": True}),
    ("dropout_text", (5, 6, 2), {"dropout": "much"}),
    ("dropout_none", (5, 6, 2), {"dropout": None}),
    ("proj_size_negative", (5, 6), {"proj_size": -1}),
    ("proj_size_too_large", (5, 6), {"proj_size": 6}),
    ("integer_parameters", (5, 6), {"dtype": torch.int64}),
    ("dtype_text", (5, 6), {"dtype": "float32"}),
    ("unknown_device", (5, 6), {"device": "moon"}),
]
for name, arguments, options in CONSTRUCTED:
    BEHAVIOURS.add_as(name, repr_of(*arguments, **options))


@BEHAVIOURS.add
def warning_for_dropout_with_one_layer(new: New) -> object:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        new(5, 6, dropout=0.5)
        new(5, 6, 2, dropout=0.5)
    return [(each.category.__name__, str(each.message)) for each in caught]


@BEHAVIOURS.add
def bidirectional(new: New) -> object:
    return new(5, 6, bidirectional=True)(x())


@BEHAVIOURS.add
def proj_size(new: New) -> object:
    return new(5, 6, proj_size=3)(x()) if is_lstm(new) else new(5, 6, 1, True, False, 0.0, False, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "engine", "name"), BEHAVIOURS.cases())
def test_construction_works_as_torch_s(cell: type[Layer], engine: EngineName, name: str) -> None:
    BEHAVIOURS.check(cell, engine, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("name", BEHAVIOURS.refused)
def test_what_the_docstring_names_is_refused(cell: type[Layer], name: str) -> None:
    BEHAVIOURS.check_refused(cell, name)


def test_repr_names_our_arguments_that_are_not_defaults() -> None:
    layer = GRU(
        5, 6, 2, engine="fused", precision="bfloat16", locked_dropout=True, weight_dropout=0.5
    )
    assert repr(layer) == (
        "GRU(5, 6, num_layers=2, engine=fused, precision=bfloat16, locked_dropout=True, "
        "weight_dropout=0.5)"
    )
