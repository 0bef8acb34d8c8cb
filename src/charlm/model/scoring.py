"""Scoring: how well a model predicts each symbol of a text."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from charlm.model.base import LanguageModel, State
from charlm.model.devices import widest_float
from charlm.progress import progress

WINDOW = 256
"""Number of symbols to read at a time. It bounds the memory and does not change the scores."""

MAX_LOGITS = 1 << 24
"""Number of logits to hold at a time; a window has at least one symbol all the same."""

MIN_BATCH = 4
"""Fewer texts than this are read one after the other."""

PREDICTION = np.dtype([("nats", np.float32), ("confidence", np.float32), ("right", np.bool_)])
"""The prediction of a symbol: its negative log-likelihood, the probability of the likeliest symbol,
and whether that was the right one."""


@torch.no_grad()
def predictions(
    model: LanguageModel,
    texts: Sequence[npt.NDArray[np.integer]],
    start: int | None,
    batch_size: int = 64,
) -> list[npt.NDArray[np.void]]:
    """Return how well each symbol of each text is predicted.

    The model reads each text from the initial state.

    Args:
        model: The model, in evaluation mode.
        texts: The tokens of each text, one-dimensional.
        start: A token to read before each text, the end of the document before it; None if there
            is none, so that the first symbol is predicted from the initial state.
        batch_size: Number of texts to read in parallel.

    Returns:
        For each text, in the order given, a `PREDICTION` for each symbol.
    """
    found = [np.empty(len(text), PREDICTION) for text in texts]

    def read(
        batch: Sequence[int], width: int, begin: int, previous: Tensor, state: State | None
    ) -> None:
        """Read the rest of some texts.

        Args:
            batch: Indices of the texts, the longest first.
            width: Number of columns of the model's input; those beyond the texts are padding.
            begin: Number of symbols already read.
            previous: The last tokens read, shape (1, width).
            state: The state before `previous`.
        """
        length = _window(width, model.vocabulary_size)
        while batch := [index for index in batch if begin < len(texts[index])]:
            # All batches have one of two widths: matrix products of few rows depend, in their last
            # bits, on the number of threads.
            if width > 1 and len(batch) < MIN_BATCH:
                for column, index in enumerate(batch):
                    one = slice(column, column + 1)
                    read([index], 1, begin, previous[:, one], _columns(state, one))
                return
            padded = np.zeros((length, width), np.int64)
            for column, index in enumerate(batch):
                part = texts[index][begin : begin + length]
                padded[: len(part), column] = part
            targets = torch.from_numpy(padded).to(model.device)
            if begin == 0 and start is None:
                logits = model.initial_logits(width)[None]
                if len(targets) > 1:
                    following, state = model(targets[:-1])
                    logits = torch.cat([logits, following])
            else:
                logits, state = model(torch.cat([previous, targets[:-1]]), state)
            previous = targets[-1:]
            predicted = _compare(logits, targets)
            for column, index in enumerate(batch):
                rest = found[index][begin : begin + length]
                rest[:] = predicted[: len(rest), column]
                bar.update(len(rest))
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
    return tuple(tensor[:, columns].contiguous() for tensor in state)


def _window(streams: int, vocabulary_size: int) -> int:
    """Return the number of symbols of each stream to read at a time."""
    return min(WINDOW, max(1, MAX_LOGITS // (streams * vocabulary_size)))


def _compare(logits: Tensor, targets: Tensor) -> npt.NDArray[np.void]:
    """Return the `PREDICTION` of each target, from logits (..., V)."""
    log_probability = functional.log_softmax(logits, -1)
    nats = -log_probability.gather(-1, targets[..., None]).squeeze(-1)
    highest, likeliest = log_probability.max(-1)
    predicted = np.empty(targets.shape, PREDICTION)
    predicted["nats"] = nats.cpu().numpy()
    predicted["confidence"] = highest.exp().cpu().numpy()
    predicted["right"] = (likeliest == targets).cpu().numpy()
    return predicted


@torch.no_grad()
def validation_loss(
    model: LanguageModel,
    tokens: npt.NDArray[np.integer],
    *,
    ignored: int | None = None,
    batch_size: int = 32,
) -> float | None:
    """Return the mean nats per symbol over all of `tokens`, for the learning curve.

    The text is cut into at most `batch_size` streams of at least `WINDOW` symbols, which are read
    in parallel and carry their state. Each begins in the initial state, without the text before it.

    Args:
        model: The model; it keeps its mode.
        tokens: The text, one-dimensional.
        ignored: A token that is read but whose prediction does not count.
        batch_size: The largest number of streams.

    Returns:
        The loss; None for fewer than two symbols.
    """
    if len(tokens) < 2:
        return None
    was_training = model.training
    model.eval()
    device = model.device
    batch_size = min(batch_size, max(1, (len(tokens) - 1) // WINDOW))
    length = (len(tokens) - 1) // batch_size
    starts = np.arange(batch_size) * length
    total, count = 0.0, 0
    state: State | None = None
    step = _window(batch_size, model.vocabulary_size)
    for begin in range(0, length, step):
        positions = (begin + np.arange(min(step, length - begin) + 1))[:, None] + starts
        window = torch.from_numpy(tokens[positions].astype(np.int64)).to(device)
        logits, state = model(window[:-1], state)
        targets = window[1:].flatten()
        nats = functional.cross_entropy(logits.flatten(0, 1), targets, reduction="none")
        counts = torch.ones_like(targets, dtype=torch.bool)
        if ignored is not None:
            counts = targets != ignored
        total += float((nats.to(widest_float(device)) * counts).sum())
        count += int(counts.sum())
    model.train(was_training)
    return total / max(1, count)
