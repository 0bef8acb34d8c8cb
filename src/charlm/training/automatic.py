"""Settings that depend on the length of the training text.

docs/quality.md has scores of these settings for texts of 58 thousand to 3.6 million characters.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from charlm.settings import Architecture, Auto, OptimizerName, TrainingSettings

log = logging.getLogger(__name__)

UPDATES = 1500
"""A training makes at least this many updates, unless it would read the text too often."""

MAX_EPOCHS = 30.0
"""A network that reads a short text more often than that learns it by heart."""

STEPS_PER_EPOCH = 100
"""The number of streams is limited so that an epoch has at least this many steps."""

LENGTH = 64
"""Symbols of each stream per step."""

PATIENCE = 3
"""Validations without a new lowest loss after which training stops."""

LARGE = 10_000_000
"""From this many symbols on, the network is wider, the window longer and the batch larger."""

WIDTHS = ((100_000, 128), (400_000, 192), (LARGE, 256), (float("inf"), 512))
"""Limits of the number of symbols, and the hidden size for texts below each limit."""

RATES: Mapping[OptimizerName, tuple[float, float]] = {
    "muon": (8e-3, 2e-2),
    "adamw": (4e-3, 1e-2),
    "rmsprop": (3e-3, 3e-3),
    "sgd": (3e-3, 3e-3),
    "ntasgd": (3e-3, 3e-3),
}
"""Learning rates for large and for other texts."""

Number = TypeVar("Number", int, float)


def automatic_architecture(
    architecture: Architecture, symbols: int, origin: Architecture | None = None
) -> Architecture:
    """Return an architecture without automatic sizes.

    Args:
        architecture: The architecture.
        symbols: Number of symbols of the training text.
        origin: The architecture of the model whose weights to start from, which has these sizes.
    """
    hidden_size, embedding_size = architecture.hidden_size, architecture.embedding_size
    if hidden_size == "auto":
        width = next(width for limit, width in WIDTHS if symbols < limit)
        hidden_size = origin.hidden_size if origin else width
    if embedding_size == "auto":
        embedding_size = 64 if symbols < LARGE else 128
        if origin:
            embedding_size = origin.embedding_size
        elif architecture.tie_weights and hidden_size != "vocabulary":
            embedding_size = hidden_size
    return replace(architecture, hidden_size=hidden_size, embedding_size=embedding_size)


def automatic_training(
    training: TrainingSettings, symbols: int, validation_symbols: int
) -> TrainingSettings:
    """Return settings without automatic values.

    Args:
        training: The settings.
        symbols: Number of symbols of the training text.
        validation_symbols: Number of symbols of the validation text.

    >>> short = automatic_training(TrainingSettings(), 45_000, 2_500)
    >>> short.batch_size, short.sequence_length, round(short.epochs, 1), short.keep
    (4, 64, 8.5, 'best')
    >>> long = automatic_training(TrainingSettings(), 30_000_000, 0)
    >>> long.batch_size, long.sequence_length, long.epochs, long.keep, long.patience
    (64, 128, 1.0, 'last', None)
    """
    has_validation_text = validation_symbols > 1
    length = _given(training.sequence_length, LENGTH if symbols < LARGE else 2 * LENGTH)
    most = 32 if symbols < LARGE else 64
    streams = max(1, symbols // (length * STEPS_PER_EPOCH))
    batch_size = _given(training.batch_size, min(most, 1 << (streams.bit_length() - 1)))
    updates = UPDATES * batch_size * length / max(1, symbols)
    may_stop = has_validation_text and training.optimizer != "ntasgd"
    patience = training.patience
    if patience == "auto":
        patience = PATIENCE if may_stop else None
    keep = training.keep
    if keep == "auto":
        keep = "best" if has_validation_text else "last"
    low, high = RATES[training.optimizer]
    return replace(
        training,
        learning_rate=_given(training.learning_rate, high if symbols < LARGE else low),
        sequence_length=length,
        batch_size=batch_size,
        epochs=_given(training.epochs, min(MAX_EPOCHS, max(1.0, updates))),
        keep=keep,
        patience=patience,
    )


def _given(value: Number | Auto, otherwise: Number) -> Number:
    return otherwise if value == "auto" else value
