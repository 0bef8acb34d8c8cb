"""Engine `torch`: PyTorch's own layers."""

import torch
from torch import Tensor

from charlm.recurrent.engines.base import Parameters, State, look_up


class Torch:
    """The functions that `torch.nn.LSTM` and `torch.nn.GRU` call."""

    @staticmethod
    def lstm(
        inputs: Tensor,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: str,
    ) -> tuple[Tensor, State]:
        """Run an LSTM layer."""
        h, c = state
        dtype = h.dtype
        with _autocast(inputs, precision):
            read = look_up(inputs, indices).to(dtype)
            outputs, h, c = torch.lstm(
                read, (h[None], c[None]), list(parameters), True, 1, 0.0, True, False, False
            )
        return outputs.to(dtype), (h[0].to(dtype), c[0].to(dtype))

    @staticmethod
    def gru(
        inputs: Tensor,
        indices: Tensor | None,
        state: State,
        parameters: Parameters,
        precision: str,
    ) -> tuple[Tensor, State]:
        """Run a GRU layer."""
        (h,) = state
        dtype = h.dtype
        with _autocast(inputs, precision):
            read = look_up(inputs, indices).to(dtype)
            outputs, h = torch.gru(
                read, h[None], list(parameters), True, 1, 0.0, True, False, False
            )
        return outputs.to(dtype), (h[0].to(dtype),)


def _autocast(inputs: Tensor, precision: str) -> torch.autocast:
    """Let torch multiply in bfloat16 if asked to, except where its LSTM cannot: without AVX-512."""
    device = inputs.device.type
    able = device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device, torch.bfloat16, enabled=able and precision == "bfloat16")
