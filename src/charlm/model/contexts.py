"""Contexts: what stands before each symbol, as numbers that experts look up.

A context of any kind and length, such as the last nine symbols, or the current word and the two
words before it, is hashed to one number. Contexts start afresh at each document.
"""

import unicodedata
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

MULTIPLIER = 0x5851F42D4C957F2D
"""The multiplier M of the hash of a word: odd, so that it has an inverse modulo 2^64."""

INVERSE = pow(MULTIPLIER, -1, 2**64)

WORDS = 3
"""Number of words kept: the current one, of which only the beginning was read, and those before."""


class ContextState(NamedTuple):
    """What has been read of each of B streams.

    Attributes:
        history: The last symbols, int64 of shape (order - 1, B), the newest last; V (the size of
            the vocabulary) stands for what precedes a document.
        words: Hashes of the current word (zero between words) and of the words before it, int64 of
            shape (WORDS, B).
    """

    history: Tensor
    words: Tensor


class Reading:
    """The contexts after each of L symbols of B streams.

    Args:
        lags: The symbol read last, the one before it and so on, each int64 of shape (L, B).
        words: Hashes of the current word and of the words before it, each int64 of shape (L, B).
    """

    def __init__(self, lags: Sequence[Tensor], words: Sequence[Tensor]) -> None:
        self.lags = lags
        self.words = words
        self._suffixes = [torch.zeros_like(lags[0])]

    def suffix(self, length: int) -> Tensor:
        """Return hashes of the last `length` symbols, int64 of shape (L, B)."""
        while len(self._suffixes) <= length:
            lag = self.lags[len(self._suffixes) - 1]
            self._suffixes.append(combine(self._suffixes[-1], lag + 1))
        return self._suffixes[length]


class Contexts(nn.Module):
    """Reads symbols and returns the contexts after each.

    Args:
        order: The longest context has `order` - 1 symbols.
        letters: For each symbol a number that it shares with its other case, or 0 if it is not
            part of a word, int64 of shape (V,); see `word_letters`. None for contexts without
            words.
        end_of_document: The symbol that ends a document. In a context it is only ever the oldest
            symbol: what precedes it is not seen. None for a text without such symbols.
        vocabulary_size: Number of symbols V.
    """

    letters: Tensor | None
    _start: Tensor

    def __init__(
        self,
        order: int,
        letters: Tensor | None,
        end_of_document: int | None,
        vocabulary_size: int,
    ) -> None:
        super().__init__()
        self.order = order
        self.register_buffer("letters", letters, persistent=False)
        self.register_buffer("_start", torch.tensor(vocabulary_size), persistent=False)
        self.end_of_document = end_of_document
        self.vocabulary_size = vocabulary_size

    def initial_state(self, batch_size: int) -> ContextState:
        """Return the state before any symbol is read."""
        history = self._start.repeat(self.order - 1, batch_size)
        words = torch.zeros(WORDS, batch_size, dtype=torch.int64, device=history.device)
        return ContextState(history, words)

    def read(self, symbols: Tensor, state: ContextState) -> tuple[Reading, ContextState]:
        """Read symbols, int64 of shape (L, B); return the contexts after each, and the new state.

        Reading a text in parts gives what reading it at once gives.
        """
        ended = symbols == (-1 if self.end_of_document is None else self.end_of_document)
        lags = self._lags(symbols, ended, state.history)
        words = []
        if self.letters is not None:
            words = self._words(symbols, self.letters[symbols], ended, state.words)
        history = torch.stack([lag[-1] for lag in reversed(lags)]) if lags else state.history
        newest = torch.stack([word[-1] for word in words]) if words else state.words
        return Reading(lags, words), ContextState(history, newest)

    def current(self, state: ContextState) -> Reading:
        """Return the contexts of a state, with L = 1."""
        return Reading(list(state.history.flip(0)[:, None]), list(state.words[:, None]))

    def _lags(self, symbols: Tensor, ended: Tensor, history: Tensor) -> list[Tensor]:
        """Return the symbol read last, the one before it and so on, each of shape (L, B)."""
        length, start = len(symbols), len(history)
        read = torch.cat([history, symbols])
        place = torch.arange(length, device=symbols.device)[:, None]
        # Within a document that began in this part, nothing before its beginning is seen.
        beginning = torch.where(ended, place, -start).cummax(0).values
        lags = []
        for lag in range(start):
            symbol = read[start - lag : start - lag + length]
            seen = place - lag >= beginning
            lags.append(torch.where(seen, symbol, self.vocabulary_size))
        return lags

    @staticmethod
    def _words(symbols: Tensor, letter: Tensor, ended: Tensor, before: Tensor) -> list[Tensor]:
        """Return the hashes of the current word and of those before it, each of shape (L, B).

        The hash of the letters a, b, c is (a M + b) M + c modulo 2^64. It is the difference of two
        cumulative sums of letter times M^-place, times M^place, and needs no loop.
        """
        inside = letter > 0
        # Row 0 stands for what was read before.
        place = torch.arange(len(symbols) + 1, device=symbols.device)[:, None]
        first = torch.zeros_like(inside[:1])
        weight = _powers(MULTIPLIER, place[:, 0])[:, None]
        inverse = _powers(INVERSE, place[:, 0])[:, None]
        total = (torch.cat([before[:1], letter]) * inverse).cumsum(0)
        outside = _latest(torch.cat([first, ~inside]), place)
        begun = (total - _at(total, outside, torch.zeros_like(before[0]))) * weight
        was_inside = torch.cat([before[:1] != 0, inside[:-1]])
        completed = _latest(torch.cat([first, ~inside & was_inside]), place)
        ended = torch.cat([first, ended])
        reset = _latest(ended, place)
        words = [begun]
        for older in before[1:]:
            word = _at(words[-1], completed - 1, older)
            words.append(torch.where(reset >= completed.clamp(min=0), 0, word))
        return [word[1:] for word in words]


def word_letters(symbols: Sequence[str], special: Collection[int | None]) -> Tensor:
    """Return the `letters` of `Contexts`: words are of letters, digits, marks and apostrophes.

    Bytes above ASCII count as letters.

    Args:
        symbols: The symbols of a vocabulary, V of them.
        special: The ids of those that stand for no text.
    """
    folded = [
        symbol.casefold() if number not in special and _is_part_of_word(symbol) else ""
        for number, symbol in enumerate(symbols)
    ]
    numbers = {symbol: number for number, symbol in enumerate(sorted({"", *folded}))}
    return torch.tensor([numbers[symbol] for symbol in folded])


def _is_part_of_word(symbol: str) -> bool:
    if symbol.startswith("<0x"):
        return True
    return symbol[0].isalnum() or symbol[0] in "'’" or unicodedata.category(symbol[0])[0] == "M"


def combine(context: Tensor, *others: Tensor | int) -> Tensor:
    """Return a hash of several numbers, the order of which matters."""
    for other in others:
        context = (context ^ other) * _signed(MULTIPLIER)
        context = context ^ (context >> 31)
    return context


def _latest(happened: Tensor, place: Tensor) -> Tensor:
    """Return the latest place up to each one where something happened, or -1."""
    return torch.where(happened, place, -1).cummax(0).values


def _at(values: Tensor, place: Tensor, otherwise: Tensor) -> Tensor:
    """Return the values at places, or another one where the place is negative."""
    return torch.where(place >= 0, values.gather(0, place.clamp(min=0)), otherwise)


def _powers(base: int, exponents: Tensor) -> Tensor:
    """Return the powers 0, 1, … of a number modulo 2^64, as many as there are exponents."""
    factors = torch.full_like(exponents, _signed(base))
    factors[0] = 1
    return factors.cumprod(0)


def _signed(number: int) -> int:
    """Return the signed integer of 64 bits that equals a number modulo 2^64."""
    return (number + 2**63) % 2**64 - 2**63
