"""Recorded layers compute what the layers do, and no kernel reads addresses while torch records."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.recurrent.common import CELLS, PEERS, Layer, as_hx, random_state
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from charlm.errors import CharlmError
from charlm.recurrent import LSTM, EngineName

ENGINES: tuple[EngineName, ...] = ("reference", "fused", "torch", "auto")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Reader(nn.Module):
    """An embedding and a layer over it, by indices."""

    def __init__(self, cell: type[Layer], engine: EngineName) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.layer = cell(5, 6, engine=engine)

    def forward(self, indices: Tensor) -> Tensor:
        return self.layer.forward_indices(indices, self.embedding.weight)[0]


def check_same(
    recorded: Callable[..., object], layer: Callable[..., object], *inputs: object
) -> None:
    ours, theirs = recorded(*inputs), layer(*inputs)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "batch_first": True}, {"bias": False}])
def test_a_traced_layer_computes_the_same(
    cell: type[Layer], engine: EngineName, options: dict[str, Any]
) -> None:
    layer = cell(5, 6, engine=engine, **options)
    traced = torch.jit.trace(layer, torch.randn(4, 3, 5))
    for shape in ((4, 3, 5), (4, 2, 5), (9, 1, 5)):
        check_same(traced, layer, torch.randn(shape))
    with torch.no_grad():
        traced = torch.jit.trace(layer, torch.randn(4, 3, 5))
    check_same(traced, layer, torch.randn(4, 2, 5))
    inputs = torch.randn(3, 3, 5), as_hx(random_state(cell, layer.num_layers, 3, 6))
    check_same(torch.jit.trace(layer, inputs), layer, inputs[0] * 2, inputs[1])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_indices_are_traced(cell: type[Layer], engine: EngineName) -> None:
    reader = Reader(cell, engine)
    traced = torch.jit.trace(reader, torch.randint(7, (4, 3)))
    check_same(traced, reader, torch.randint(7, (6, 2)))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_scripted_layer_shares_the_parameters(cell: type[Layer], engine: EngineName) -> None:
    layer = cell(5, 6, 2, engine=engine)
    scripted = torch.jit.script(nn.Sequential(layer))
    check_same(scripted, layer, torch.randn(4, 2, 5))
    with torch.no_grad():
        layer.get_parameter("weight_hh_l1").mul_(2)
    check_same(scripted, layer, torch.randn(4, 2, 5))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_layer_computes_the_same(
    cell: type[Layer], engine: EngineName, strict: bool
) -> None:
    layer = nn.Sequential(cell(5, 6, 2, engine=engine))
    exported = torch.export.export(layer, (torch.randn(4, 3, 5),), strict=strict)
    check_same(exported.module(), layer, torch.randn(4, 3, 5))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_onnx_export_writes_a_recurrent_node(
    cell: type[Layer], engine: EngineName, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is missing")
    path = tmp_path / "layer.onnx"
    layer = cell(5, 6, engine=engine)
    torch.onnx.export(layer, (torch.randn(4, 3, 5),), path, dynamo=False)
    assert cell.__name__ in [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_graphs_recorded_from_real_tensors_compute_the_same(
    cell: type[Layer], engine: EngineName
) -> None:
    layer = cell(5, 6, engine=engine).requires_grad_(False)
    graph = make_fx(layer)(torch.randn(4, 3, 5))
    check_same(graph, layer, torch.randn(4, 3, 5))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_tensors_without_memory_give_shapes(cell: type[Layer], engine: EngineName) -> None:
    for mode in (torch.device("meta"), FakeTensorMode()):
        with mode:
            outputs, state = cell(5, 6, 2, engine=engine)(torch.randn(4, 3, 5))
        assert outputs.shape == (4, 3, 6)
        assert (state[0] if cell is LSTM else state).shape == (2, 3, 6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_tensors_on_several_devices_are_refused(cell: type[Layer], engine: EngineName) -> None:
    inputs = torch.randn(4, 3, 5)
    with pytest.raises(RuntimeError, match="device"):
        cell(5, 6, device="meta", engine=engine)(inputs)
    with pytest.raises(RuntimeError, match="device"):
        cell(5, 6, engine=engine)(inputs.to("meta"))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_flop_counter_sees_the_products(cell: type[Layer], engine: EngineName) -> None:
    layer, peer = cell(5, 6, engine=engine), PEERS[cell](5, 6)
    counted = []
    for each in (layer, peer):
        with FlopCounterMode(display=False) as counter:
            each(torch.randn(4, 3, 5))[0].sum().backward()
        counted.append(counter.get_total_flops())
    assert counted[0] == counted[1]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_functional_gradients_are_the_layer_s(cell: type[Layer], engine: EngineName) -> None:
    layer = cell(5, 6, engine=engine)
    inputs = torch.randn(4, 3, 5)
    values = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(values: dict[str, Tensor]) -> Tensor:
        outputs: Tensor = torch.func.functional_call(layer, values, (inputs,))[0]
        return outputs.square().sum()

    found = torch.func.grad(loss)(values)
    layer(inputs)[0].square().sum().backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
def test_steppers_cannot_be_recorded(cell: type[Layer], engine: EngineName) -> None:
    layer = cell(5, 6, engine=engine)
    stepper = layer.stepper(3)
    with pytest.raises(CharlmError, match="stepper"):
        torch.jit.trace(lambda inputs: stepper(inputs), torch.randn(3, 5))
    with pytest.raises(CharlmError, match="stepper"):
        torch.jit.trace(lambda inputs: layer.stepper(3)(inputs), torch.randn(3, 5))
    with pytest.raises(CharlmError, match="stepper"):
        stepper(torch.randn(3, 5, device="meta"))
    with pytest.raises(CharlmError, match="stepper"):
        cell(5, 6, device="meta", engine=engine).stepper(3)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{"locked_dropout": True}, {"weight_dropout": 0.5}])
def test_our_own_dropouts_are_refused_in_training_alone(
    cell: type[Layer], options: dict[str, Any]
) -> None:
    layer = cell(5, 6, 2, dropout=0.5, **options)
    with pytest.raises(CharlmError, match="eval"):
        torch.jit.trace(layer, torch.randn(4, 3, 5))
    with pytest.raises(CharlmError, match="eval"):
        torch.jit.script(layer)
    check_same(torch.jit.trace(layer.eval(), torch.randn(4, 3, 5)), layer, torch.randn(4, 2, 5))


COMPILE = """
import torch
from charlm.recurrent import GRU, LSTM
for cell in (LSTM, GRU):
    layer = cell(5, 6, engine="fused")
    inputs = torch.randn(4, 3, 5)
    compiled = torch.compile(torch.nn.Sequential(layer), backend="aot_eager")
    outputs = compiled(inputs)[0]
    outputs.sum().backward()
    gradients = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    expected = layer(inputs)[0]
    expected.sum().backward()
    assert torch.equal(outputs, expected)
    for ours, theirs in zip(gradients, layer.parameters()):
        assert torch.equal(ours, theirs.grad)
"""


def test_a_compiled_model_runs_the_fused_engine() -> None:
    subprocess.run([sys.executable, "-c", COMPILE], check=True, cwd=Path(__file__).parent)
