"""The corpus: documents dropped, counted and split."""

import hashlib
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from charlm.errors import CharlmError
from charlm.settings import SplitSettings
from charlm.text.canaries import read_canaries
from charlm.text.cleaning.profiles import RuleSettings
from charlm.text.splits import split_method
from tests.text.corpus import CLEANED, SPLITS, build, clean_documents, clean_texts, encoded

NOTHING_LEFT = "corpus.parquet: cleaning leaves no text; fix cleaning.rules or corpus.source"
TOO_FEW = r"too few documents to split \(\d+\): none is left to train on; give more documents"
TOO_SHORT = r"too few characters to split contiguously \(1\): none is left to train on; give more"
NEAR: RuleSettings = {"name": "near", "builtin": "near_duplicates"}


def split_of(text: str, splits: SplitSettings) -> str:
    """Return the split of a document from the hash of its clean text."""
    key = splits.key.encode()
    digest = hashlib.blake2b(text.encode(), key=key, digest_size=16).hexdigest()
    place = int(digest[:16], 16) / 2**64
    if place < splits.test:
        return "test"
    return "validation" if place < splits.test + splits.validation else "train"


def test_empty_and_duplicate_documents_are_dropped_and_counted(tmp_path: Path) -> None:
    texts = ["same", "<p> </p>", "same", None, "&#115;ame", "other"]
    table, summary = clean_texts(tmp_path, texts)
    assert table["doc_id"].to_pylist() == [0, 5]
    assert summary["empty_documents"] == [2, 0, 2]
    assert summary["duplicates"] == [2, 8, 2]


def test_summary_counts_matches_characters_and_documents(tmp_path: Path) -> None:
    unchanged = ["plain", "&unknown; AT&T", "漢字"]
    texts = ["a<b>b</b>c", "&eacute;&eacute; <i>", "e\u0301 漢<i>e\u0301</i>", *unchanged]
    _, summary = clean_texts(tmp_path, texts)
    assert summary["inline_tags"] == [5, 17, 3]
    assert summary["entities"] == [2, 14, 1]
    assert summary["nfc"] == [1, 2, 1]
    assert summary["links"] == [0, 0, 0]


def test_near_duplicates_are_dropped_on_demand(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(300)]
    texts = [
        " ".join(words),
        " ".join([*words[:150], "changed", *words[150:]]),
        " ".join(f"{number * 7919}" for number in range(300)),
        "short",
        "another",
    ]
    table, summary = clean_texts(tmp_path, texts, rules=[NEAR])
    assert table["doc_id"].to_pylist() == [0, 2, 3, 4]
    assert summary["near"][2] == 1
    assert clean_texts(tmp_path, texts)[0]["doc_id"].to_pylist() == [0, 1, 2, 3, 4]


def test_each_rule_counts_only_what_it_dropped(tmp_path: Path) -> None:
    words = [f"wörd{number}" for number in range(300)]
    long, near = " ".join(words), " ".join([*words[:150], "changed", *words[150:]])
    texts = ["", long, "é漢", near, "é漢", " ", near, "other"]
    table, summary = clean_texts(tmp_path, texts, rules=[NEAR])
    assert table["doc_id"].to_pylist() == [1, 2, 7]
    assert summary["empty_documents"] == [2, 0, 2]
    assert summary["duplicates"] == [2, 2 + len(near), 2]
    assert summary["near"] == [1, len(near), 1]


def test_a_document_of_one_character_is_not_empty(tmp_path: Path) -> None:
    table, summary = clean_texts(
        tmp_path, ["x", "", "y"], splits=replace(SPLITS, validation=0, test=0)
    )
    assert table["text"].to_pylist() == ["x", "y"]
    assert summary["empty_documents"] == [1, 0, 1]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["some", "text"], {"rules": [{"name": "all", "pattern": "(?s)."}]}, NOTHING_LEFT),
        ([" \n\t", "\u00a0", "<br>"], {}, NOTHING_LEFT),
        ([None, None], {}, NOTHING_LEFT),
        ([""], {"profile": "notebook"}, NOTHING_LEFT),
        (["one document"], {"splits": replace(SPLITS, test=0.98, validation=0.01)}, TOO_FEW),
        (["x"], {"splits": replace(SPLITS, method="contiguous")}, TOO_SHORT),
        (["a", "b"], {"splits": replace(SPLITS, validation=0.5, test=0.5)}, "nothing to train on"),
        (["a"], {"rules": [{"name": "bad", "pattern": "["}]}, "rule 'bad'"),
        (
            ["a"],
            {"profile": "html"},
            "unknown profile 'html'; expected one of none",
        ),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, texts: list[str | None], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CharlmError, match=message) as caught:
        clean_texts(tmp_path, texts, **options)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["documents.parquet"]


def test_a_train_document_that_was_dropped_is_nothing_to_train_on(tmp_path: Path) -> None:
    splits = replace(SPLITS, test=0.5)
    words = " ".join(f"word{number}" for number in range(300))
    variants = [f"{words} {number}" for number in range(20)]
    names = [split_of(text, splits) for text in variants]
    held_out, train = variants[names.index("test")], variants[names.index("train")]
    with pytest.raises(CharlmError, match=r"too few documents to split \(1\)"):
        clean_texts(tmp_path, [held_out, train], rules=[NEAR], splits=splits)
    assert len(clean_texts(tmp_path, [train, held_out], rules=[NEAR], splits=splits)[0]) == 1


def test_one_character_is_a_corpus_if_nothing_is_held_out(tmp_path: Path) -> None:
    table, _ = clean_texts(tmp_path, ["x"], splits=replace(SPLITS, validation=0, test=0))
    assert table["text"].to_pylist() == ["x"]
    assert table["split"].to_pylist() == ["train"]


@pytest.fixture
def many_row_groups(tmp_path: Path) -> Path:
    """Return a folder with documents in row groups of seven."""
    texts = [f"<p>Document {number % 90} &amp; {'é' * (number % 7)}" for number in range(100)]
    table = pa.table({"doc_id": range(100), "text": texts})
    pq.write_table(table, tmp_path / "documents.parquet", row_group_size=7)
    return tmp_path


def contents(folder: Path) -> list[bytes]:
    """Return what `clean` wrote into a folder."""
    return [(folder / name).read_bytes() for name in CLEANED]


@pytest.mark.parametrize("method", ["auto", "document", "contiguous"])
@pytest.mark.parametrize("shards", [2, 5, 40])
def test_any_number_of_shards_gives_the_same_bytes(
    many_row_groups: Path, shards: int, method: Literal["auto", "document", "contiguous"]
) -> None:
    splits = replace(SPLITS, method=method)
    clean_documents(many_row_groups, rules=[NEAR], splits=splits)
    expected = contents(many_row_groups)
    assert b"block_tags" in expected[2]
    clean_documents(many_row_groups, rules=[NEAR], splits=splits, shards=shards)
    assert contents(many_row_groups) == expected


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_any_number_of_threads_gives_the_same_bytes(many_row_groups: Path, threads: int) -> None:
    clean_documents(many_row_groups)
    expected = contents(many_row_groups)
    before = pa.cpu_count()
    pa.set_cpu_count(threads)
    try:
        clean_documents(many_row_groups)
    finally:
        pa.set_cpu_count(before)
    assert contents(many_row_groups) == expected


def test_contiguous_splits_cut_where_the_fractions_say(tmp_path: Path) -> None:
    texts = ["é" * 7, "", "b" * 11, "c" * 2]
    splits = replace(SPLITS, method="contiguous", validation=0.25, test=0.25)
    table, _ = clean_texts(tmp_path, texts, "none", splits=splits)
    rows = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    assert rows == [
        (0, "train", "é" * 7, False),
        (1, "train", "", False),
        (2, "train", "bbb", True),
        (2, "validation", "bbbbb", True),
        (2, "test", "bbb", False),
        (3, "test", "cc", False),
    ]


def test_contiguous_splits_do_not_count_what_was_dropped(tmp_path: Path) -> None:
    splits = replace(SPLITS, method="contiguous", validation=0.25, test=0.25)
    table, _ = clean_texts(tmp_path, ["a" * 10, "a" * 10, " ", "b" * 10], splits=splits)
    assert list(zip(table["split"].to_pylist(), table["text"].to_pylist(), strict=True)) == [
        ("train", "a" * 10),
        ("validation", "b" * 5),
        ("test", "b" * 5),
    ]


def test_documents_are_split_by_the_hash_of_their_clean_text(tmp_path: Path) -> None:
    texts = [f"document {number}<br>" for number in range(200)]
    splits = SplitSettings(method="document", validation=0.3, test=0.1, key="a key")
    table, _ = clean_texts(tmp_path, texts, splits=splits)
    expected = [split_of(text, splits) for text in table["text"].to_pylist()]
    assert table["text"][0].as_py() == "document 0"
    assert table["split"].to_pylist() == expected


@pytest.mark.parametrize("method", ["auto", "document", "contiguous"])
def test_the_corpus_says_how_it_was_split(
    tmp_path: Path, method: Literal["auto", "document", "contiguous"]
) -> None:
    texts = [f"document {number}" for number in range(50)]
    clean_texts(tmp_path, texts, splits=replace(SPLITS, method=method))
    expected = "document" if method == "document" else "contiguous"
    assert split_method(tmp_path / "corpus.parquet") == expected
    build(tmp_path)
    assert encoded(tmp_path, one_stream=None)["train"].one_stream == (expected == "contiguous")


def test_a_damaged_corpus_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1")
    with pytest.raises(CharlmError, match=r"corpus.parquet: is damaged; make it again"):
        split_method(tmp_path / "corpus.parquet")


def test_a_rule_is_no_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    rules: list[RuleSettings] = [{"name": "=1+1", "pattern": "x"}]
    _, counts = clean_texts(tmp_path, ["a text", "axe"], rules=rules)
    assert counts["'=1+1"] == [2, 2, 2]


def test_canaries_are_training_documents_after_the_last(tmp_path: Path) -> None:
    words = [f"{a}{b}word" for a in "abcdefgh" for b in "abcdefghij"]
    texts = [" ".join(words[start : start + 8]) for start in range(0, 80, 8)]
    clean_texts(tmp_path, texts)
    before = pq.read_table(tmp_path / "corpus.parquet")
    assert read_canaries(tmp_path / "corpus.parquet") is None

    clean_documents(tmp_path, canaries=4)
    table = pq.read_table(tmp_path / "corpus.parquet")
    assert table.slice(0, len(before)).equals(before)
    added = table.slice(len(before)).to_pydict()
    assert added["doc_id"] == [10, 11, 12, 13]
    assert added["split"] == ["train"] * 4
    canaries = read_canaries(tmp_path / "corpus.parquet")
    assert canaries
    assert added["text"] == list(islice(canaries.sentences(), canaries.number))
    assert all(set(text[:-1].split()) <= set(words) for text in added["text"])
    assert len(set(added["text"])) == 4


def test_too_few_words_for_canaries_are_one_line(tmp_path: Path) -> None:
    clean_texts(tmp_path, [f"document {number}" for number in range(50)])
    with pytest.raises(CharlmError, match=r"corpus.canaries: the text has 1 words .* set .* to 0"):
        clean_documents(tmp_path, canaries=1)
