"""What holds for every language model: networks, ensembles and mixtures."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from charlm.model.store import load_model, save_model
from charlm.settings import Architecture, Cell
from tests.model.models import (
    DEEP,
    ENSEMBLE,
    MIXED,
    ONE_HOT,
    SMALL,
    TIED,
    VOCABULARY,
    make,
    random_tokens,
)

CELLS: tuple[Cell, ...] = ("lstm", "gru")
BOTH = replace(ENSEMBLE, mixture=MIXED.mixture)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "architecture",
    [
        SMALL,
        DEEP,
        replace(ONE_HOT, hidden_size="vocabulary"),
        TIED,
        replace(DEEP, members=3),
        MIXED,
        BOTH,
    ],
)
def test_the_state_carries_over_from_one_part_to_the_next(
    cell: Cell, architecture: Architecture
) -> None:
    model = make(replace(architecture, cell=cell)).eval()
    tokens = random_tokens(9, 3)
    whole, _ = model(tokens)
    first, state = model(tokens[:4])
    second, _ = model(tokens[4:], state)
    assert whole.shape == (9, 3, 8)
    torch.testing.assert_close(torch.cat([first, second]), whole)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("architecture", [SMALL, ONE_HOT, ENSEMBLE, MIXED])
def test_a_stepper_predicts_the_same_as_a_whole_sequence(
    cell: Cell, architecture: Architecture
) -> None:
    model = make(replace(architecture, cell=cell, num_layers=2)).eval()
    tokens = random_tokens(9, 3)
    step = model.stepper(3)
    with torch.no_grad():
        logits = torch.stack([step(each).clone() for each in tokens])
        torch.testing.assert_close(logits, model(tokens)[0])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("architecture", [SMALL, ENSEMBLE, MIXED, BOTH])
def test_a_stepper_starts_from_any_state(cell: Cell, architecture: Architecture) -> None:
    model = make(replace(architecture, cell=cell, num_layers=2)).eval()
    tokens = random_tokens(9, 3)
    with torch.no_grad():
        expected, _ = model(tokens)
        from_initial_state, _ = model(tokens, model.initial_state(3))
        torch.testing.assert_close(from_initial_state, expected, rtol=0, atol=0)
        for begin in (0, 5):
            state = model(tokens[:begin])[1] if begin else model.initial_state(3)
            step = model.stepper(3, state)
            logits = torch.stack([step(each).clone() for each in tokens[begin:]])
            torch.testing.assert_close(logits, expected[begin:])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("architecture", [replace(DEEP, cell="gru"), ONE_HOT, ENSEMBLE, MIXED])
def test_the_default_dtype_has_no_effect(
    tmp_path: Path, architecture: Architecture, dtype: torch.dtype
) -> None:
    model = make(architecture)
    save_model(tmp_path, model, vocabulary=VOCABULARY, architecture=architecture, training={})
    tokens = random_tokens(9, 3)

    def all_logits() -> list[torch.Tensor]:
        loaded, _ = load_model(tmp_path)
        with torch.no_grad():
            logits, state = loaded(tokens)
            step = loaded.stepper(3, state)
            return [loaded.initial_logits(3), logits, *(step(each).clone() for each in tokens)]

    expected = all_logits()
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = all_logits()
    finally:
        torch.set_default_dtype(before)
    for each, same in zip(found, expected, strict=True):
        assert each.dtype == torch.float32
        assert torch.equal(each, same)


@pytest.mark.parametrize("architecture", [SMALL, ENSEMBLE, MIXED])
def test_every_model_has_a_vocabulary_size_and_a_device(architecture: Architecture) -> None:
    model = make(architecture)
    assert model.vocabulary_size == 8
    assert model.device == torch.device("cpu")
