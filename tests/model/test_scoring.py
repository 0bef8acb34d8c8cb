"""Scores do not depend on how the text is cut into windows and batches."""

import numpy as np
import pytest
import torch

from charlm.model import scoring
from charlm.model.network import CharacterLanguageModel
from charlm.settings import Architecture

RANDOM = np.random.default_rng(0)
# One is so long that it is read alone.
TEXTS = [RANDOM.integers(0, 9, size).astype(np.uint8) for size in (0, 1, 50, 7, 300, 23, 50)]


@pytest.fixture
def model() -> CharacterLanguageModel:
    torch.manual_seed(0)
    made = CharacterLanguageModel(10, Architecture(cell="gru", hidden_size=12, embedding_size=4))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval()


def one_by_one(
    model: CharacterLanguageModel, text: np.ndarray, start: int | None
) -> tuple[list[float], list[tuple[float, int]]]:
    """Score a text symbol by symbol: its nats, and the likeliest symbol with its probability."""
    nats, likeliest, state = [], [], None
    with torch.no_grad():
        logits = model.predict(torch.zeros(model.hidden_size))
        if start is not None:
            following, state = model(torch.tensor([[start]]))
            logits = following[0, 0]
        for symbol in text.tolist():
            nats.append(-logits.log_softmax(0)[symbol].item())
            likeliest.append((logits.softmax(0).max().item(), int(logits.argmax())))
            following, state = model(torch.tensor([[symbol]]), state)
            logits = following[0, 0]
    return nats, likeliest


@pytest.mark.parametrize("start", [9, None])
@pytest.mark.parametrize("window", [1, 2, 8, 256])
def test_every_symbol_costs_what_reading_one_by_one_says(
    model: CharacterLanguageModel,
    start: int | None,
    window: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scoring, "LOGITS", window * 4 * 10)
    found = scoring.predictions(model, TEXTS, start, batch_size=4)
    for text, each in zip(TEXTS, found, strict=True):
        nats, likeliest = one_by_one(model, text, start)
        assert each["nats"] == pytest.approx(nats, rel=1e-4, abs=1e-5)
        assert each["confidence"] == pytest.approx([high for high, _ in likeliest], rel=1e-4)
        assert each["right"].tolist() == [
            symbol == right for (_, symbol), right in zip(likeliest, text, strict=True)
        ]


def test_the_validation_loss_is_the_mean_over_the_streams(
    model: CharacterLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "WINDOW", 24)
    text = TEXTS[2]
    nats = []
    with torch.no_grad():
        for start in (0, 24):  # two streams of (50 - 1) // 2 predictions
            logits, _ = model(torch.tensor(text[start : start + 24].astype(int))[:, None])
            expected = text[start + 1 : start + 25].astype(int)
            nats += (-logits[:, 0].log_softmax(1)[range(24), expected]).tolist()
    expected = np.concatenate([text[1:25], text[25:49]])
    assert scoring.validation_loss(model, text, batch_size=2) == pytest.approx(np.mean(nats))
    counted = np.array(nats)[expected != 3]
    assert scoring.validation_loss(model, text, ignored=3, batch_size=2) == pytest.approx(
        counted.mean()
    )
    assert scoring.validation_loss(model, text[:1]) is None


def test_a_short_validation_text_is_read_as_one_stream(model: CharacterLanguageModel) -> None:
    nats, _ = one_by_one(model, TEXTS[4], None)  # 300 symbols; the first is not predicted
    assert scoring.validation_loss(model, TEXTS[4]) == pytest.approx(np.mean(nats[1:]), rel=1e-5)


def test_the_validation_loss_reads_32_streams(model: CharacterLanguageModel) -> None:
    tokens = RANDOM.integers(0, 9, 40 * scoring.WINDOW).astype(np.uint8)
    found = scoring.validation_loss(model, tokens)
    assert found == scoring.validation_loss(model, tokens, batch_size=32)
    assert found != scoring.validation_loss(model, tokens, batch_size=31)


@pytest.mark.parametrize("training", [True, False])
def test_the_validation_loss_leaves_the_model_as_it_was(
    model: CharacterLanguageModel, training: bool
) -> None:
    model.train(training)
    scoring.validation_loss(model, TEXTS[4])
    assert model.training == training
