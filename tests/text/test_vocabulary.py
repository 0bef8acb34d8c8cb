"""A vocabulary encodes and decodes text."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from charlm.errors import CharlmError
from charlm.text.vocabulary import Vocabulary
from tests.text.corpus import build, encoded, write_corpus


def test_encode_and_decode_are_inverse(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "añ漢😀")])
    vocabulary = build(tmp_path)
    ids = vocabulary.encode("😀漢ñaa")
    assert ids.dtype == np.uint8
    assert ids.tolist() == [3, 2, 1, 0, 0]
    assert vocabulary.decode(ids) == "😀漢ñaa"
    assert vocabulary.decode(vocabulary.encode("axa")) == "a\ufffda"
    assert vocabulary.end_of_document == 5
    assert vocabulary.decode([0, 5, 1]) == "añ"
    assert vocabulary.unknown_characters("xayx") == ["x", "y"]
    assert vocabulary.unseen == 1_112_064 - 4
    assert Vocabulary.from_dict(vocabulary.to_dict()).to_dict() == vocabulary.to_dict()
    assert len(vocabulary) == 6


def test_code_points_without_a_symbol_are_unseen(tmp_path: Path) -> None:
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


VALID = {"unit": "byte", "symbols": ["a"], "counts": [1], "special": {"unknown": None}}
INVALID: list[dict[str, object]] = [
    {"unit": "word"},
    {"symbols": "a"},
    {"symbols": [1]},
    {"counts": [1, 2]},
    {"special": None},
    {"special": {"unknown": 1}},
    {"special": {}},
]


@pytest.mark.parametrize(
    "content",
    [
        *(b"\xff", b"{", b"[]", b"{}", b"[" * 100_000),
        *(json.dumps({**VALID, **change}).encode() for change in INVALID),
    ],
)
def test_a_file_that_is_not_a_vocabulary_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_bytes(content)
    with pytest.raises(CharlmError) as error:
        Vocabulary.load(path)
    assert re.fullmatch(
        rf"{path}: is (damaged|not a vocabulary|not what charlm writes there); "
        "make it again: --forcerun vocabulary",
        str(error.value),
    )


def test_a_vocabulary_that_is_missing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    with pytest.raises(CharlmError) as error:
        Vocabulary.load(path)
    assert (
        str(error.value)
        == f"{path}: No such file or directory; run `snakemake --cores all encode` first"
    )


def test_an_unknown_character_without_an_id_is_an_error(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "abc")])
    vocabulary = build(tmp_path, fit_on="all")
    with pytest.raises(CharlmError, match="the vocabulary has no 'x', '漢'; use symbols"):
        vocabulary.encode("ax漢")


def test_the_first_and_the_last_code_point_have_ids(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "\0\U0010ffffa")])
    vocabulary = build(tmp_path)
    assert vocabulary.encode("\U0010ffff\0\U0010fffe").tolist() == [1, 0, vocabulary.unknown]
    assert encoded(tmp_path)["train"].tokens.tolist() == [0, 1, 2, vocabulary.end_of_document]
