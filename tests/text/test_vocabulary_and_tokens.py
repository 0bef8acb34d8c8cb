"""Alphabets of every unit, and the arrays encoded with them."""

import json
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.text import vocabulary as vocabulary_module
from charlm.text.encode import encode
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary, build_vocabulary

SPLIT_NAMES = ["train", "validation", "test"]


def write_corpus(folder, rows, row_group_size=3):
    """Write rows of (doc_id, split, text)."""
    doc_ids, splits, texts = zip(*rows, strict=True)
    table = pa.table(
        {"doc_id": pa.array(doc_ids, pa.int64()), "split": splits, "text": pa.array(texts)}
    )
    pq.write_table(table, folder / "corpus.parquet", row_group_size=row_group_size)


def build(folder, **options):
    build_vocabulary(folder / "corpus.parquet", folder / "vocabulary.json", **options)
    return Vocabulary.load(folder / "vocabulary.json")


def encoded(folder):
    encode(folder / "corpus.parquet", folder / "vocabulary.json", folder / "tokens")
    return {name: TokenSplit.load(folder / "tokens", name) for name in SPLIT_NAMES}


def first_seen(text):
    """Return the vocabulary as the notebook's loop builds it."""
    symbols = []
    for character in text:
        if character not in symbols:
            symbols.append(character)
    return symbols


# Vocabulary -----------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=10), st.integers(1, 9))
def test_the_order_is_the_notebooks(tmp_path_factory, texts, piece):
    folder = tmp_path_factory.mktemp("corpus")
    text = "".join(texts)
    if not text:
        return
    write_corpus(folder, [(number, "train", text) for number, text in enumerate(texts)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary_module, "PIECE_BYTES", piece + 3)
        vocabulary = build(folder, fit_on="all", end_of_document=False)
    assert vocabulary.symbols == first_seen(text)
    assert vocabulary.counts == [text.count(symbol) for symbol in vocabulary.symbols]
    assert vocabulary.special == {"unknown": None, "end_of_document": None}


def test_the_file_says_everything(tmp_path):
    write_corpus(tmp_path, [(0, "train", "abca"), (1, "validation", "z"), (2, "train", "é")])
    build(tmp_path)
    assert json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8")) == {
        "unit": "character",
        "symbols": ["a", "b", "c", "é", "<unknown>", "<end_of_document>"],
        "counts": [2, 1, 1, 1, 0, 2],
        "special": {"unknown": 4, "end_of_document": 5},
    }


def test_frequency_order_and_a_least_count(tmp_path):
    write_corpus(tmp_path, [(0, "train", "abbcccdddx")])
    vocabulary = build(tmp_path, order="frequency", min_count=2, end_of_document=False)
    assert vocabulary.symbols == ["c", "d", "b", "<unknown>"]
    assert vocabulary.counts == [3, 3, 2, 2]


def test_fitting_on_all_leaves_nothing_unknown(tmp_path):
    write_corpus(tmp_path, [(0, "train", "a"), (1, "test", "b")])
    assert build(tmp_path, fit_on="all").symbols == ["a", "b", "<end_of_document>"]


def test_a_least_count_leaves_rare_symbols_unknown_whatever_it_is_fitted_on(tmp_path):
    write_corpus(tmp_path, [(0, "train", "aab"), (1, "test", "bc")])
    vocabulary = build(tmp_path, fit_on="all", min_count=2, end_of_document=False)
    assert vocabulary.symbols == ["a", "b", "<unknown>"]
    assert vocabulary.counts == [2, 2, 1]


def test_an_empty_train_split_is_an_error(tmp_path):
    write_corpus(tmp_path, [(0, "test", "a")])
    with pytest.raises(
        CharlmError, match=r"no text to fit a vocabulary on; see vocabulary\.fit_on"
    ):
        build(tmp_path)


def test_a_missing_or_damaged_corpus_is_an_error(tmp_path):
    with pytest.raises(CharlmError, match="it is missing or damaged"):
        build(tmp_path)
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1")
    with pytest.raises(CharlmError, match="it is missing or damaged"):
        build(tmp_path)


def test_encode_and_decode_are_inverse(tmp_path):
    write_corpus(tmp_path, [(0, "train", "añ漢😀")])
    vocabulary = build(tmp_path)
    ids = vocabulary.encode("😀漢ñaa")
    assert ids.dtype == np.uint8
    assert ids.tolist() == [3, 2, 1, 0, 0]
    assert vocabulary.decode(ids) == "😀漢ñaa"
    assert vocabulary.decode(vocabulary.encode("axa")) == "a\ufffda"
    assert vocabulary.decode([0, vocabulary.end_of_document, 1]) == "añ"
    assert vocabulary.unknown_characters("xayx") == ["x", "y"]
    assert vocabulary.unseen == 1_112_064 - 4
    assert Vocabulary.from_dict(vocabulary.to_dict()).to_dict() == vocabulary.to_dict()
    assert len(vocabulary) == 6


def test_an_unknown_character_is_one_of_those_without_a_symbol(tmp_path):
    code_points = sum(not 0xD800 <= code < 0xE000 for code in range(0x110000))
    write_corpus(tmp_path, [(0, "train", "abé漢e\u0301🇩🇪")])
    characters = build(tmp_path)
    assert characters.unseen == code_points - 8
    assert characters.unknown_nats == pytest.approx(math.log(1_112_064 - 8))
    assert characters.count_unknown("axyxe") == 3
    graphemes = build(tmp_path, unit="grapheme")
    assert graphemes.symbols[:-2] == ["a", "b", "é", "漢", "e\u0301", "🇩🇪"]
    assert graphemes.unseen == code_points - 4  # clusters of several code points leave all unseen
    assert graphemes.unknown_nats == pytest.approx(math.log(1_112_064 - 4))
    assert graphemes.count_unknown("e\u0301ae\u0301\u0316x🇩🇪🇫🇷x") == 7
    raw = build(tmp_path, unit="byte")
    assert (raw.unseen, raw.unknown_nats, raw.count_unknown("xyz")) == (0, 0, 0)


@pytest.mark.parametrize("name", ["train.npy", "train.documents.parquet"])
@pytest.mark.parametrize("kept", [0, 100])
def test_missing_or_damaged_tokens_are_an_error(tmp_path, name, kept):
    write_corpus(tmp_path, [(0, "train", "a text of several letters")])
    build(tmp_path)
    encoded(tmp_path)
    file = tmp_path / "tokens" / name
    if kept:
        file.write_bytes(file.read_bytes()[:kept])
    else:
        file.unlink()
    with pytest.raises(CharlmError, match=rf"{name}: missing or damaged; encode the corpus again"):
        TokenSplit.load(tmp_path / "tokens", "train")


def test_an_unknown_character_without_an_id_is_an_error(tmp_path):
    write_corpus(tmp_path, [(0, "train", "abc")])
    vocabulary = build(tmp_path, fit_on="all")
    with pytest.raises(CharlmError, match="the vocabulary has no 'x', '漢'; use symbols"):
        vocabulary.encode("ax漢")


# Units ----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
@pytest.mark.parametrize("unit", ["character", "grapheme", "byte"])
def test_every_unit_gives_the_text_back(tmp_path_factory, unit, texts):
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


def test_graphemes_are_whole(tmp_path):
    text = "👨‍👩‍👧e\u0301\r\n🇩🇪क्षि"
    write_corpus(tmp_path, [(0, "train", text), (1, "test", "e👨‍👩‍👧👨‍👩")])
    vocabulary = build(tmp_path, unit="grapheme")
    assert vocabulary.symbols[:-2] == regex.findall(r"\X", text)
    test = encoded(tmp_path)["test"]
    assert test.tokens.tolist() == [5, 0, 5, 6]
    assert test.documents["characters"].tolist() == [9]
    assert test.documents["unknown_characters"].tolist() == [4]
    assert vocabulary.unknown_characters("ee\u0301") == ["e"]


def test_bytes_are_never_unknown(tmp_path):
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


# Tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_group_size", [1, 3, 9])
def test_unknown_characters_are_counted_by_document(tmp_path, row_group_size):
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


def test_a_document_that_a_split_cuts_ends_only_once(tmp_path):
    rows = [(0, "train", "ab"), (1, "train", "ab"), (1, "validation", "ba"), (1, "test", "b")]
    write_corpus(tmp_path, rows, row_group_size=2)
    end = build(tmp_path).end_of_document
    splits = encoded(tmp_path)
    assert splits["train"].tokens.tolist() == [0, 1, end, 0, 1]
    assert splits["validation"].tokens.tolist() == [1, 0]
    assert splits["test"].tokens.tolist() == [1, end]


def test_without_an_end_symbol_nothing_stands_between_documents(tmp_path):
    write_corpus(tmp_path, [(0, "train", "ab"), (5, "train", ""), (7, "train", "ba")])
    build(tmp_path, end_of_document=False)
    train = encoded(tmp_path)["train"]
    assert train.tokens.tolist() == [0, 1, 1, 0]
    assert train.documents["start"].tolist() == [0, 2, 2]
    assert train.documents["doc_id"].tolist() == [0, 5, 7]


def test_empty_splits_are_empty_arrays(tmp_path):
    write_corpus(tmp_path, [(0, "train", "ab")])
    build(tmp_path)
    validation = encoded(tmp_path)["validation"]
    assert validation.tokens.shape == (0,)
    assert validation.documents["start"].shape == (0,)


@pytest.mark.parametrize(
    ("symbols", "dtype"), [(255, "uint8"), (256, "uint16"), (70_000, "uint32")]
)
def test_the_type_is_the_smallest(tmp_path, symbols, dtype):
    text = "".join(map(chr, range(0x10000, 0x10000 + symbols - 1)))
    write_corpus(tmp_path, [(0, "train", text + "\U000fffff")])
    build(tmp_path, end_of_document=False)
    train = encoded(tmp_path)["train"]
    assert train.tokens.dtype == dtype
    assert isinstance(train.tokens, np.memmap)
    assert train.tokens.tolist() == list(range(symbols))


@pytest.mark.parametrize("threads", [1, 7])
def test_any_number_of_threads_gives_the_same_bytes(tmp_path, threads):
    rows = [
        (n, SPLIT_NAMES[n % 3 if n % 5 else 0], "".join(map(chr, range(60 + n, 200 + 9 * n))))
        for n in range(100)
    ]
    write_corpus(tmp_path, rows)

    def run():
        build(tmp_path)
        encoded(tmp_path)
        return [path.read_bytes() for path in sorted(tmp_path.rglob("*.*"))]

    before, count = run(), pa.cpu_count()
    pa.set_cpu_count(threads)
    try:
        assert run() == before
    finally:
        pa.set_cpu_count(count)


def test_a_vocabulary_of_another_corpus_is_an_error(tmp_path):
    write_corpus(tmp_path, [(0, "train", "ab")])
    build(tmp_path, fit_on="all")
    write_corpus(tmp_path, [(0, "train", "ab"), (3, "test", "axb")])
    with pytest.raises(CharlmError, match="document 3: the vocabulary has no 'x'; build it again"):
        encoded(tmp_path)


def test_a_message_names_five_unknown_characters(tmp_path):
    write_corpus(tmp_path, [(0, "train", "abc")])
    vocabulary = build(tmp_path, fit_on="all")
    five = re.escape("the vocabulary has no 'n', 'o', 'p', 'q', 'r'; ")
    with pytest.raises(CharlmError, match=f"{five}use"):
        vocabulary.encode("anopqrst")
    write_corpus(tmp_path, [(0, "train", "abc"), (1, "test", "anopqrst")])
    with pytest.raises(CharlmError, match=f"document 1: {five}build it again"):
        encoded(tmp_path)


def test_with_a_least_count_some_of_all_are_unknown(tmp_path):
    write_corpus(tmp_path, [(0, "train", "aab"), (1, "test", "c")])
    vocabulary = build(tmp_path, fit_on="all", min_count=2, end_of_document=False)
    assert vocabulary.symbols == ["a", "<unknown>"]
    assert vocabulary.counts == [2, 2]
    assert vocabulary.encode("abc").tolist() == [0, 1, 1]


def test_the_file_has_a_line_for_each_symbol(tmp_path):
    write_corpus(tmp_path, [(0, "train", "é漢")])
    build(tmp_path)
    lines = (tmp_path / "vocabulary.json").read_text(encoding="utf-8").splitlines()
    assert lines[:5] == ["{", ' "unit": "character",', ' "symbols": [', '  "é",', '  "漢",']


def test_the_first_and_the_last_code_point_have_ids(tmp_path):
    write_corpus(tmp_path, [(0, "train", "\0\U0010ffffa")])
    vocabulary = build(tmp_path)
    assert vocabulary.encode("\U0010ffff\0\U0010fffe").tolist() == [1, 0, vocabulary.unknown]
    assert encoded(tmp_path)["train"].tokens.tolist() == [0, 1, 2, vocabulary.end_of_document]
