"""Settings that depend on the length of the text."""

import pytest

from charlm.settings import Architecture, TrainingSettings
from charlm.training.automatic import (
    MAX_EPOCHS,
    UPDATES,
    automatic_architecture,
    automatic_training,
)

ORIGIN = Architecture(hidden_size=40, embedding_size=24)


@pytest.mark.parametrize(
    ("symbols", "hidden_size", "embedding_size"),
    [(45_000, 128, 64), (135_000, 192, 64), (3_600_000, 256, 64), (30_000_000, 512, 128)],
)
def test_a_longer_text_gets_a_wider_network(
    symbols: int, hidden_size: int, embedding_size: int
) -> None:
    found = automatic_architecture(Architecture(), symbols)
    assert (found.hidden_size, found.embedding_size) == (hidden_size, embedding_size)


@pytest.mark.parametrize(
    ("architecture", "origin", "sizes"),
    [
        (Architecture(hidden_size=7), None, (7, 64)),
        (Architecture(embedding_size=7), None, (256, 7)),
        (Architecture(hidden_size="vocabulary"), None, ("vocabulary", 64)),
        (Architecture(tie_weights=True), None, (256, 256)),
        (Architecture(), ORIGIN, (40, 24)),
        (Architecture(hidden_size=7), ORIGIN, (7, 24)),
    ],
)
def test_sizes_follow_the_settings_and_the_model_to_start_from(
    architecture: Architecture, origin: Architecture | None, sizes: tuple[int | str, int]
) -> None:
    found = automatic_architecture(architecture, 1_000_000, origin)
    assert (found.hidden_size, found.embedding_size) == sizes


@pytest.mark.parametrize("symbols", [2, 100, 9_000, 45_000, 700_000, 3_600_000, 30_000_000, 10**9])
def test_there_are_enough_updates_for_any_text(symbols: int) -> None:
    found = automatic_training(TrainingSettings(), symbols, 1000)
    assert isinstance(found.batch_size, int)
    assert isinstance(found.sequence_length, int)
    assert isinstance(found.epochs, float)
    updates = found.epochs * symbols / (found.batch_size * found.sequence_length)
    assert updates >= 0.999 * UPDATES or found.epochs == MAX_EPOCHS
    assert found.epochs >= 1
    assert found.batch_size == 1 or found.batch_size * found.sequence_length * 100 <= symbols


def test_given_settings_stay() -> None:
    given = TrainingSettings(
        epochs=2, batch_size=3, sequence_length=5, learning_rate=0.5, keep="last", patience=None
    )
    assert automatic_training(given, 10**6, 1000) == given


def test_without_validation_text_the_last_weights_are_kept() -> None:
    found = automatic_training(TrainingSettings(), 10**6, 0)
    assert (found.keep, found.patience) == ("last", None)
    found = automatic_training(TrainingSettings(), 10**6, 1000)
    assert (found.keep, found.patience) == ("best", 3)


def test_ntasgd_trains_on_after_the_loss_has_stalled() -> None:
    assert automatic_training(TrainingSettings(optimizer="ntasgd"), 10**6, 1000).patience is None


@pytest.mark.parametrize(
    ("optimizer", "symbols", "rate"),
    [
        ("muon", 10**6, 2e-2),
        ("muon", 10**8, 8e-3),
        ("adamw", 10**6, 1e-2),
        ("adamw", 10**8, 4e-3),
        ("rmsprop", 10**6, 3e-3),
    ],
)
def test_the_learning_rate(optimizer: str, symbols: int, rate: float) -> None:
    settings = TrainingSettings.from_mapping({"optimizer": optimizer}, "test")
    assert automatic_training(settings, symbols, 1000).learning_rate == rate
