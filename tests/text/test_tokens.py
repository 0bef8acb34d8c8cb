"""The encoded splits, as other stages read them."""

from pathlib import Path

import numpy as np
import pytest

from charlm.errors import CharlmError
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from tests.text.corpus import build, encoded, write_corpus


@pytest.mark.parametrize("one_stream", [False, True])
def test_a_stream_is_one_text_and_other_splits_have_one_per_document(
    tmp_path: Path, one_stream: bool
) -> None:
    write_corpus(tmp_path, [(0, "train", "ab"), (1, "train", "b")])
    build(tmp_path)  # the ids are 0 and 1 for the letters, and 3 for the end of a document
    split = encoded(tmp_path, one_stream)["train"]
    assert split.one_stream == one_stream
    texts = [text.tolist() for text in split.texts]
    assert texts == ([[0, 1, 3, 1, 3]] if one_stream else [[0, 1], [1]])


def test_values_of_tokens_are_cut_into_documents_without_their_ends(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "ab"), (1, "train", ""), (2, "train", "b")])
    build(tmp_path)
    split = encoded(tmp_path)["train"]
    values = split.by_document(np.arange(10, 16))
    assert [value.tolist() for value in values] == [[10, 11], [], [14]]


def test_the_tail_of_a_split_has_the_documents_that_end_in_it(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "ab"), (1, "train", "aabb"), (2, "train", "b")])
    build(tmp_path)
    split = encoded(tmp_path)["train"]  # a b END a a b b END b END
    assert split.tail(10) is split
    tail = split.tail(5)
    assert tail.tokens.tolist() == split.tokens[5:].tolist()
    names = ("doc_id", "start", "tokens", "characters")
    assert [tail.documents[name].tolist() for name in names] == [[1, 2], [0, 3], [2, 1], [2, 1]]
    assert [text.tolist() for text in tail.texts] == [[1, 1], [1]]


@pytest.mark.parametrize("name", ["train.npy", "train.documents.parquet", "summary.json"])
@pytest.mark.parametrize("kept", [0, 40])
def test_missing_or_damaged_tokens_are_an_error(tmp_path: Path, name: str, kept: int) -> None:
    write_corpus(tmp_path, [(0, "train", "a text of several letters")])
    build(tmp_path)
    encoded(tmp_path)
    vocabulary = Vocabulary.load(tmp_path / "vocabulary.json")
    file = tmp_path / "tokens" / name
    if kept:
        file.write_bytes(file.read_bytes()[:kept])
    else:
        file.unlink()
    what = "is damaged" if kept else "there is no such file"
    with pytest.raises(CharlmError, match=rf"{name}: {what}; make it again: --forcerun encode$"):
        TokenSplit.load(tmp_path / "tokens", "train", vocabulary)


def test_ids_outside_the_vocabulary_are_an_error(tmp_path: Path) -> None:
    write_corpus(tmp_path, [(0, "train", "abc")])
    build(tmp_path)
    encoded(tmp_path)  # the ids are 0 to 2 for the letters, and 4 for the end of a document
    small = Vocabulary(["a", "b"], [1, 1], {"unknown": None, "end_of_document": None})
    with pytest.raises(CharlmError, match=r"another vocabulary: id 4 is not one of its 2 symbols"):
        TokenSplit.load(tmp_path / "tokens", "train", small)
