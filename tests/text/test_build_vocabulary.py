"""The symbols of a corpus, in order and counted."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.checksums import read_json
from charlm.errors import CharlmError
from charlm.text import symbols as symbols_module
from tests.text.corpus import build, write_corpus


def first_seen(text: str) -> list[str]:
    """Return the vocabulary as the notebook's loop builds it."""
    symbols: list[str] = []
    for character in text:
        if character not in symbols:
            symbols.append(character)
    return symbols


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=10), st.integers(1, 9))
def test_symbols_come_in_the_order_of_the_notebook(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], piece: int
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    text = "".join(texts)
    if not text:
        return
    write_corpus(folder, [(number, "train", text) for number, text in enumerate(texts)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(symbols_module, "PIECE_BYTES", piece + 3)
        vocabulary = build(folder, fit_on="all", end_of_document=False)
    assert vocabulary.symbols == first_seen(text)
    assert vocabulary.counts == [text.count(symbol) for symbol in vocabulary.symbols]
    assert vocabulary.special == {"unknown": None, "end_of_document": None}


def test_the_content_of_the_file(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "abca"), (1, "validation", "z"), (2, "train", "é")])
    build(tmp_path)
    assert read_json(tmp_path / "vocabulary.json", dict[str, Any]) == {
        "unit": "character",
        "symbols": ["a", "b", "c", "é", "<unknown>", "<end_of_document>"],
        "counts": [2, 1, 1, 1, 0, 2],
        "special": {"unknown": 4, "end_of_document": 5},
    }


def test_frequency_order_and_a_minimum_count(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "abbcccdddx")])
    vocabulary = build(tmp_path, order="frequency", min_count=2, end_of_document=False)
    assert vocabulary.symbols == ["c", "d", "b", "<unknown>"]
    assert vocabulary.counts == [3, 3, 2, 2]


def test_fitting_on_all_leaves_nothing_unknown(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "a"), (1, "test", "b")])
    assert build(tmp_path, fit_on="all").symbols == ["a", "b", "<end_of_document>"]


def test_a_minimum_count_leaves_rare_symbols_unknown_even_if_fitted_on_all(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "aab"), (1, "test", "bc")])
    vocabulary = build(tmp_path, fit_on="all", min_count=2, end_of_document=False)
    assert vocabulary.symbols == ["a", "b", "<unknown>"]
    assert vocabulary.counts == [2, 2, 1]
    assert vocabulary.encode("abc").tolist() == [0, 1, 2]


def test_an_empty_train_split_is_an_error(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "test", "a")])
    with pytest.raises(
        CharlmError, match=r"no text to fit a vocabulary on; see vocabulary\.fit_on"
    ):
        build(tmp_path)


def test_a_missing_or_damaged_corpus_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CharlmError, match=r"there is no such file; .* --forcerun clean"):
        build(tmp_path)
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1")
    with pytest.raises(CharlmError, match=r"is damaged; make it again: --forcerun clean"):
        build(tmp_path)


def test_the_file_has_one_line_per_symbol(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "é漢")])
    build(tmp_path)
    lines = (tmp_path / "vocabulary.json").read_text(encoding="utf-8").splitlines()
    assert lines[:5] == ["{", ' "unit": "character",', ' "symbols": [', '  "é",', '  "漢",']
