"""Every engine against torch's own layers and against `equations`, values and gradients."""

import itertools
from typing import Any

import pytest
import torch
from tests.recurrent.common import (
    CELLS,
    ENGINES,
    PEERS,
    Layer,
    TorchLayer,
    as_hx,
    parameter_gradients,
    parts,
    random_state,
)
from torch import Tensor

from charlm.errors import CharlmError
from charlm.recurrent import GRU, LSTM, EngineName, State, selection
from charlm.recurrent.dropout import drop_outputs, dropout_mask


def make(
    cell: type[Layer],
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    *,
    engine: EngineName,
    **options: Any,
) -> Layer:
    torch.manual_seed(0)
    options.setdefault("dtype", torch.float64)
    return cell(input_size, hidden_size, num_layers, engine=engine, **options)


def results(layer: Layer | TorchLayer, inputs: Tensor, state: State | None) -> dict[str, Tensor]:
    """Return outputs, final states and every gradient of a fixed random function of them."""
    inputs = inputs.clone().requires_grad_()
    initial = tuple(part.clone().requires_grad_() for part in state or ())
    outputs, final = layer(inputs, as_hx(initial) if initial else None)
    generator = torch.Generator().manual_seed(1)
    values = (outputs, *parts(final))
    weighted = [
        (v * torch.randn(v.shape, generator=generator, dtype=torch.float64).to(v)).sum()
        for v in values
    ]
    leaves = (inputs, *initial, *layer.parameters())
    names = ["outputs", *("h", "c")[: len(values) - 1]]
    names += ["d_input", *("d_h", "d_c")[: len(initial)]]
    names += [f"d_{name}" for name, _ in layer.named_parameters()]
    gradients = torch.autograd.grad(torch.stack(weighted).sum(), leaves)
    return dict(zip(names, (*values, *gradients), strict=True))


def compare(
    ours: dict[str, Tensor], theirs: dict[str, Tensor], rtol: float = 1e-10, atol: float = 1e-10
) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(
            ours[name].double(),
            theirs[name].double(),
            rtol=rtol,
            atol=atol,
            msg=f"{name} differs",
        )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("hidden", "batch", "steps", "layers", "state"),
    [(1, 1, 1, 1, False), (7, 3, 5, 2, True), (16, 1, 9, 3, True), (33, 4, 4, 1, False)],
)
def test_matches_torch_in_float64(
    cell: type[Layer],
    engine: EngineName,
    hidden: int,
    batch: int,
    steps: int,
    layers: int,
    state: bool,
) -> None:
    layer = make(cell, 5, hidden, layers, engine=engine)
    torch.manual_seed(0)
    peer = PEERS[cell](5, hidden, layers, dtype=torch.float64)
    compare({**layer.state_dict()}, {**peer.state_dict()}, 0, 0)
    inputs = torch.randn(steps, batch, 5, dtype=torch.float64)
    initial = random_state(cell, layers, batch, hidden, torch.float64) if state else None
    compare(results(layer, inputs, initial), results(peer, inputs, initial))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_gradcheck(cell: type[Layer], engine: EngineName) -> None:
    layer = make(cell, 3, 4, 2, engine=engine)
    inputs = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    state = tuple(p.requires_grad_() for p in random_state(cell, 2, 2, 4, torch.float64))
    leaves = dict(layer.named_parameters())

    def function(inputs: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        given, weights = tensors[: len(state)], tensors[len(state) :]
        outputs, final = torch.func.functional_call(
            layer, dict(zip(leaves, weights, strict=True)), (inputs, as_hx(given))
        )
        return outputs, *parts(final)

    assert torch.autograd.gradcheck(function, (inputs, *state, *leaves.values()))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_indices_are_a_look_up(cell: type[Layer], engine: EngineName) -> None:
    layer = make(cell, 5, 6, 2, engine=engine, batch_first=True)
    table = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    indices = torch.randint(9, (3, 8))
    weight = torch.randn(3, 8, 6, dtype=torch.float64)
    leaves = (table, *layer.parameters())
    found = []
    for outputs, _ in (layer.forward_indices(indices, table), layer(table[indices])):
        found.append((outputs, *torch.autograd.grad((outputs * weight).sum(), leaves)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_state_is_carried_across_calls(cell: type[Layer]) -> None:
    layer = make(cell, 5, 6, 2, engine="fused", dtype=torch.float32)
    inputs = torch.randn(10, 3, 5)
    whole, final = layer(inputs)
    first, state = layer(inputs[:4])
    second, state = layer(inputs[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for ours, theirs in zip(parts(state), parts(final), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_dropouts_are_the_same_in_every_engine(
    cell: type[Layer], locked: bool, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = torch.randn(6, 3, 5, dtype=dtype)
    found = []
    for engine in ENGINES:
        layer = make(
            cell, 5, 8, 3, engine=engine, dtype=dtype,
            dropout=0.4, locked_dropout=locked, weight_dropout=0.3,
        )  # fmt: skip
        torch.manual_seed(3)
        found.append(results(layer, inputs, None))
    compare(found[1], found[0], tolerance, tolerance)
    compare(found[2], found[0], tolerance, tolerance)
    torch.manual_seed(3)
    again = results(layer, inputs, None)
    compare(again, found[2], 0, 0)
    layer.eval()
    torch.testing.assert_close(layer(inputs)[0], layer(inputs)[0], rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_between_layers_is_a_mask_of_their_outputs(cell: type[Layer]) -> None:
    layer = make(cell, 8, 8, 3, engine="fused", dropout=0.4)
    peers = [PEERS[cell](8, 8, dtype=torch.float64) for _ in range(3)]
    for number, peer in enumerate(peers):
        own = layer.state_dict().items()
        peer.load_state_dict(
            {f"{name[:-1]}0": weight for name, weight in own if name.endswith(f"l{number}")}
        )
    inputs = torch.randn(6, 3, 8, dtype=torch.float64)
    torch.manual_seed(3)
    outputs, _ = layer(inputs)
    torch.manual_seed(3)
    for number, peer in enumerate(peers):
        if number > 0:
            inputs = inputs * dropout_mask(inputs, 0.4)
        inputs, _ = peer(inputs)
    torch.testing.assert_close(outputs, inputs)


def test_locked_dropout_is_one_draw_for_all_steps() -> None:
    dropped = drop_outputs(torch.ones(7, 3, 50), 0.5, locked=True) == 0
    assert dropped.any()
    assert not dropped.all()
    assert (dropped == dropped[0]).all()


@pytest.mark.parametrize("cell", CELLS)
def test_state_dicts_move_both_ways(cell: type[Layer]) -> None:
    layer, peer = make(cell, 5, 8, 2, engine="fused"), PEERS[cell](5, 8, 2, dtype=torch.float64)
    inputs = torch.randn(4, 3, 5, dtype=torch.float64)
    layer.load_state_dict(peer.state_dict())
    torch.testing.assert_close(layer(inputs)[0], peer(inputs)[0])
    layer.reset_parameters()
    peer.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(inputs)[0], peer(inputs)[0])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_layouts_and_missing_biases_are_torch_s(cell: type[Layer], engine: EngineName) -> None:
    for batch_first, bias in itertools.product((False, True), repeat=2):
        layer = make(cell, 5, 8, 2, engine=engine, batch_first=batch_first, bias=bias)
        peer = PEERS[cell](5, 8, 2, dtype=torch.float64, batch_first=batch_first, bias=bias)
        peer.load_state_dict(layer.state_dict())
        for shape in ((4, 3, 5), (4, 5)):
            inputs = torch.randn(shape, dtype=torch.float64)
            compare(results(layer, inputs, None), results(peer, inputs, None))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_inputs_end_as_in_torch(
    cell: type[Layer], engine: EngineName, value: float
) -> None:
    for dtype in (torch.float64, torch.float32):
        layer = make(cell, 5, 20, engine=engine, dtype=dtype)
        peer = PEERS[cell](5, 20, dtype=dtype)
        peer.load_state_dict(layer.state_dict())
        inputs = torch.randn(4, 3, 5, dtype=dtype)
        inputs[2, 1, 3] = value
        torch.testing.assert_close(
            layer(inputs)[0], peer(inputs)[0], equal_nan=True, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_empty_batch_gives_an_empty_result(cell: type[Layer], dtype: torch.dtype) -> None:
    layer = make(cell, 5, 8, 2, engine="fused", dtype=dtype)
    outputs, state = layer(torch.zeros(4, 0, 5, dtype=dtype))
    assert outputs.shape == (4, 0, 8)
    assert parts(state)[0].shape == (2, 0, 8)
    outputs.sum().backward()
    found = parameter_gradients(layer)
    assert [gradient.any().item() for gradient in found] == [False] * 8


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"bidirectional": True}, "bidirectional"),
        ({"proj_size": 3}, "proj_size"),
        ({"dropout": 1.5}, "dropout"),
        ({"weight_dropout": -0.1}, "weight_dropout"),
        ({"engine": "fast"}, "engine"),
        ({"precision": "float16"}, "precision"),
        ({"num_layers": 0}, "num_layers"),
    ],
)
def test_refuses_what_it_cannot_do(cell: type[Layer], options: dict[str, Any], word: str) -> None:
    with pytest.raises(CharlmError, match=word):
        cell(5, 8, **options)


@pytest.mark.parametrize("cell", CELLS)
def test_refuses_inputs_that_do_not_fit(cell: type[Layer]) -> None:
    layer = cell(5, 8)
    packed = torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 5)])
    cases: list[tuple[object, object, str]] = [
        (packed, None, "PackedSequence"),
        (torch.zeros(3, 2, 4), None, "expected 5 features"),
        (torch.zeros(5), None, "expected 5 features"),
        (torch.zeros(0, 2, 5), None, "length 0"),
        (torch.zeros(3, 2, 5, dtype=torch.float64), None, "float64"),
        (torch.zeros(3, 2, 5), as_hx(random_state(cell, 1, 3, 8)), "state"),
    ]
    for inputs, state, word in cases:
        with pytest.raises(CharlmError, match=word):
            layer(inputs, state)
    with pytest.raises(CharlmError, match="indices"):
        layer.forward_indices(torch.zeros(3, 2), torch.zeros(4, 5))
    with pytest.raises(CharlmError, match="table"):
        layer.forward_indices(torch.zeros(3, 2, dtype=torch.long), torch.zeros(4, 6))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("with_table", [False, True])
def test_stepping_is_running(cell: type[Layer], with_table: bool) -> None:
    layer = make(cell, 5, 8, 2, engine="fused", dropout=0.5)
    table = torch.randn(9, 5, dtype=torch.float64)
    indices = torch.randint(9, (6, 3))
    state = random_state(cell, 2, 3, 8, torch.float64)
    expected, final = layer.eval().forward_indices(indices, table, state)
    layer.train()
    stepper = layer.stepper(3, table if with_table else None)
    stepper.state = state
    inputs = indices if with_table else table[indices]
    for step, output in zip(inputs, expected, strict=True):
        torch.testing.assert_close(stepper(step), output)
    for ours, theirs in zip(stepper.state, final, strict=True):
        torch.testing.assert_close(ours, theirs)
    stepper.state = None
    assert all((part == 0).all() for part in stepper.state)


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_of_indices_and_steppers_is_a_tuple(cell: type[Layer]) -> None:
    layer = cell(5, 8)
    part = torch.zeros(1, 3, 8)
    indices, table = torch.zeros(2, 3, dtype=torch.long), torch.zeros(4, 5)
    wrong: tuple[Any, ...] = part, [part, part], (part,) * 3
    for state in wrong:
        with pytest.raises(CharlmError, match="state: expected a tuple"):
            layer.forward_indices(indices, table, state)
        with pytest.raises(CharlmError, match="state: expected a tuple"):
            layer.stepper(3).state = state


@pytest.mark.parametrize("cell", CELLS)
def test_auto_says_what_it_picks(cell: type[Layer], caplog: pytest.LogCaptureFixture) -> None:
    assert cell(5, 8, engine="torch").picked_engine == "torch"
    assert cell(5, 8, dtype=torch.float64).picked_engine == "torch"
    selection._fastest.cache_clear()
    with caplog.at_level("INFO", "charlm.recurrent.selection"):
        for _ in range(2):
            assert cell(5, 8, precision="bfloat16").picked_engine == "fused"
            cell(5, 8, precision="bfloat16")(torch.zeros(2, 1, 5))
    line = f"auto: fused for {cell.cell}, hidden size 8, bfloat16, on cpu: the fastest measured"
    said = [each.message for each in caplog.records if each.name == "charlm.recurrent.selection"]
    assert [line in message for message in said] == [True]


def test_auto_goes_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        selection.Measured("cpu", "lstm", "float32", 8, "fused"),
        selection.Measured("cpu", "lstm", "float32", 16, "reference"),
    )
    monkeypatch.setattr(selection, "FASTEST", rows)
    selection._fastest.cache_clear()
    picked = [LSTM(5, hidden).picked_engine for hidden in (7, 8, 9, 16, 17)]
    assert picked == ["fused", "fused", "reference", "reference", "torch"]
    assert LSTM(5, 8, precision="bfloat16").picked_engine == "torch"
    assert GRU(5, 8).picked_engine == "torch"
    selection._fastest.cache_clear()
