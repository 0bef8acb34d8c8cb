"""How a stack of layers runs over a sequence."""

import torch
from torch import Tensor, nn

from charlm.recurrent.checks import check_parameters, full_state
from charlm.recurrent.dropout import drop_outputs
from charlm.recurrent.engines.base import State
from charlm.recurrent.errors import LayerRuntimeError
from charlm.recurrent.module import RecurrentModule


def run_sequence(
    layer: RecurrentModule,
    inputs: Tensor,
    *,
    indices: Tensor | None,
    state: State | None,
    parameters: list[list[nn.Parameter]],
    training: bool,
) -> tuple[Tensor, State]:
    """Run all layers of a stack over a sequence, one layer after another.

    Args:
        layer: the stack.
        inputs: (T, B, input_size); with `indices` a table (V, input_size).
        indices: int (T, B), rows of the table.
        state: the initial state, parts of (num_layers, B, H); None for zeros.
        parameters: `layer.all_weights`, read once, as a parametrization computes it each time.
        training: whether dropout is active.

    Returns:
        The last layer's outputs (T, B, H) and the final state, parts of (num_layers, B, H).

    Raises:
        CharlmError: the sequence is empty, or the state or a parameter does not fit.
    """
    steps, batch = (inputs if indices is None else indices).shape[:2]
    if steps == 0:
        raise LayerRuntimeError(
            f"{layer._name}: input: a sequence of length 0; give at least one step"
        )
    weight = parameters[0][0]
    check_parameters(layer, parameters)
    initial = full_state(layer, state, batch, weight)
    precision = layer._precision_for(weight)
    engine = layer._find_engine(weight)
    outputs = inputs.to(weight.dtype)
    finals: list[State] = []
    for number, layer_state in enumerate(zip(*initial, strict=True)):
        if number > 0 and training and layer.dropout:
            outputs = drop_outputs(outputs, layer.dropout, locked=layer.locked_dropout)
        outputs, final = engine(
            layer.cell,
            outputs,
            indices=indices if number == 0 else None,
            state=layer_state,
            parameters=layer._layer_parameters(parameters[number], training),
            precision=precision,
        )
        finals.append(final)
    return outputs, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
