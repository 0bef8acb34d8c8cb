"""Splits: by a hash of the document that no other document changes, or by position, exactly."""

import hashlib
import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.settings import SplitSettings
from charlm.text.splits import (
    NAMES,
    contiguous_boundaries,
    fingerprint,
    hash_limits,
    pieces,
    split_by_hash,
    split_by_position,
    split_documents,
)


def split_of(texts: list[str], settings: SplitSettings) -> list[str]:
    """Return the split of each document."""
    prints = b"".join(fingerprint(text.encode(), key=settings.key) for text in texts)
    numbers: npt.NDArray[np.uint64] = np.frombuffer(prints, ">u8").reshape(-1, 2).astype(np.uint64)
    return [NAMES[split] for split in split_by_hash(numbers, settings)]


def test_tinyshakespeare_is_cut_as_nanogpt_cuts_it() -> None:
    settings = SplitSettings(validation=0.1, test=0)
    assert contiguous_boundaries(1_115_394, settings) == (1_003_854, 1_115_394)


@given(st.integers(0, 10**12))
def test_boundaries_are_exact_decimals(characters: int) -> None:
    boundaries = contiguous_boundaries(characters, SplitSettings(validation=0.1, test=0.2))
    assert boundaries == (characters * 7 // 10, characters * 8 // 10)


def test_splits_have_the_sizes_asked_for_and_depend_on_the_key() -> None:
    texts = [f"document {number}" for number in range(20_000)]
    names = split_of(texts, SplitSettings(validation=0.1, test=0.2))
    assert abs(names.count("validation") - 2000) < 200
    assert abs(names.count("test") - 4000) < 300
    assert split_of(texts, SplitSettings(validation=0.1, test=0.2, key="x")) != names


@pytest.mark.parametrize("key", ["", "charlm", "ключ", "k" * 100])
def test_the_first_64_bits_of_the_hash_decide(key: str) -> None:
    texts = [f"döcument {number}" for number in range(300)]
    found = split_of(texts, SplitSettings(validation=0.3, test=0.1, key=key))
    for text, split in zip(texts, found, strict=True):
        digest = hashlib.blake2b(text.encode(), key=key.encode()[:64], digest_size=16).hexdigest()
        place = int(digest[:16], 16) / 2**64
        assert split == ("test" if place < 0.1 else "validation" if place < 0.4 else "train")


@pytest.mark.parametrize(
    ("validation", "test", "limits"),
    [
        (0.25, 0.5, (2**63, 3 * 2**62)),
        # A tenth of 2**64 is 1844674407370955161.6, which is rounded up.
        (0, 0.1, (1844674407370955162, 1844674407370955162)),
        (0.1, 0.2, (3689348814741910324, 5534023222112865485)),
        (0, 0, (0, 0)),
        # The limits have 64 bits, even where rounding up would take 65.
        (9.9999e-17, 0.9999999999999999, (2**64 - 1844, 2**64 - 1)),
        (0.9999999999999999, 9.9999999999999e-17, (1845, 2**64 - 1)),
    ],
)
def test_limits_of_hashes_are_exact(
    validation: float, test: float, limits: tuple[int, int]
) -> None:
    assert hash_limits(SplitSettings(validation=validation, test=test)) == limits


def test_a_fraction_of_zero_gets_no_documents() -> None:
    settings = SplitSettings(validation=0, test=0, key="")
    assert set(split_of([str(number) for number in range(1000)], settings)) == {"train"}


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.9, 0.2)])
def test_fractions_that_leave_nothing_to_train_on_are_refused(
    validation: float, test: float
) -> None:
    with pytest.raises(CharlmError, match="leave nothing to train on; give fractions"):
        contiguous_boundaries(10, SplitSettings(validation=validation, test=test))


def test_fingerprints_are_keyed_blake2b() -> None:
    """The digest is that of `b2sum`'s algorithm, so a split can be checked with other tools."""
    found = fingerprint("héllo".encode(), key="charlm")
    assert found.hex() == "e5f90b49519d27f0d00581878d2df4bc"
    key = "k" * 64
    assert fingerprint(b"text", key=key + "x") == fingerprint(b"text", key=key)
    assert fingerprint(b"text", key=key[1:]) != fingerprint(b"text", key=key)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([0.0, 0.1, 0.5]),
)
def test_contiguous_splits_lose_nothing(lengths: list[int], validation: float, test: float) -> None:
    total = sum(lengths)
    if total == 0:
        return
    how = SplitSettings(method="contiguous", validation=validation, test=test)
    splits, cuts = split_by_position(np.array(lengths), how)
    totals = dict.fromkeys(NAMES, 0)
    for row, length in enumerate(lengths):
        if row in cuts:
            for name, start, end in pieces(length, cuts[row]):
                totals[name] += end - start
        else:
            totals[NAMES[splits[row]]] += length
    first = int(total * (10 - round(10 * validation) - round(10 * test)) / 10)
    second = int(total * (10 - round(10 * test)) / 10)
    assert list(totals.values()) == [first, second - first, total - second]


TRAIN, VALIDATION, TEST = 2**63, 2**62, 0
"""Hashes of documents that fall into each split."""

QUARTERS = SplitSettings(validation=0.25, test=0.25)


def method_of(sizes: dict[int, int], settings: SplitSettings = QUARTERS) -> str:
    """Return how documents are split, given the hash and the length of one in each split."""
    prints = np.array([[number, 0] for number in sizes], np.uint64)
    return split_documents(prints, np.array(list(sizes.values())), settings).method


@pytest.mark.parametrize(
    ("sizes", "method"),
    [
        ({TRAIN: 30_000, VALIDATION: 2_000, TEST: 2_000}, "document"),
        ({TRAIN: 30_000, VALIDATION: 1_999, TEST: 2_000}, "contiguous"),
        ({TRAIN: 30_000, VALIDATION: 2_000}, "contiguous"),
        ({TRAIN: 1_999, VALIDATION: 9_000, TEST: 9_000}, "contiguous"),
        ({TRAIN: 1_000_000}, "contiguous"),
        ({TRAIN: 940_000, VALIDATION: 40_000, TEST: 20_000}, "document"),
        ({TRAIN: 940_001, VALIDATION: 40_000, TEST: 19_999}, "contiguous"),
        ({TRAIN: 1}, "document"),
    ],
)
def test_auto_splits_contiguously_if_a_part_would_be_tiny(
    sizes: dict[int, int], method: str
) -> None:
    assert method_of(sizes) == method
    for explicit in ("document", "contiguous"):
        assert method_of(sizes, replace(QUARTERS, method=explicit)) == explicit


def test_half_of_a_small_fraction_is_not_tiny() -> None:
    little = SplitSettings(validation=0.01, test=0)
    assert method_of({TRAIN: 995_000, TEST: 5_000}, little) == "document"
    assert method_of({TRAIN: 995_001, TEST: 4_999}, little) == "contiguous"


def test_auto_says_how_much_is_held_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert method_of({TRAIN: 19_000, VALIDATION: 900}) == "contiguous"
    assert caplog.messages == [
        "splits.method auto: split contiguously, since a split by document would hold out 900 "
        "characters (4.5%) for validation and 0 characters (0.0%) for test; held out: 4,975 "
        "characters (25.0%) for validation and 4,975 characters (25.0%) for test",
        "the corpus has only 19,900 characters, so its scores mean little; give more text",
    ]


def test_nothing_is_said_of_enough_text_or_none_held_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    method_of({TRAIN: 16_000, VALIDATION: 2_000, TEST: 2_000})
    assert method_of({TRAIN: 10}, SplitSettings(validation=0, test=0)) == "document"
    method_of({TRAIN: 10}, replace(QUARTERS, method="document"))
    assert not caplog.messages
