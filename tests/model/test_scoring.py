"""Scores do not depend on how the text is cut into windows and batches."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.model import scoring
from charlm.model.network import CharacterLanguageModel
from charlm.settings import Architecture

RANDOM = np.random.default_rng(0)
# One text is so long that it is read alone in the end.
TEXTS = [RANDOM.integers(0, 9, size).astype(np.uint8) for size in (0, 1, 50, 7, 300, 23, 50)]


@pytest.fixture
def model() -> CharacterLanguageModel:
    torch.manual_seed(0)
    architecture = Architecture(cell="gru", hidden_size=12, embedding_size=4)
    made = CharacterLanguageModel(10, architecture)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval()


@torch.no_grad()
def one_by_one(
    model: CharacterLanguageModel, text: npt.NDArray[np.integer], start: int | None
) -> tuple[list[float], list[tuple[float, int]]]:
    """Return the nats of each token, and the highest probability before it with its token."""
    nats, likeliest = [], []
    state = None
    logits = model.initial_logits(1)[0]
    if start is not None:
        following, state = model(torch.tensor([[start]]))
        logits = following[0, 0]
    for token in text.tolist():
        nats.append(-logits.log_softmax(0)[token].item())
        likeliest.append((logits.softmax(0).max().item(), int(logits.argmax())))
        following, state = model(torch.tensor([[token]]), state)
        logits = following[0, 0]
    return nats, likeliest


@pytest.mark.parametrize("start", [9, None])
@pytest.mark.parametrize("window", [1, 2, 8, 256])
def test_predictions_are_those_of_reading_one_by_one(
    model: CharacterLanguageModel,
    start: int | None,
    window: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scoring, "MAX_LOGITS", window * 4 * 10)
    found = scoring.predictions(model, TEXTS, start, batch_size=4)
    for text, each in zip(TEXTS, found, strict=True):
        nats, likeliest = one_by_one(model, text, start)
        assert each["nats"] == pytest.approx(nats, rel=1e-4, abs=1e-5)
        assert each["confidence"] == pytest.approx([highest for highest, _ in likeliest], rel=1e-4)
        assert each["right"].tolist() == [
            token == right for (_, token), right in zip(likeliest, text, strict=True)
        ]


def test_the_validation_loss_is_the_mean_over_the_streams(
    model: CharacterLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "WINDOW", 24)
    text = TEXTS[2]
    nats: list[float] = []
    with torch.no_grad():
        for start in (0, 24):  # two streams of (50 - 1) // 2 predictions
            logits, _ = model(torch.tensor(text[start : start + 24].astype(int))[:, None])
            targets = text[start + 1 : start + 25].astype(int)
            nats += (-logits[:, 0].log_softmax(1)[range(24), targets]).tolist()
    all_targets = np.concatenate([text[1:25], text[25:49]])
    assert scoring.validation_loss(model, text, batch_size=2) == pytest.approx(np.mean(nats))
    counted = np.array(nats)[all_targets != 3]
    assert scoring.validation_loss(model, text, ignored=3, batch_size=2) == pytest.approx(
        counted.mean()
    )
    assert scoring.validation_loss(model, text[:1]) is None


def test_a_short_validation_text_is_read_as_one_stream(model: CharacterLanguageModel) -> None:
    nats, _ = one_by_one(model, TEXTS[4], None)  # 300 tokens; the first is not predicted
    assert scoring.validation_loss(model, TEXTS[4]) == pytest.approx(np.mean(nats[1:]), rel=1e-5)


def test_by_default_the_validation_loss_reads_32_streams(model: CharacterLanguageModel) -> None:
    tokens = RANDOM.integers(0, 9, 40 * scoring.WINDOW).astype(np.uint8)
    found = scoring.validation_loss(model, tokens)
    assert found == scoring.validation_loss(model, tokens, batch_size=32)
    assert found != scoring.validation_loss(model, tokens, batch_size=31)


@pytest.mark.parametrize("training", [True, False])
def test_the_validation_loss_keeps_the_mode_of_the_model(
    model: CharacterLanguageModel, training: bool
) -> None:
    model.train(training)
    scoring.validation_loss(model, TEXTS[4])
    assert model.training == training
