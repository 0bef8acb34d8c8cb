"""Contexts are the same whether a text is read at once, in parts or symbol by symbol."""

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from charlm.model.contexts import Contexts, Reading, word_letters
from charlm.text.vocabulary import Vocabulary

SYMBOLS = [*"abcABC .'é", "<unknown>", "<end_of_document>"]
END = SYMBOLS.index("<end_of_document>")
VOCABULARY = Vocabulary.from_dict(
    {
        "unit": "character",
        "symbols": SYMBOLS,
        "counts": [1] * len(SYMBOLS),
        "special": {"unknown": END - 1, "end_of_document": END},
    }
)
ORDER = 5


@pytest.fixture
def contexts() -> Contexts:
    return Contexts(ORDER, word_letters(SYMBOLS, VOCABULARY.special.values()), END, len(VOCABULARY))


@pytest.fixture
def tokens() -> Tensor:
    """Three streams of 200 symbols with ends of documents."""
    return torch.randint(len(SYMBOLS), (200, 3), generator=torch.Generator().manual_seed(0))


def suffix(length: int) -> Callable[[list[int]], object]:
    """Return the last symbols of what a document's reader has read; its beginning counts."""

    def of(read: list[int]) -> object:
        begin = max((place for place, token in enumerate(read) if token == END), default=0)
        return tuple(([None] * length + read[begin:])[-length:] if length else ())

    return of


def words(read: list[int]) -> list[str]:
    """Return the current word, and the two before it, of the document that is being read."""
    begin = max((place + 1 for place, token in enumerate(read) if token == END), default=0)
    text = "".join(
        SYMBOLS[token].casefold() if len(SYMBOLS[token]) == 1 else " " for token in read[begin:]
    ).replace(".", " ")
    current, *before = (["", "", *text.split(" ")])[::-1]
    return [current, *[word for word in before if word], "", ""][:3]


Kind = tuple[Callable[[Reading], Tensor], Callable[[list[int]], object]]


def kind_of_suffix(length: int) -> Kind:
    return lambda reading: reading.suffix(length), suffix(length)


def kind_of_word(number: int) -> Kind:
    return lambda reading: reading.words[number], lambda read: words(read)[number]


KINDS = {f"suffix{length}": kind_of_suffix(length) for length in range(ORDER)}
KINDS |= {f"word{number}": kind_of_word(number) for number in range(3)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_is_what_it_says(contexts: Contexts, tokens: Tensor, kind: str) -> None:
    context, meaning = KINDS[kind]
    reading, _ = contexts.read(tokens, contexts.initial_state(3))
    numbers: dict[object, int] = {}
    for stream in range(3):
        for place, number in enumerate(context(reading)[:, stream].tolist()):
            key = meaning(tokens[: place + 1, stream].tolist())
            assert numbers.setdefault(key, number) == number
    assert len(set(numbers.values())) == len(numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_reading_in_parts_makes_no_difference(
    contexts: Contexts, tokens: Tensor, kind: str
) -> None:
    context, _ = KINDS[kind]
    whole, end = contexts.read(tokens, contexts.initial_state(3))
    expected = context(whole)
    state = contexts.initial_state(3)
    place = 0
    chance = random.Random(0)
    while place < len(tokens):
        length = chance.choice([1, 1, 1, 2, 3, 7, 20])
        reading, state = contexts.read(tokens[place : place + length], state)
        assert torch.equal(context(reading), expected[place : place + length])
        place += length
        last = min(place, len(tokens)) - 1
        assert torch.equal(context(contexts.current(state))[0], expected[last])
    assert all(map(torch.equal, state, end))


def test_letters_share_a_number_with_their_other_case() -> None:
    letters = dict(
        zip(SYMBOLS, word_letters(SYMBOLS, VOCABULARY.special.values()).tolist(), strict=True)
    )
    assert letters["a"] == letters["A"] != letters["b"] == letters["B"]
    assert letters["'"] > 0 < letters["é"]
    assert not any(letters[symbol] for symbol in (" ", ".", "<unknown>", "<end_of_document>"))
