"""Dropout with masks that are cheap to draw.

N. Srivastava et al.: Dropout: a simple way to prevent neural networks from overfitting. JMLR 15,
2014.
"""

import torch
from torch import Tensor


def dropout_mask(like: Tensor, probability: float) -> Tensor:
    """Draw a mask: 0 with the given probability, to within 2^-16, else 1 / (1 - probability).

    The numbers come from torch's default generator. On a CPU, drawing a mask with `bernoulli_`
    takes a seventh of a training step, so here one draw of 64 bits makes four numbers.

    Returns:
        A tensor of the shape, dtype and device of `like`.
    """
    kept = 1 - probability
    if not kept:
        return torch.zeros_like(like)
    mask = torch.empty_like(like)
    if like.device.type == "cpu":
        draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        numbers = draws.view(torch.int16)[: like.numel()].view(like.shape)
        torch.le(numbers, round(kept * 2**16) - 2**15 - 1, out=mask)
    else:
        mask.bernoulli_(kept)
    return mask.mul_(1 / kept)


def drop_outputs(outputs: Tensor, probability: float, *, locked: bool) -> Tensor:
    """Drop some of the outputs (T, B, H).

    Locked dropout draws one mask for all steps: Y. Gal, Z. Ghahramani: A theoretically grounded
    application of dropout in recurrent neural networks. NeurIPS 2016.
    """
    return outputs * dropout_mask(outputs[:1] if locked else outputs, probability)
