"""Near duplicates: documents that share eight of ten shingles, and no others."""

import numpy as np
import pytest

from charlm.text import duplicates
from charlm.text.duplicates import EMPTY, nearly_repeated, repeated, sketch


def shingles(text: str) -> set[str]:
    """Return the substrings of eight characters."""
    return {text[start : start + 8] for start in range(len(text) - 7)}


def similarity(one: str, other: str) -> float:
    """Return the Jaccard index of the shingles of two texts."""
    return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))


def changed(text: str, changes: int, random: np.random.Generator) -> str:
    """Return the text with letters changed at places chosen at random."""
    letters = list(text)
    for place in random.choice(len(text), changes, replace=False):
        letters[place] = "!"
    return "".join(letters)


def test_sketches_agree_as_often_as_shingles_are_shared() -> None:
    random = np.random.default_rng(0)
    for changes in (3, 10, 40):
        found, expected = [], []
        for _ in range(60):
            text = "".join(random.choice([*"abcdefgh"], 600))
            other = changed(text, changes, random)
            found.append((sketch(text) == sketch(other)).mean())
            expected.append(similarity(text, other))
        # A sketch of 64 numbers has a standard error of 0.05 or so; the mean of 60 of 0.007.
        assert np.mean(found) == pytest.approx(np.mean(expected), abs=0.015)


@pytest.mark.parametrize(
    ("agreeing", "filled", "expected"),
    [(64, 64, True), (52, 64, True), (51, 64, False), (32, 40, True), (31, 40, False)],
)
def test_eight_tenths_are_near_duplicates(agreeing: int, filled: int, expected: bool) -> None:
    first = np.full(64, EMPTY, np.uint16)
    first[:filled] = np.arange(filled)
    second = first.copy()
    second[agreeing:filled] += 1000
    assert nearly_repeated(np.stack([first, second])).tolist() == [False, expected]


def test_sketches_differ_in_a_bin_that_only_one_of_them_fills() -> None:
    first = np.arange(64, dtype=np.uint16)
    second = first.copy()
    second[50:] = EMPTY
    assert nearly_repeated(np.stack([first, second])).tolist() == [False, False]
    assert nearly_repeated(np.stack([second, first])).tolist() == [False, False]
    second[52:] = first[52:]
    assert nearly_repeated(np.stack([first, second])).tolist() == [False, True]


def test_every_band_finds_a_near_duplicate() -> None:
    first = np.arange(64, dtype=np.uint16)
    for band in range(0, 64, 4):
        second = first + np.uint16(100)
        second[band : band + 4] = first[band : band + 4]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(duplicates, "SIMILAR", 4 / 64)
            assert nearly_repeated(np.stack([first, second])).tolist() == [False, True]
            second[band + 3] += 1
            patch.setattr(duplicates, "SIMILAR", 0)
            assert nearly_repeated(np.stack([first, second])).tolist() == [False, False]


@pytest.mark.parametrize("length", [0, 1, 7, 8])
def test_a_text_of_up_to_eight_characters_is_one_shingle(length: int) -> None:
    numbers = sketch("abcdefgh"[:length])
    assert (numbers != EMPTY).sum() == 1
    assert (numbers == sketch("abcdefgh"[:length].ljust(8))).all()


def test_a_text_of_sixteen_characters_is_nine_shingles() -> None:
    # Each number of the sketch of a text is the minimum over its shingles.
    text = "abcdefghijklmnop"
    parts = [sketch(text[start : start + 8]) for start in range(9)]
    assert (sketch(text) == np.min(parts, axis=0)).all()


def test_the_largest_number_of_a_shingle_does_not_leave_its_bin_empty() -> None:
    assert (sketch("jpvjvfcl") != EMPTY).sum() == 1


@pytest.mark.parametrize("piece", [1, 7, 100])
@pytest.mark.parametrize("length", [8, 9, 15, 300])
def test_long_texts_are_sketched_piece_by_piece(
    piece: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(np.random.default_rng(0).choice([*"abcdé漢😀"], length))
    whole = sketch(text)
    monkeypatch.setattr(duplicates, "PIECE", piece)
    assert (sketch(text) == whole).all()


def test_a_document_similar_to_any_earlier_one_is_a_near_duplicate() -> None:
    first = np.arange(64, dtype=np.uint16)
    other = first + np.uint16(100)
    third = first.copy()
    third[-4:] = other[-4:]  # the second document is the first with this band, but not similar
    assert nearly_repeated(np.stack([first, other, third])).tolist() == [False, False, True]


def test_the_first_of_equal_documents_is_not_repeated() -> None:
    rows = [(1, 2), (1, 3), (1, 2), (2, 2), (1, 3), (1, 2), (0, 9)]
    found = repeated(np.array(rows, np.uint64))
    assert found.tolist() == [False, False, True, False, True, True, False]
    assert repeated(np.empty((0, 2), np.uint64)).tolist() == []
