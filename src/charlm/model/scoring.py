"""How many bits of surprise a character of text costs a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from charlm.model.devices import widest_float
from charlm.model.network import LanguageModel, State
from charlm.progress import progress

WINDOW = 256
"""Symbols that are read at a time: bounds the memory, does not change the score."""

LOGITS = 1 << 24
"""The logits held at a time, where windows of one symbol do not have more of them."""

WORTH_A_BATCH = 4
"""Fewer texts than these, or than these that have not ended, are read one after the other."""

PREDICTION = np.dtype([("nats", np.float32), ("confidence", np.float32), ("right", np.bool_)])
"""What is known of a prediction: the nats that the symbol costs, the probability of the symbol
that was likeliest, and whether that was the one."""


@torch.no_grad()
def predictions(
    model: LanguageModel,
    texts: Sequence[npt.NDArray[Any]],
    start: int | None,
    batch_size: int = 64,
) -> list[npt.NDArray[Any]]:
    """Return how each symbol of each text was predicted, every text read from a fresh state.

    Args:
        model: The model, in evaluation mode.
        texts: One-dimensional arrays of symbols.
        start: The symbol read before the first of a text (the end of the document before it);
            None to predict the first symbol from the zero state by the output layer alone.
        batch_size: Texts read side by side.

    Returns:
        For each text, in the order given, an array of `PREDICTION` as long as it.
    """
    found = [np.empty(len(text), PREDICTION) for text in texts]

    def read(
        batch: Sequence[int], width: int, begin: int, previous: Tensor, state: State | None
    ) -> None:
        """Read texts, the longest first, from `begin` on, after the symbols `previous` (1, W)."""
        length = _window(width, model.vocabulary_size)
        while batch := [index for index in batch if begin < len(texts[index])]:
            # Batches of two shapes: a matrix product of few rows has other bits on other numbers of
            # threads.
            if width > 1 and len(batch) < WORTH_A_BATCH:
                for column, index in enumerate(batch):
                    one = slice(column, column + 1)
                    read([index], 1, begin, previous[:, one], _columns(state, one))
                return
            padded = np.zeros((length, width), np.int64)
            for column, index in enumerate(batch):
                part = texts[index][begin : begin + length]
                padded[: len(part), column] = part
            expected = torch.from_numpy(padded).to(model.device)
            if begin == 0 and start is None:
                logits = model.at_rest(width)[None]
                if len(expected) > 1:
                    following, state = model(expected[:-1])
                    logits = torch.cat([logits, following])
            else:
                logits, state = model(torch.cat([previous, expected[:-1]]), state)
            previous = expected[-1:]
            judged = _judged(logits, expected)
            for column, index in enumerate(batch):
                part = found[index][begin : begin + length]
                part[:] = judged[: len(part), column]
                bar.update(len(part))
            begin += length

    longest_first = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    before = torch.full((1, batch_size), start or 0, device=model.device)
    with progress(sum(map(len, texts)), "scoring", unit="symbol") as bar:
        for first in range(0, len(texts), batch_size):
            read(longest_first[first : first + batch_size], batch_size, 0, before, None)
    return found


def _columns(state: State | None, columns: slice) -> State | None:
    """Return the state of some of the streams."""
    if state is None:
        return None
    return tuple(part[:, columns].contiguous() for part in state)


def _window(streams: int, alphabet: int) -> int:
    """Return how many symbols of each stream are read at a time."""
    return min(WINDOW, max(1, LOGITS // (streams * alphabet)))


def _judged(logits: Tensor, expected: Tensor) -> npt.NDArray[Any]:
    """Return the `PREDICTION` of each of the symbols `expected`, from logits (…, V)."""
    log_probability = functional.log_softmax(logits, -1)
    nats = -log_probability.gather(-1, expected[..., None]).squeeze(-1)
    likeliest, symbol = log_probability.max(-1)
    judged = np.empty(expected.shape, PREDICTION)
    judged["nats"] = nats.cpu().numpy()
    judged["confidence"] = likeliest.exp().cpu().numpy()
    judged["right"] = (symbol == expected).cpu().numpy()
    return judged


@torch.no_grad()
def validation_loss(
    model: LanguageModel,
    tokens: npt.NDArray[Any],
    *,
    ignored: int | None = None,
    batch_size: int = 32,
) -> float | None:
    """Return the mean nats a symbol over the whole of `tokens`, for the learning curve.

    The text is read in order, as at most `batch_size` streams side by side that carry their state
    on, `WINDOW` symbols or more each: a stream knows nothing of what came before its first symbol.
    The symbol `ignored` is read but its prediction not counted. None for fewer than two symbols.
    """
    if len(tokens) < 2:
        return None
    was_training = model.training
    model.eval()
    device = model.device
    batch_size = min(batch_size, max(1, (len(tokens) - 1) // WINDOW))
    length = (len(tokens) - 1) // batch_size
    starts = np.arange(batch_size) * length
    total, count, state = 0.0, 0, None
    step = _window(batch_size, model.vocabulary_size)
    for begin in range(0, length, step):
        places = (begin + np.arange(min(step, length - begin) + 1))[:, None] + starts
        window = torch.from_numpy(tokens[places].astype(np.int64)).to(device)
        logits, state = model(window[:-1], state)
        expected = window[1:]
        nats = functional.cross_entropy(
            logits.flatten(0, 1), expected.flatten(), reduction="none"
        ).to(widest_float(device))
        counted = (expected.flatten() != ignored) if ignored is not None else nats == nats
        total += float((nats * counted).sum())
        count += int(counted.sum())
    model.train(was_training)
    return total / max(1, count)
