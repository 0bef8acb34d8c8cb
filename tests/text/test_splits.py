"""Splits: by a hash that no other document moves, or by position, exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import CharlmError
from charlm.text.splits import contiguous_boundaries, split_of_document


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


def test_a_fraction_of_nothing_gets_nothing():
    options = {"validation": 0.0, "test": 0.0, "key": ""}
    assert {split_of_document(str(number), **options) for number in range(1000)} == {"train"}


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.9, 0.2)])
def test_fractions_that_leave_nothing_to_train_on_are_refused(validation, test):
    with pytest.raises(CharlmError, match="leave nothing to train on; give fractions"):
        contiguous_boundaries(10, validation=validation, test=test)
