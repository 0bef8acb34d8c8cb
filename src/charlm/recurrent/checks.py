"""Checks of what a layer is given. The kernels read memory by address, so shapes must fit.

Shapes are those of `charlm.recurrent.equations`, with I for `input_size`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.errors import CharlmError
from charlm.recurrent.eager import is_eager
from charlm.recurrent.engines.base import State
from charlm.recurrent.errors import LayerRuntimeError, LayerValueError
from charlm.recurrent.module import RecurrentModule

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_parameters(layer: RecurrentModule, parameters: Sequence[Sequence[Tensor]]) -> None:
    """Refuse parameters that were replaced by others of another shape, dtype or device."""
    first = parameters[0][0]
    rows = (4 if layer.cell == "lstm" else 3) * layer.hidden_size
    features = layer.input_size
    for names, tensors in zip(layer._all_weights, parameters, strict=True):
        shapes = (rows, features), (rows, layer.hidden_size), (rows,), (rows,)
        for name, tensor, shape in zip(names, tensors, shapes, strict=False):
            if (
                tensor.shape != shape
                or tensor.dtype != first.dtype
                or tensor.device != first.device
            ):
                raise LayerRuntimeError(
                    f"{layer._name}: {name}: expected {first.dtype} of shape {shape} on "
                    f"{first.device}, got {tensor.dtype} of shape {tuple(tensor.shape)} on "
                    f"{tensor.device}"
                )
        features = layer.hidden_size


def check_input(layer: RecurrentModule, inputs: Tensor, weight: Tensor) -> None:
    """Refuse inputs that are not (T, B, I) or (T, I), or of another dtype or device."""
    _check_features(layer, "input", inputs, weight, dimensions=(2, 3))


def check_table(layer: RecurrentModule, table: Tensor, weight: Tensor) -> None:
    """Refuse a table that is not (V, I), or of another dtype or device."""
    _check_features(layer, "table", table, weight, dimensions=(2,))


def check_indices(layer: RecurrentModule, indices: Tensor, table: Tensor) -> None:
    """Refuse indices that are not two-dimensional integers on the table's device."""
    if indices.dim() != 2 or indices.dtype not in _INTEGERS:
        raise LayerRuntimeError(
            f"{layer._name}: indices: expected integers of shape "
            f"{'(B, T)' if layer.batch_first else '(T, B)'}, got {indices.dtype} of shape "
            f"{tuple(indices.shape)}"
        )
    if indices.device != table.device:
        raise LayerRuntimeError(
            f"{layer._name}: indices: on {indices.device}, but the table is on {table.device}"
        )


def check_state_parts(layer: RecurrentModule, state: State | None) -> None:
    """Refuse a state that is neither None nor a tuple of the cell's parts."""
    size = 2 if layer.cell == "lstm" else 1
    if state is None or (isinstance(state, tuple) and len(state) == size):
        return
    expected = "(h, c)" if layer.cell == "lstm" else "(h,)"
    got = f"a tuple of {len(state)}" if isinstance(state, tuple) else type(state).__name__
    raise LayerRuntimeError(f"{layer._name}: state: expected a tuple {expected}, got {got}")


def check_state_shape(
    layer: RecurrentModule, state: State, shape: tuple[int, ...], like: Tensor
) -> None:
    """Refuse parts of a state of another shape, or another dtype or device than `like`."""
    for part in state:
        if part.shape != shape:
            raise LayerRuntimeError(
                f"{layer._name}: state: expected shape {shape}, got {tuple(part.shape)}"
            )
        _check_kind(layer, "state", part, like, LayerRuntimeError)


def full_state(layer: RecurrentModule, state: State | None, batch: int, weight: Tensor) -> State:
    """Check a stack's state for B examples, and return it, or zeros for None.

    Returns:
        The state in the dtype of the weights, parts of (num_layers, B, H).

    Raises:
        CharlmError: the state does not fit.
    """
    check_state_parts(layer, state)
    shape = (layer.num_layers, batch, layer.hidden_size)
    if state is None:
        return (weight.new_zeros(shape),) * (2 if layer.cell == "lstm" else 1)
    check_state_shape(layer, state, shape, weight)
    return tuple(part.to(weight.dtype) for part in state)


def check_eager(layer: RecurrentModule, tensor: Tensor) -> None:
    """Refuse to step while torch records operations: a stepper's state would become a constant."""
    if not is_eager(tensor):
        raise LayerRuntimeError(
            f"{layer._name}: stepper: torch.jit, torch.export and torch.func cannot record "
            "its state, and the meta device has no memory for it; call the layer instead"
        )


def _check_features(
    layer: RecurrentModule,
    name: str,
    inputs: Tensor,
    weight: Tensor,
    *,
    dimensions: tuple[int, ...],
) -> None:
    if inputs.dim() not in dimensions or inputs.shape[-1] != layer.input_size:
        # As torch's layers do.
        error = LayerRuntimeError if inputs.dim() in dimensions else LayerValueError
        raise error(
            f"{layer._name}: {name}: expected {layer.input_size} features in the last of "
            f"{' or '.join(map(str, dimensions))} dimensions, got shape {tuple(inputs.shape)}"
        )
    _check_kind(layer, name, inputs, weight, LayerValueError)


def _check_kind(
    layer: RecurrentModule, name: str, given: Tensor, weight: Tensor, error: type[CharlmError]
) -> None:
    """Refuse another device than that of the parameters, and another dtype if nothing converts."""
    if given.device != weight.device:
        raise LayerRuntimeError(
            f"{layer._name}: {name}: on {given.device}, but the parameters are on "
            f"{weight.device}; move one of them"
        )
    if given.dtype == weight.dtype:
        return
    converts = layer.precision == "bfloat16" or torch.is_autocast_enabled(weight.device.type)
    if not (converts and given.is_floating_point()):
        raise error(
            f"{layer._name}: {name}: is {given.dtype} and the parameters are {weight.dtype}; "
            "convert one of them"
        )
