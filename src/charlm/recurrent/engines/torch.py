"""Engine `torch`: PyTorch's own layers."""

import torch
from torch import Tensor

from charlm.recurrent.engines.base import Cell, Parameters, Precision, State, look_up


def run_torch(
    cell: Cell,
    inputs: Tensor,
    *,
    indices: Tensor | None,
    state: State,
    parameters: Parameters,
    precision: Precision,
) -> tuple[Tensor, State]:
    """Run one layer by the functions that `torch.nn.LSTM` and `torch.nn.GRU` call; see `Engine`."""
    dtype = state[0].dtype
    initial = [part[None] for part in state]  # as of a stack of one layer
    with _autocast(inputs, precision):
        read = look_up(inputs, indices).to(dtype)
        # has_biases, num_layers, dropout, train, bidirectional, batch_first
        options = (True, 1, 0.0, True, False, False)
        if cell == "lstm":
            outputs, *final = torch.lstm(read, initial, list(parameters), *options)
        else:
            outputs, *final = torch.gru(read, initial[0], list(parameters), *options)
    return outputs.to(dtype), tuple(part[0].to(dtype) for part in final)


def _autocast(inputs: Tensor, precision: Precision) -> torch.autocast:
    """Let torch multiply in bfloat16 if asked to, unless its LSTM cannot: without AVX-512."""
    device = inputs.device.type
    supported = device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device, torch.bfloat16, enabled=supported and precision == "bfloat16")
