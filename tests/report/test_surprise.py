"""The bits of a text's characters add up to its score, whatever the vocabulary's unit."""

import math
from pathlib import Path

import pytest
from tests.report.test_playground import write_model

import charlm
from charlm.report.surprise import bits_of_characters
from charlm.text.symbols import Unit, byte_symbol
from charlm.text.vocabulary import Vocabulary

SYMBOLS: dict[Unit, list[str]] = {
    "character": list("abé 東"),
    "byte": [byte_symbol(byte) for byte in range(256)],
    "grapheme": ["a", "e\u0301", "東", " "],
}


@pytest.mark.parametrize("unit", SYMBOLS)
def test_bits_add_up_to_the_score(tmp_path: Path, unit: Unit) -> None:
    symbols = SYMBOLS[unit]
    special = {"unknown": None, "end_of_document": None}
    vocabulary = Vocabulary(symbols, [1] * len(symbols), special, unit)
    write_model(tmp_path, vocabulary, cell="gru")
    texts = ["a 東", "", "a" if unit == "character" else "ae\u0301東"]
    found = bits_of_characters(tmp_path, texts)
    model = charlm.load(tmp_path)
    assert list(map(len, found)) == list(map(len, texts))
    expected = model.score(texts[0]) * len(texts[0]) / math.log(2)
    assert sum(found[0]) == pytest.approx(expected, rel=1e-5)
    if unit == "grapheme":
        assert found[2][1] == found[2][2], "the accent belongs to the letter"
