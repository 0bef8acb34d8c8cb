"""Estimates of the memory that a training needs, and errors for too little of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from charlm.errors import CharlmError
from charlm.model.devices import available_memory
from charlm.model.ensemble import Network
from charlm.settings import TrainingSettings

log = logging.getLogger(__name__)

ADVICE = "lower training.batch_size, training.sequence_length or hidden_size"

BYTES = 4
"""Bytes per number: everything large is float32 or smaller."""


def count_parameters(model: nn.Module | None) -> int:
    """Return the number of parameters of a model, 0 for None."""
    return 0 if model is None else sum(each.numel() for each in model.parameters())


def estimate_memory(
    model: Network, teacher: Network | None, training: TrainingSettings, window_size: int
) -> float:
    """Return an estimate of the bytes that a training needs, without the text.

    They hold the weights, their gradients, the optimizer's buffers, the average, the best weights,
    the teacher, and what a step keeps for its backward pass: per token about six numbers per unit
    and layer and three per logit.

    Args:
        model: The model to be trained.
        teacher: The network whose predictions it learns, if any.
        training: The settings of the training.
        window_size: Number of tokens read in one step.
    """
    copies = 4 + (training.average is not None) + (training.keep == "best")
    weights = copies * count_parameters(model) + count_parameters(teacher)
    units = sum(member.recurrent.num_layers * member.hidden_size for member in model.members)
    logits = len(model.members) * model.vocabulary_size
    return float(BYTES * (weights + window_size * (6 * units + 3 * logits)))


def log_memory_estimate(needed: float, device: torch.device) -> None:
    """Log how many bytes are `needed`, with a warning if fewer are free."""
    log.info("about %.0f MB of memory for training", needed / 1e6)
    free = available_memory(device)
    if free is not None and needed > free:
        log.warning("only %.0f MB of memory are free; %s", free / 1e6, ADVICE)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory could not be allocated."""
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "can't allocate memory" in str(error)  # PyTorch's on a CPU
    )


@contextmanager
def memory_errors(needed: float) -> Iterator[None]:
    """Raise a `CharlmError` if the memory does not suffice in a `with` block.

    Args:
        needed: The estimate of the bytes that are needed, for the message.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise CharlmError(
            f"training: out of memory; it needs about {needed / 1e6:.0f} MB; {ADVICE}"
        ) from None
