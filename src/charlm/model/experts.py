"""Experts: predictions from counts of what followed each context in the training text."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from charlm.model.contexts import Contexts, Reading, combine
from charlm.model.kneser_ney import CountTable, Integers, different_places, grams

CHUNK = 1 << 18
"""Symbols of the training text that are read at a time."""

LOGITS = 1 << 22
"""Log-probabilities of all experts that are held at a time."""

CONTEXTS = 1 << 27
"""Contexts that are held at a time while a text is counted, but always all of one expert."""


@dataclass(frozen=True)
class Expert:
    """One kind of context.

    Attributes:
        context: Returns the hash of the context after each symbol of a reading, int64.
        general: The expert that predicts where this one has not seen a context, by name; None for
            a uniform distribution.
        nested: Whether the context determines that of the general expert.
    """

    context: Callable[[Reading], Tensor]
    general: str | None
    nested: bool = False


def _suffix(length: int) -> Expert:
    """Return the expert of the last `length` symbols, a level of an n-gram model."""
    general = f"ngram{length}" if length else None
    return Expert(lambda reading: reading.suffix(length), general, nested=True)


WORD_EXPERTS = {
    "word": Expert(lambda read: combine(read.words[0], 1), "ngram2"),
    "word1": Expert(lambda read: combine(read.words[0], 2, read.words[1]), "ngram6"),
    "word2": Expert(lambda read: combine(read.words[0], 3, read.words[1], read.words[2]), "word1"),
    "skip": Expert(lambda read: combine(read.words[0], 4, read.words[2]), "ngram6"),
    "word1_suffix3": Expert(lambda read: combine(read.suffix(3), 5, read.words[1]), "ngram4"),
}
"""Experts of words. Each context but the last has the letters of the current word: alone, with the
word before it, with the two words before it, and with only the second of these. The last has the
last three symbols and the word before the current one."""

NAMES = tuple(WORD_EXPERTS)
"""The names that `mixture.experts` may have."""


def expert_list(names: Sequence[str], order: int) -> dict[str, Expert]:
    """Return the experts of a configuration, each after the one it falls back on.

    An expert whose fallback is not among them falls back on an n-gram.

    Args:
        names: Some of `NAMES`.
        order: The order n of the n-gram model, whose levels are the experts `ngram1` to `ngramN`.
    """
    experts = {f"ngram{length + 1}": _suffix(length) for length in range(order)}
    for name, expert in WORD_EXPERTS.items():
        if name in names:
            general = expert.general if expert.general in experts else f"ngram{min(order, 6)}"
            experts[name] = replace(expert, general=general)
    return experts


class Opinions(NamedTuple):
    """What K experts predict at N places.

    Attributes:
        logits: Log-probabilities, float32 of shape (N, K, V).
        features: How much each expert knows of the context, float32 of shape (N, 2 K).
    """

    logits: Tensor
    features: Tensor


class Experts(nn.Module):
    """Experts that were counted in one text.

    Args:
        contexts: Reads the contexts.
        experts: The experts by name, each after the one it falls back on.
        tables: Their counts.

    Attributes:
        longest: The place of the longest n-gram among the experts.
        places: Number of places to predict at a time, to bound the memory.
    """

    def __init__(
        self,
        contexts: Contexts,
        experts: Mapping[str, Expert],
        tables: Mapping[str, CountTable],
    ) -> None:
        super().__init__()
        self.contexts = contexts
        self.experts = experts
        self.tables = nn.ModuleDict(tables)
        self.longest = list(experts).index(f"ngram{contexts.order}")
        self.places = max(1, LOGITS // (contexts.vocabulary_size * (len(experts) + 1)))

    @classmethod
    def from_arrays(
        cls, contexts: Contexts, experts: Mapping[str, Expert], arrays: Mapping[str, Tensor]
    ) -> "Experts":
        """Return experts from the arrays of `CountTable`, by name of the expert and the array.

        Raises:
            ValueError: An array is missing or superfluous, or some do not go together.
        """
        names = {f"{name}.{array}" for name in experts for array in CountTable.ARRAYS}
        if different := names ^ set(arrays):
            raise ValueError(f"missing or superfluous: {', '.join(sorted(different))}")
        tables = {}
        for name in experts:
            read = {array: arrays[f"{name}.{array}"] for array in CountTable.ARRAYS}
            CountTable.check_sizes(**read)
            tables[name] = CountTable(**read)
            tables[name].check(contexts.vocabulary_size)
        return cls(contexts, experts, tables)

    @property
    def bytes(self) -> int:
        """The size of all counts when saved."""
        return sum(self.table(name).bytes for name in self.experts)

    def table(self, name: str) -> CountTable:
        """Return the counts of an expert."""
        table = self.tables[name]
        assert isinstance(table, CountTable)
        return table

    def forward(self, reading: Reading, others: Tensor) -> Opinions:
        """Return the opinions after each symbol of a reading of shape (L, B), N = L B.

        Args:
            reading: The contexts.
            others: Log-probabilities of other models, which come first, float32 (N, M, V).
        """
        places, first, vocabulary_size = others.shape
        logits = others.new_empty(places, first + len(self.experts), vocabulary_size)
        logits[:, :first] = others
        uniform = others.new_full((1, vocabulary_size), -math.log(vocabulary_size))
        opinions: dict[str | None, Tensor] = {None: uniform.expand(places, vocabulary_size)}
        features = []
        for number, (name, expert) in enumerate(self.experts.items(), first):
            context = _shortened(expert.context(reading)).flatten()
            general, opinions[name] = opinions[expert.general], logits[:, number]
            predict = self._predict_once if expert.nested else self._predict
            features.append(predict(name, context, general, opinions[name]))
        return Opinions(logits, torch.cat(features, 1))

    def _predict(self, name: str, context: Tensor, general: Tensor, result: Tensor) -> Tensor:
        return self.table(name).predict(context, general, result)

    def _predict_once(self, name: str, context: Tensor, general: Tensor, result: Tensor) -> Tensor:
        """Predict after each different context once, if many are the same."""
        different, index = torch.unique(context, return_inverse=True)
        if len(different) > len(context) // 2:
            return self._predict(name, context, general, result)
        places = torch.arange(len(context), device=context.device)
        place = torch.empty_like(different, dtype=torch.int64).scatter_(0, index, places)
        once = general.new_empty(len(different), general.shape[1])
        features = self._predict(name, different, general[place], once)
        result.copy_(once[index])
        return features[index]


def count_experts(
    contexts: Contexts,
    experts: Mapping[str, Expert],
    tokens: Integers,
    budget: float,
) -> Experts:
    """Count a text.

    Levels of the n-gram model below the highest count the different symbols before a gram instead
    of the gram itself (Kneser & Ney 1995).

    Args:
        contexts: Reads the contexts; its order is that of the n-gram model.
        experts: The experts by name, each after the one it falls back on.
        tokens: The text, of shape (T,).
        budget: The most bytes that the counts may take. Contexts that are seen rarely are left
            out, in the largest tables first.
    """
    tables: dict[str, CountTable] = {}
    below: tuple[str, npt.NDArray[np.int64]] | None = None
    for name, context in _contexts_before_each(contexts, experts, tokens):
        counted = grams(context, tokens)
        if name.startswith("ngram"):
            if below:
                level, shorter = below
                tables[level] = CountTable.counted(shorter[different_places(counted)])
            below = (name, counted)
        tables[name] = CountTable.counted(counted)
    return Experts(contexts, experts, pruned(tables, budget))


def pruned(tables: Mapping[str, CountTable], budget: float) -> dict[str, CountTable]:
    """Return tables of at most `budget` bytes, without the contexts that are seen rarely.

    They are left out in the largest tables first.
    """
    sizes = {name: table.pruned_sizes() for name, table in tables.items()}
    steps = dict.fromkeys(tables, 0)

    def size(name: str) -> int:
        return int(sizes[name][1][steps[name]])

    while sum(map(size, tables)) > budget:
        growable = [name for name in tables if steps[name] < len(sizes[name][0])]
        if not growable:
            break
        steps[max(growable, key=size)] += 1
    return {
        name: table.pruned(int(sizes[name][0][steps[name] - 1]) + 1) if steps[name] else table
        for name, table in tables.items()
    }


def _contexts_before_each(
    contexts: Contexts, experts: Mapping[str, Expert], tokens: Integers
) -> Iterator[tuple[str, npt.NDArray[np.int32]]]:
    """Yield each expert's contexts before all symbols of a text, as if it followed a document."""
    if contexts.end_of_document is None:
        start, previous = contexts.current(contexts.initial_state(1)), tokens[:-1]
    else:
        start, previous = None, np.concatenate([[contexts.end_of_document], tokens[:-1]])
    at_a_time = max(1, CONTEXTS // len(tokens))
    listed = list(experts)
    for start_of_batch in range(0, len(listed), at_a_time):
        names = listed[start_of_batch : start_of_batch + at_a_time]
        found = np.empty((len(names), len(tokens)), np.int32)

        def write(reading: Reading, begin: int) -> None:
            for row, name in zip(found, names, strict=True):  # noqa: B023
                part = _shortened(experts[name].context(reading))[:, 0]
                row[begin : begin + len(part)] = part

        if start:
            write(start, 0)
        state = contexts.initial_state(1)
        for begin in range(0, len(previous), CHUNK):
            symbols = torch.from_numpy(previous[begin : begin + CHUNK].astype(np.int64))
            reading, state = contexts.read(symbols[:, None], state)
            write(reading, begin + (start is not None))
        yield from zip(names, found, strict=True)


def _shortened(context: Tensor) -> Tensor:
    """Return 32 of the 64 bits of a hash, int32: that two contexts share them is rare."""
    return (context >> 32).to(torch.int32)
