"""Character n-gram models of all orders, with Witten-Bell and modified Kneser-Ney smoothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from charlm.model.discounts import discounts

Group = TypeVar("Group", bound=str)
Smoothing = Literal["witten_bell", "kneser_ney"]
Symbols: TypeAlias = npt.NDArray[np.integer]
Integers: TypeAlias = npt.NDArray[np.int64]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Probabilities: TypeAlias = npt.NDArray[np.float64]

CHUNK = 1 << 16
"""Symbols hashed at a time: few enough for the processor's cache."""

PIECE = 1 << 22
"""Grams sorted at a time."""

PLACES = 1 << 24
"""Places of the training text whose grams are held at a time; each takes some 45 bytes."""

OLDEST_BITS = 12
"""Maximum number of bits of a preceded gram that hold the symbol before the gram."""

MULTIPLIER = 0x5851F42D4C957F2D
"""Multiplier of the hash of a context: odd, so that it has an inverse modulo 2^64."""

INVERSE = pow(MULTIPLIER, -1, 2**64)


def ngram_costs(
    training_texts: Sequence[Symbols],
    scored_texts: Mapping[Group, Sequence[Symbols]],
    *,
    alphabet_size: int,
    boundary: int,
) -> Iterator[tuple[int, dict[Smoothing, dict[Group, list[npt.NDArray[np.float32]]]]]]:
    """Yield the order n = 1, 2, 3 … and the cost of the scored texts under the n-gram models.

    With c(h w) the count of symbol w after the context h, and T(h) the number of different symbols
    seen after it, Witten-Bell smoothing (Witten & Bell 1991, method C) is

        p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)),

    where h' is h without its oldest symbol. Modified Kneser-Ney smoothing (Chen & Goodman 1999,
    interpolated) takes a discount D(c) off each count c instead:

        p(w | h) = (c(h w) - D(c(h w)) + p(w | h') sum over v of D(c(h v))) / c(h).

    For p(w | h') and shorter contexts, it counts the different symbols before a gram instead of the
    places of the gram. Under both, all symbols are equally likely below the empty context.

    The model of order n follows from that of order n - 1 by one pass over the training text. Grams
    are hashed. In a text of more than `PLACES` symbols, the contexts are divided into shares, which
    are counted one after another: memory beyond the texts themselves grows with the scored texts
    only.

    Args:
        training_texts: Arrays of symbols to count.
        scored_texts: Arrays of symbols to score, in groups by name.
        alphabet_size: Number of symbols that can be predicted.
        boundary: A number above all symbols; it stands for everything before a text.

    Yields:
        The order, and for each smoothing and group the nats of each symbol, one array per text.
    """
    training = _Stream(training_texts, boundary)
    scored = _Stream(list(chain.from_iterable(scored_texts.values())), boundary)
    shares = -(-len(training.symbols) // PLACES)
    witten_bell, kneser_ney = np.full((2, scored.length), 1 / alphabet_size)
    order = 0
    while True:
        order += 1
        none = np.zeros(0, np.uint64)
        grams = np.concatenate([none, *scored.preceded_grams(order)]) >> scored.oldest_bits
        # Neighbours in sorted order are found near one another in the counts.
        by_gram = np.argsort(grams)
        highest = kneser_ney.copy()
        raw_discounts = continuation_discounts = np.zeros(4)
        for share in range(shares):
            counts = GramCounts.of(training, order, share, shares)
            if share == 0:  # a sample of all contexts
                raw_discounts = discounts(counts.raw)
                continuation_discounts = discounts(counts.continuations)
            at = by_gram[scored.shares(grams[by_gram], shares) == share]
            found = counts.find(grams[at])
            at = at[found.known]
            witten_bell[at] = found.raw.witten_bell(witten_bell[at])
            highest[at] = found.raw.kneser_ney(kneser_ney[at], raw_discounts)
            kneser_ney[at] = found.continuations.kneser_ney(kneser_ney[at], continuation_discounts)
        yield (
            order,
            {
                "witten_bell": _by_text(witten_bell, scored_texts),
                "kneser_ney": _by_text(highest, scored_texts),
            },
        )


class _Stream:
    """Texts one after another, each after a boundary.

    A *gram* is a number that stands for a symbol and its context: its lowest bits hold the symbol,
    the others a hash of the context. A *preceded gram* also holds the symbol before the gram, in
    the lowest bits.

    Attributes:
        symbols: The symbols and boundaries.
        length: Number of symbols without the boundaries.
        boundary: The number that stands for a boundary.
        symbol_bits: Bits of a gram that hold its symbol.
        oldest_bits: Bits of a preceded gram that hold the symbol before the gram.
    """

    def __init__(self, texts: Sequence[Symbols], boundary: int) -> None:
        self.length = sum(map(len, texts))
        self.boundary = boundary
        self.symbol_bits = np.uint64(boundary.bit_length())
        self.oldest_bits = np.uint64(min(boundary.bit_length(), OLDEST_BITS))
        # The smallest type that fits, filled in place: this array holds all of the text.
        self.symbols = np.full(self.length + len(texts), boundary, np.min_scalar_type(boundary))
        place = 0
        for text in texts:
            self.symbols[place + 1 : place + 1 + len(text)] = text
            place += 1 + len(text)

    def preceded_grams(self, order: int) -> Iterator[Hashes]:
        """Yield the preceded gram that ends at each symbol, in chunks.

        A gram does not reach beyond the boundary before its text.
        """
        power = _powers(MULTIPLIER, CHUNK + order)
        inverse = _powers(INVERSE, CHUNK + order)
        for begin in range(0, len(self.symbols), CHUNK):
            first = max(begin - order, 0)
            part = self.symbols[first : begin + CHUNK]
            length = len(part)
            # The hash of the symbols a, b, c is a M^3 + b M^2 + c M modulo 2^64: a difference of
            # two cumulative sums of symbol times M^-place, times M^place.
            total = np.zeros(length + 1, np.uint64)
            np.cumsum((part + np.uint64(1)) * inverse[:length], out=total[1:])
            is_boundary = part == self.boundary
            latest = np.maximum.accumulate(np.where(is_boundary, np.arange(length), 0))
            place = np.flatnonzero(~is_boundary[begin - first :]) + (begin - first)
            latest = latest[place]
            start = np.maximum(latest, place - (order - 1)) if order > 1 else place
            gram = (total[place] - total[start]) * power[place]
            gram ^= gram >> np.uint64(32)
            gram *= np.uint64(MULTIPLIER)
            gram >>= self.symbol_bits + self.oldest_bits
            gram <<= self.symbol_bits
            gram |= part[place]
            gram <<= self.oldest_bits
            oldest = part[np.maximum(latest, place - order)]
            gram |= oldest & ((np.uint64(1) << self.oldest_bits) - np.uint64(1))
            yield gram

    def shares(self, grams: Hashes, number: int) -> Hashes:
        """Return which of a `number` of shares the context of each gram belongs to."""
        return (grams >> self.symbol_bits) % np.uint64(number)


@dataclass(frozen=True)
class _FoundCounts:
    """The counts of N grams, and what a smoothing needs to know of their contexts.

    Attributes:
        count: The count of each gram, shape (N,).
        total: The counts of all grams with the same context, shape (N,).
        seen: The number of different grams with the same context and a count of 1, of 2, and of 3
            or more, shape (3, N).
    """

    count: Integers
    total: Integers
    seen: Integers

    def witten_bell(self, shorter: Probabilities) -> Probabilities:
        """Return the probabilities, from those after shorter contexts."""
        distinct = self.seen.sum(0)
        probability: Probabilities = (self.count + distinct * shorter) / (self.total + distinct)
        return probability

    def kneser_ney(self, shorter: Probabilities, discount: Probabilities) -> Probabilities:
        """Return the probabilities, from those after shorter contexts.

        Args:
            shorter: The probabilities after shorter contexts.
            discount: What is taken off counts of 0, 1, 2, and 3 or more.
        """
        kept = self.count - discount[np.minimum(self.count, 3)]
        taken = discount[1] * self.seen[0] + discount[2] * self.seen[1] + discount[3] * self.seen[2]
        probability: Probabilities = (kept + taken * shorter) / self.total
        return probability


@dataclass(frozen=True)
class _Found:
    """The counts of the grams whose contexts the training text has.

    Attributes:
        known: Whether the context of each gram looked up is in the training text.
        raw: How often the known grams and their contexts occur.
        continuations: The number of different symbols before them.
    """

    known: npt.NDArray[np.bool_]
    raw: _FoundCounts
    continuations: _FoundCounts


class GramCounts:
    """Counts of different grams of a training text.

    Args:
        grams: The grams, sorted, shape (G,).
        raw: How often each occurs, shape (G,).
        continuations: The number of different symbols before each, shape (G,).
        symbol_bits: Bits of a gram that hold its symbol.
    """

    def __init__(
        self, grams: Hashes, raw: Integers, continuations: Integers, symbol_bits: np.uint64
    ) -> None:
        self.grams = grams
        self.raw = raw
        self.continuations = continuations
        self._symbol_bits = symbol_bits
        contexts = grams >> symbol_bits
        self._first = _beginnings(contexts)
        self._contexts = contexts[self._first]

    @classmethod
    def of(cls, training: _Stream, order: int, share: int, shares: int) -> "GramCounts":
        """Count the grams with contexts of one of the `shares`."""
        tables = []
        pending: list[Hashes] = []
        for preceded in training.preceded_grams(order):
            if shares > 1:
                chosen = training.shares(preceded >> training.oldest_bits, shares) == share
                preceded = preceded[chosen]
            pending.append(preceded)
            if sum(map(len, pending)) >= PIECE:
                tables.append(_count(pending))
                pending = []
        preceded, counts = _merge([*tables, _count(pending)])
        grams = preceded >> training.oldest_bits
        first = _beginnings(grams)
        continuations = np.diff(first, append=len(grams))
        return cls(grams[first], _sums(counts, first), continuations, training.symbol_bits)

    def find(self, grams: Hashes) -> _Found:
        """Look up sorted grams."""
        context, known = _find(self._contexts, grams >> self._symbol_bits)
        context, grams = context[known], grams[known]
        gram, seen = _find(self.grams, grams)
        found = []
        for counts in (self.raw, self.continuations):
            classes = (counts == 1, counts == 2, counts > 2)
            found.append(
                _FoundCounts(
                    count=np.where(seen, counts[gram], 0) if len(gram) else counts[:0],
                    total=_sums(counts, self._first)[context],
                    seen=np.stack(
                        [_sums(each.astype(np.int64), self._first)[context] for each in classes]
                    ),
                )
            )
        return _Found(known, found[0], found[1])


def _count(pieces: Sequence[Hashes]) -> tuple[Hashes, Integers]:
    """Return the different numbers, sorted, and how often each occurs."""
    numbers = np.concatenate([np.empty(0, np.uint64), *pieces])
    numbers.sort()
    first = _beginnings(numbers)
    return numbers[first], np.diff(first, append=len(numbers))


def _merge(tables: Sequence[tuple[Hashes, Integers]]) -> tuple[Hashes, Integers]:
    """Return one table of numbers and counts for several."""
    if len(tables) == 1:
        return tables[0]
    numbers, counts = map(np.concatenate, zip(*tables, strict=True))
    by_number = np.argsort(numbers)
    numbers = numbers[by_number]
    first = _beginnings(numbers)
    return numbers[first], _sums(counts[by_number], first)


def _powers(base: int, number: int) -> Hashes:
    """Return the powers 0, 1, … of an odd number modulo 2^64."""
    factors = np.full(number, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


def _beginnings(values: Hashes) -> npt.NDArray[np.int64]:
    """Return where the runs of equal values begin.

    >>> _beginnings(np.array([3, 3, 5], np.uint64)).tolist()
    [0, 2]
    """
    differs = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return np.flatnonzero(differs)


def _sums(values: Integers, first: npt.NDArray[np.int64]) -> Integers:
    """Return the sum of each run of values, given where the runs begin."""
    if not len(first):
        return np.empty(0, np.int64)
    sums: Integers = np.add.reduceat(values, first)
    return sums


def _find(known: Hashes, wanted: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return where numbers are among sorted ones, and whether they are there at all."""
    if not len(known):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return place, known[place] == wanted


def _by_text(
    probabilities: Probabilities, groups: Mapping[Group, Sequence[Symbols]]
) -> dict[Group, list[npt.NDArray[np.float32]]]:
    """Return the nats of each text, from the probabilities of all texts' symbols."""
    nats = -np.log(probabilities).astype(np.float32)
    place = 0
    costs: dict[Group, list[npt.NDArray[np.float32]]] = {name: [] for name in groups}
    for name, group in groups.items():
        for text in group:
            costs[name].append(nats[place : place + len(text)])
            place += len(text)
    return costs
