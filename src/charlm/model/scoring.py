"""Scoring: how well a model predicts each symbol of a text."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from charlm.model.base import LanguageModel, State
from charlm.model.devices import widest_float
from charlm.progress import ProgressBar, progress

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
    if start is None:
        logits = model.initial_logits(batch_size)[:1]
        for text, result in zip(texts, found, strict=True):
            first_symbol = torch.from_numpy(text[:1].astype(np.int64)).to(model.device)
            result[:1] = _compare(logits[: len(text)], first_symbol)
    readings = [
        _Reading(text[:-1], text[1:], result[1:])
        if start is None
        else _Reading(np.concatenate([[start], text[:-1]]), text, result)
        for text, result in zip(texts, found, strict=True)
    ]
    readings = [reading for reading in readings if len(reading.targets)]
    readings.sort(key=lambda reading: -len(reading.targets))
    with progress(sum(map(len, texts)), "scoring", unit="symbol") as bar:
        bar.update(sum(map(len, texts)) - sum(len(reading.targets) for reading in readings))
        _read(model, [None] * batch_size, deque(readings), model.initial_state(batch_size), bar)
    return found


@dataclass
class _Reading:
    """A text that is being read.

    Attributes:
        inputs: The tokens to read, shape (T,).
        targets: The tokens to predict after each.
        found: Receives a `PREDICTION` of each target.
        position: Number of tokens that have been read.
    """

    inputs: npt.NDArray[np.integer]
    targets: npt.NDArray[np.integer]
    found: npt.NDArray[np.void]
    position: int = 0


def _read(
    model: LanguageModel,
    columns: list[_Reading | None],
    waiting: deque[_Reading],
    state: State,
    bar: ProgressBar,
) -> None:
    """Read texts side by side. A column whose text ends takes the next one that waits.

    All windows have one of two widths: matrix products of few rows depend, in their last bits, on
    the number of threads.
    """
    initial_state, width = model.initial_state(1), len(columns)
    length = _window(width, model.vocabulary_size)
    while True:
        for column, reading in enumerate(columns):
            if reading is None and waiting:
                columns[column] = waiting.popleft()
                for tensor, initial in zip(state, initial_state, strict=True):
                    tensor[:, column] = initial[:, 0]
        active = [(column, reading) for column, reading in enumerate(columns) if reading]
        if width > 1 and len(active) < MIN_BATCH:
            for column, reading in active:
                one = tuple(tensor[:, column : column + 1].contiguous() for tensor in state)
                _read(model, [reading], deque(), one, bar)
            return
        if not active:
            return
        inputs, targets = np.zeros((2, length, width), np.int64)
        for column, reading in active:
            place = slice(reading.position, reading.position + length)
            part = len(reading.targets[place])
            inputs[:part, column] = reading.inputs[place]
            targets[:part, column] = reading.targets[place]
        logits, state = model(torch.from_numpy(inputs).to(model.device), state)
        predicted = _compare(logits, torch.from_numpy(targets).to(model.device))
        for column, reading in active:
            rest = reading.found[reading.position : reading.position + length]
            rest[:] = predicted[: len(rest), column]
            reading.position += len(rest)
            bar.update(len(rest))
            if reading.position == len(reading.targets):
                columns[column] = None


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
