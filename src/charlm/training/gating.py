"""Training of a mixture's gate."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from charlm.model.experts import Opinions
from charlm.model.kneser_ney import Integers
from charlm.model.mixture import Mixture
from charlm.settings import GateSplit
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.optimization import Optimizer

STREAMS = 32
LENGTH = 128
"""The text is read as `STREAMS` streams side by side, `LENGTH` symbols of each at a time."""

BATCH_SIZE = 256
"""Places per update."""

LEARNING_RATE = 1e-2
SLOW_BELOW = 3000
"""A shorter text lowers the learning rate in proportion: the gate then stays near where it began.
"""

WEIGHT_DECAY = 0.1

UPDATES = 600
"""A short text is read again until the gate has been updated at least this often, but at most
`MAX_EPOCHS` times."""

MAX_EPOCHS = 8

LEAST = 2000
"""The fewest symbols of validation text that a gate learns on."""

HEAD = 0.05
"""Fraction of the training text that the gate learns on otherwise; at least `LEAST` symbols, unless
that is more than a fifth."""


@dataclass(frozen=True)
class GateText:
    """How a mixture's text is divided.

    Attributes:
        train: The training split.
        counted: The part of it that the network and the experts learn from.
        gate: The text that the gate learns on.
        source: Where that text is from.
    """

    train: Integers
    counted: Integers
    gate: Integers
    source: GateSplit


def split_gate_text(tokens: str | Path, vocabulary: Vocabulary) -> GateText:
    """Return the text that a mixture's gate learns on, and the text that it must not have seen.

    A gate that is trained on text which the experts have counted believes them, and fails on any
    other. So it learns on the validation split, whose own score is then that of a text the model
    has seen. Without a test split the validation split is needed for an honest score, and a tiny
    one teaches little. The gate then learns on the beginning of the training split, which is kept
    from the network. (The end often resembles what comes next most: a play goes on in it.)

    Args:
        tokens: The folder of the encoded splits.
        vocabulary: Their vocabulary. If it has a symbol that ends a document, the cut is made after
            one.
    """
    train, validation, test = (
        TokenSplit.load(tokens, name, vocabulary).tokens for name in ("train", "validation", "test")
    )
    if len(validation) >= LEAST and len(test):
        return GateText(train, train, validation, "validation")
    head = max(HEAD, min(LEAST / max(1, len(train)), 0.2))
    cut = round(len(train) * head)
    if vocabulary.end_of_document is not None and cut:
        ends = np.flatnonzero(train[cut - 1 : 2 * cut] == vocabulary.end_of_document)
        cut += int(ends[0]) if len(ends) else 0
    return GateText(train, train[cut:], train[:cut], "train_head")


def train_gate(mixture: Mixture, tokens: Integers, *, seed: int) -> None:
    """Train a mixture's gate on a text that neither its network nor its experts have seen.

    Network and experts stay as they are.

    Args:
        mixture: The mixture, whose gate is new.
        tokens: The text, of shape (T,); fewer than two symbols leave the gate as it is.
        seed: Seed of the order of the places.
    """
    if len(tokens) < 2:
        return
    streams = max(1, min(STREAMS, (len(tokens) - 1) // LENGTH))
    length = (len(tokens) - 1) // streams
    text = np.stack([tokens[n * length : (n + 1) * length + 1] for n in range(streams)], 1)
    symbols = torch.from_numpy(text.astype(np.int64)).to(mixture.device)
    at_a_time = min(LENGTH, max(1, mixture.experts.places // streams))
    updates = math.ceil(length / at_a_time) * math.ceil(at_a_time * streams / BATCH_SIZE)
    epochs = min(MAX_EPOCHS, math.ceil(UPDATES / updates))
    highest_rate = LEARNING_RATE * min(1, len(tokens) / SLOW_BELOW)
    optimizer = Optimizer("adamw", mixture.gate, WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(seed)
    update = 0
    for _ in range(epochs):
        state = None
        for begin in range(0, length, at_a_time):
            part = symbols[begin : begin + at_a_time + 1]
            with torch.no_grad():
                opinions, state = mixture.opinions(part[:-1], state)
            if update == 0:
                mixture.gate.standardize(opinions.features)
            expected = part[1:].flatten()
            order = torch.randperm(len(expected), generator=generator).to(expected.device)
            for first in range(0, len(order), BATCH_SIZE):
                places = order[first : first + BATCH_SIZE]
                chosen = Opinions(opinions.logits[places], opinions.features[places])
                loss = functional.nll_loss(mixture.gate.forward(chosen), expected[places])
                mixture.gate.zero_grad()
                torch.autograd.backward(loss)
                rate = highest_rate * 0.5 * (1 + math.cos(math.pi * update / (epochs * updates)))
                optimizer.step(rate)
                update += 1
