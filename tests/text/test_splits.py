"""Splits: by a hash that no other document moves, or by position, exactly."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.text.splits import (
    contiguous_boundaries,
    document_limits,
    fingerprint,
    split_of_document,
)


def test_tinyshakespeare_is_cut_as_nanogpt_cuts_it():
    assert contiguous_boundaries(1_115_394, validation=0.1, test=0) == (1_003_854, 1_115_394)


@given(st.integers(0, 10**12))
def test_boundaries_are_exact_decimals(characters):
    boundaries = contiguous_boundaries(characters, validation=0.1, test=0.2)
    assert boundaries == (characters * 7 // 10, characters * 8 // 10)


def test_the_document_alone_decides():
    options = {"validation": 0.1, "test": 0.2, "key": "charlm"}
    names = [split_of_document(f"document {number}", **options) for number in range(20_000)]
    assert abs(names.count("validation") - 2000) < 200
    assert abs(names.count("test") - 4000) < 300
    assert names[:5] == [split_of_document(f"document {number}", **options) for number in range(5)]
    other = [split_of_document(f"document {n}", **options | {"key": "x"}) for n in range(20_000)]
    assert other != names


@pytest.mark.parametrize("key", ["", "charlm", "ключ", "k" * 100])
def test_the_first_64_bits_of_the_hash_say_where_a_document_lies(key):
    for number in range(300):
        text = f"döcument {number}"
        digest = hashlib.blake2b(text.encode(), key=key.encode()[:64], digest_size=16).hexdigest()
        place = int(digest[:16], 16) / 2**64
        expected = "test" if place < 0.1 else "validation" if place < 0.4 else "train"
        assert split_of_document(text, validation=0.3, test=0.1, key=key) == expected


def test_limits_are_exact():
    assert document_limits(validation=0.25, test=0.5) == (2**63, 3 * 2**62)
    # A tenth of 2**64 is 1844674407370955161.6: the whole numbers below it are that and one more.
    assert document_limits(validation=0, test=0.1) == (1844674407370955162,) * 2
    assert document_limits(validation=0.1, test=0.2) == (3689348814741910324, 5534023222112865485)
    assert document_limits(validation=0, test=0) == (0, 0)
    # The limits are numbers of 64 bits.
    assert document_limits(validation=9.9999e-17, test=0.9999999999999999)[1] == 2**64 - 1


def test_a_fraction_of_nothing_gets_nothing():
    options = {"validation": 0.0, "test": 0.0, "key": ""}
    assert {split_of_document(str(number), **options) for number in range(1000)} == {"train"}


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.9, 0.2)])
def test_fractions_that_leave_nothing_to_train_on_are_refused(validation, test):
    with pytest.raises(CharlmError, match="leave nothing to train on; give fractions"):
        contiguous_boundaries(10, validation=validation, test=test)


def test_fingerprints_are_keyed_blake2b():
    """The digest is that of `b2sum`'s algorithm, so a split can be checked with other tools."""
    found = fingerprint("héllo".encode(), key="charlm")
    assert found.hex() == "e5f90b49519d27f0d00581878d2df4bc"
    key = "k" * 64
    assert fingerprint(b"text", key=key + "x") == fingerprint(b"text", key=key)
    assert fingerprint(b"text", key=key[1:]) != fingerprint(b"text", key=key)


def test_limits_are_shares_of_64_bits():
    assert document_limits(validation=0.25, test=0.5) == (2**63, 3 * 2**62)
    assert document_limits(validation=0.0, test=0.0) == (0, 0)
    # Nearly all, rounded up, would take 65 bits.
    nearly = document_limits(validation=0.9999999999999999, test=9.9999999999999e-17)
    assert nearly == (1845, 2**64 - 1)
