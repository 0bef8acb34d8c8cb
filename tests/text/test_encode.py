"""The encoded splits."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.checksums import read_json
from charlm.errors import CharlmError
from charlm.text.splits import NAMES
from charlm.text.symbols import Unit
from tests.text.corpus import build, encoded, write_corpus


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
@pytest.mark.parametrize("unit", ["character", "grapheme", "byte"])
def test_every_unit_gives_the_text_back(
    tmp_path_factory: pytest.TempPathFactory, unit: Unit, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, [(number, "train", text) for number, text in enumerate(texts)])
    vocabulary = build(folder, unit=unit, fit_on="all")
    split = encoded(folder)["train"]
    documents = split.documents
    rows = zip(texts, documents["start"], documents["tokens"], strict=True)
    for text, start, tokens in rows:
        ids = split.tokens[start : start + tokens]
        assert vocabulary.decode(ids) == text
        assert vocabulary.encode(text).tolist() == ids.tolist()
    assert documents["characters"].tolist() == [len(text) for text in texts]
    assert documents["unknown_characters"].tolist() == [0] * len(texts)


def test_graphemes_are_whole(tmp_path: Path) -> None:
    text = "👨‍👩‍👧e\u0301\r\n🇩🇪क्षि"
    write_corpus(tmp_path, [(0, "train", text), (1, "test", "e👨‍👩‍👧👨‍👩")])
    vocabulary = build(tmp_path, unit="grapheme")
    assert vocabulary.symbols[:-2] == regex.findall(r"\X", text)
    test = encoded(tmp_path)["test"]
    assert test.tokens.tolist() == [5, 0, 5, 6]
    assert test.documents["characters"].tolist() == [9]
    assert test.documents["unknown_characters"].tolist() == [4]
    assert vocabulary.unknown_characters("ee\u0301") == ["e"]


def test_bytes_are_never_unknown(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "a"), (1, "test", "é漢")])
    vocabulary = build(tmp_path, unit="byte")
    assert len(vocabulary) == 257
    assert vocabulary.symbols[0x61] == "a"
    assert vocabulary.symbols[0xE9] == "<0xE9>"
    assert vocabulary.special == {"unknown": None, "end_of_document": 256}
    assert vocabulary.unseen == 0
    assert vocabulary.unknown_characters("漢") == []
    assert vocabulary.decode([0x61, 0xFF, 256, 0xC3, 0xA9]) == "a\ufffdé"
    test = encoded(tmp_path)["test"]
    assert test.tokens.dtype == np.uint16
    assert test.tokens.tolist() == [*"é漢".encode(), 256]
    assert test.documents["tokens"].tolist() == [5]
    assert test.documents["characters"].tolist() == [2]


@pytest.mark.parametrize("row_group_size", [1, 3, 9])
def test_unknown_characters_are_counted_by_document(tmp_path: Path, row_group_size: int) -> None:
    write_corpus(
        tmp_path,
        [(0, "train", "abc"), (1, "test", "axyb"), (2, "test", "aa"), (3, "test", "漢")],
        row_group_size,
    )
    build(tmp_path)
    test = encoded(tmp_path)["test"]
    assert test.documents["unknown_characters"].tolist() == [2, 0, 1]
    assert test.tokens.tolist() == [0, 3, 3, 1, 4, 0, 0, 4, 3, 4]
    assert test.documents["start"].tolist() == [0, 5, 8]


def test_a_document_that_a_split_cuts_ends_only_once(tmp_path: Path) -> None:
    rows = [(0, "train", "ab"), (1, "train", "ab"), (1, "validation", "ba"), (1, "test", "b")]
    write_corpus(tmp_path, rows, row_group_size=2)
    end = build(tmp_path).end_of_document
    splits = encoded(tmp_path)
    assert splits["train"].tokens.tolist() == [0, 1, end, 0, 1]
    assert splits["validation"].tokens.tolist() == [1, 0]
    assert splits["test"].tokens.tolist() == [1, end]


def test_the_summary_counts_a_document_that_is_cut_once(tmp_path: Path) -> None:
    rows = [(0, "train", "é漢"), (1, "train", "abc"), (1, "validation", "d"), (2, "validation", "")]
    write_corpus(tmp_path, rows, row_group_size=2)
    build(tmp_path, unit="byte")
    encoded(tmp_path)
    assert read_json(tmp_path / "tokens/summary.json", dict[str, Any]) == {
        "one_stream": False,
        "sizes": {
            "train": {"documents": 2, "characters": 5},
            "validation": {"documents": 2, "characters": 1},
            "test": {"documents": 0, "characters": 0},
            "all": {"documents": 3, "characters": 6},
        },
    }


def test_without_an_end_symbol_nothing_stands_between_documents(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "ab"), (5, "train", ""), (7, "train", "ba")])
    build(tmp_path, end_of_document=False)
    train = encoded(tmp_path)["train"]
    assert train.tokens.tolist() == [0, 1, 1, 0]
    assert train.documents["start"].tolist() == [0, 2, 2]
    assert train.documents["doc_id"].tolist() == [0, 5, 7]


def test_empty_splits_are_empty_arrays(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "ab")])
    build(tmp_path)
    validation = encoded(tmp_path)["validation"]
    assert validation.tokens.shape == (0,)
    assert validation.documents["start"].shape == (0,)


@pytest.mark.parametrize(
    ("symbols", "dtype"), [(255, "uint8"), (256, "uint16"), (70_000, "uint32")]
)
def test_arrays_have_the_smallest_type(tmp_path: Path, symbols: int, dtype: str) -> None:
    text = "".join(map(chr, range(0x10000, 0x10000 + symbols - 1)))
    write_corpus(tmp_path, [(0, "train", text + "\U000fffff")])
    build(tmp_path, end_of_document=False)
    train = encoded(tmp_path)["train"]
    assert train.tokens.dtype == dtype
    assert isinstance(train.tokens, np.memmap)
    assert train.tokens.tolist() == list(range(symbols))


@pytest.mark.parametrize("threads", [1, 7])
def test_any_number_of_threads_gives_the_same_bytes(tmp_path: Path, threads: int) -> None:
    rows = [
        (n, NAMES[n % 3 if n % 5 else 0], "".join(map(chr, range(60 + n, 200 + 9 * n))))
        for n in range(100)
    ]
    write_corpus(tmp_path, rows)

    def run() -> list[bytes]:
        build(tmp_path)
        encoded(tmp_path)
        return [path.read_bytes() for path in sorted(tmp_path.rglob("*.*"))]

    before, count = run(), pa.cpu_count()
    pa.set_cpu_count(threads)
    try:
        assert run() == before
    finally:
        pa.set_cpu_count(count)


def test_a_vocabulary_of_another_corpus_is_an_error(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "ab")])
    build(tmp_path, fit_on="all")
    write_corpus(tmp_path, [(0, "train", "ab"), (3, "test", "axb")])
    with pytest.raises(CharlmError, match="document 3: the vocabulary has no 'x'; build it again"):
        encoded(tmp_path)


def test_a_message_names_five_unknown_characters(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "abc")])
    vocabulary = build(tmp_path, fit_on="all")
    five = re.escape("the vocabulary has no 'n', 'o', 'p', 'q', 'r'; ")
    with pytest.raises(CharlmError, match=f"{five}use"):
        vocabulary.encode("anopqrst")
    write_corpus(tmp_path, [(0, "train", "abc"), (1, "test", "anopqrst")])
    with pytest.raises(CharlmError, match=f"document 1: {five}build it again"):
        encoded(tmp_path)
