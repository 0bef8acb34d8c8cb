"""Results share no memory, and callers may change them in place."""

import itertools
from collections.abc import Callable, Mapping

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
    total,
)
from torch import Tensor, nn

from charlm.recurrent import EngineName, Precision


def shared(tensors: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Return the pairs of names whose tensors share memory."""
    seen: dict[int, str] = {}
    found = []
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        if place in seen:
            found.append((seen[place], name))
        seen[place] = name
    return found


def check_nothing_is_shared(layer: Layer, batch: int, steps: int, with_table: bool) -> None:
    """Check that results and gradients share no memory with anything else."""
    dtype = layer.weight_hh_l0.dtype
    shape = (batch, steps) if layer.batch_first else (steps, batch)
    sizes = layer.num_layers, batch, layer.hidden_size
    state = tuple(part.requires_grad_() for part in random_state(type(layer), *sizes, dtype))
    given = {f"state {n}": part for n, part in enumerate(state)}
    vectors = (7, layer.input_size) if with_table else (*shape, layer.input_size)
    given["inputs"] = torch.randn(vectors, dtype=dtype).requires_grad_()

    def run() -> tuple[Tensor, ...]:
        if with_table:
            outputs, final = layer.forward_indices(torch.randint(7, shape), given["inputs"], state)
        else:
            outputs, final = layer(given["inputs"], as_hx(state))
        return outputs, *parts(final)

    leaves = given | dict(layer.named_parameters())
    results = run()
    incoming = [torch.randn_like(result) for result in results]
    everything = leaves | {f"result {n}": result.detach() for n, result in enumerate(results)}
    everything |= {f"incoming {n}": gradient for n, gradient in enumerate(incoming)}
    gradients = torch.autograd.grad(results, tuple(leaves.values()), incoming)
    assert shared(everything | {f"d {n}": g for n, g in zip(leaves, gradients, strict=True)}) == []
    torch.autograd.backward(run(), incoming)
    accumulated = {f"d {n}": leaf.grad for n, leaf in leaves.items() if leaf.grad is not None}
    assert len(accumulated) == len(leaves)
    assert shared(everything | accumulated) == []


KINDS: list[tuple[Precision, torch.dtype]] = [
    ("float32", torch.float32),
    ("bfloat16", torch.float32),
    ("float32", torch.float64),
]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("precision", "dtype"), KINDS)
@pytest.mark.parametrize("hidden", [33, 32, 512])
def test_nothing_is_shared(
    cell: type[Layer], engine: EngineName, precision: Precision, dtype: torch.dtype, hidden: int
) -> None:
    small = hidden < 512
    booleans = (False, True)
    for layer_count, batch, steps, with_table, bias, batch_first in itertools.product(
        (1, 2) if small else (1,), (1, 3), (1, 4), booleans, booleans, booleans
    ):
        layer = cell(
            32, hidden, layer_count, bias, batch_first, engine=engine, precision=precision,
            dtype=dtype,
        )  # fmt: skip
        check_nothing_is_shared(layer, batch, steps, with_table)


def accumulate(layer: Layer | TorchLayer, first: Tensor, second: Tensor) -> None:
    layer(first)[0].sum().backward()
    layer(second)[0].sum().backward()


def use_twice(layer: Layer | TorchLayer, first: Tensor, second: Tensor) -> None:
    (layer(first)[0].sum() + layer(second)[0].sum()).backward()


def clip(layer: Layer | TorchLayer, first: Tensor, second: Tensor) -> None:
    layer(first)[0].sum().backward()
    nn.utils.clip_grad_norm_(layer.parameters(), 1.0)


def clip_values(layer: Layer | TorchLayer, first: Tensor, second: Tensor) -> None:
    layer(first)[0].sum().backward()
    nn.utils.clip_grad_value_(layer.parameters(), 0.5)


def unscale(layer: Layer | TorchLayer, first: Tensor, second: Tensor) -> None:
    (layer(first)[0].sum() * 1024).backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        parameter.grad /= 1024


def add_noise(layer: Layer | TorchLayer, first: Tensor, second: Tensor) -> None:
    layer(first)[0].sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        parameter.grad += 1.0


def decay(layer: Layer | TorchLayer, first: Tensor, second: Tensor) -> None:
    gradients = torch.autograd.grad(layer(first)[0].sum(), tuple(layer.parameters()))
    for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
        parameter.grad = gradient.add_(parameter.detach(), alpha=0.1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("hidden", [33, 32, 512])
@pytest.mark.parametrize(
    "idiom", [accumulate, use_twice, clip, clip_values, unscale, add_noise, decay]
)
def test_training_idioms_give_torch_s_gradients(
    cell: type[Layer],
    engine: EngineName,
    hidden: int,
    idiom: Callable[[Layer | TorchLayer, Tensor, Tensor], None],
) -> None:
    torch.manual_seed(0)
    layer = cell(5, hidden, engine=engine)
    peer = PEERS[cell](5, hidden)
    peer.load_state_dict(layer.state_dict())
    first, second = torch.randn(2, 4, 3, 5)
    idiom(layer, first, second)
    idiom(peer, first, second)
    for (name, ours), theirs in zip(layer.named_parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(
            ours.grad, theirs.grad, rtol=1e-3, atol=1e-4, msg=f"{name} differs"
        )


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("hidden", [33, 32])
@pytest.mark.parametrize("batch", [1, 3])
def test_results_may_be_changed_in_place(
    cell: type[Layer], engine: EngineName, precision: Precision, hidden: int, batch: int
) -> None:
    layer = cell(5, hidden, 2, engine=engine, precision=precision)
    inputs = torch.randn(4, batch, 5)
    found = []
    for in_place in (False, True):
        layer.zero_grad()
        results = layer(inputs)
        outputs, state = results[0], parts(results[1])
        if in_place:
            outputs.relu_()
            for part in state:
                part.mul_(3)
        else:
            outputs, state = outputs.relu(), tuple(part * 3 for part in state)
        total((outputs, *state)).backward()
        found.append(parameter_gradients(layer))
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("hidden", [33, 32])
def test_a_step_s_output_is_not_its_state(
    cell: type[Layer], engine: EngineName, hidden: int
) -> None:
    layer = cell(5, hidden, engine=engine)
    inputs = torch.randn(3, 2, 5)
    expected, _ = layer(inputs)
    stepper = layer.stepper(2)
    start = tuple(torch.zeros_like(part) for part in random_state(cell, 1, 2, hidden))
    stepper.state = start
    for part in start:
        part.fill_(9)
    for step, output in zip(inputs, expected, strict=True):
        found = stepper(step)
        torch.testing.assert_close(found, output)
        found.fill_(9)
        for part in stepper.state:
            part.fill_(9)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("size", [32, 33])
def test_inputs_changed_before_the_backward_pass_are_never_used_silently(
    cell: type[Layer], engine: EngineName, size: int
) -> None:
    """An engine keeps a copy, so gradients are right, or raises an error as torch's layers do."""
    for change in ("inputs", "weights"):
        layer = cell(size, size, engine=engine)
        inputs = torch.randn(4, 3, size)
        expected = torch.autograd.grad(layer(inputs)[0].sum(), tuple(layer.parameters()))
        outputs, _ = layer(inputs)
        with torch.no_grad():
            for tensor in [inputs] if change == "inputs" else layer.parameters():
                tensor.mul_(2)
        error = ""
        try:
            found = torch.autograd.grad(outputs.sum(), tuple(layer.parameters()))
        except RuntimeError as raised:
            error = str(raised)
        else:
            for ours, theirs in zip(found, expected, strict=True):
                torch.testing.assert_close(ours, theirs)
        assert not error or "modified by an inplace operation" in error


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [32, 33])
def test_tensors_marked_as_negative_are_read_as_such(
    cell: type[Layer], engine: EngineName, size: int
) -> None:
    """``z.conj().imag`` shares the memory of ``z.imag`` and is its negative."""

    def marked(*shape: int) -> Tensor:
        tensor: Tensor = torch._neg_view(torch.randn(shape))
        assert tensor.is_neg()
        return tensor

    layer = cell(size, size, engine=engine)
    weights = {name: marked(*p.shape) for name, p in layer.named_parameters()}
    inputs, incoming = marked(4, 3, size), marked(4, 3, size)
    state = tuple(marked(*part.shape) for part in random_state(cell, 1, 3, size))
    readers: list[Callable[[Tensor], Tensor]] = [lambda tensor: tensor, torch.resolve_neg]
    found = []
    for read in readers:
        leaves = {name: read(w).requires_grad_() for name, w in weights.items()}
        hx = tuple(map(read, state))
        outputs, _ = torch.func.functional_call(layer, leaves, (read(inputs), as_hx(hx)))
        found.append([outputs, *torch.autograd.grad(outputs, [*leaves.values()], read(incoming))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
