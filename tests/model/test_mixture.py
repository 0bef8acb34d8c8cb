"""Mixtures predict distributions, the same however a text is read, from what came before alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from charlm.model.experts import count_experts, expert_list
from charlm.model.mixture import Mixture
from charlm.model.scoring import predictions
from charlm.model.store import load_model, make_contexts, make_model, save_model
from charlm.settings import Architecture, MixtureSettings
from tests.model.models import letters_vocabulary

VOCABULARY = letters_vocabulary()
END = len(VOCABULARY) - 1
SETTINGS = MixtureSettings(order=7)
ARCHITECTURE = Architecture(hidden_size=8, embedding_size=4, mixture=SETTINGS)


def words(length: int, seed: int) -> Tensor:
    """Return documents of words that come again and again."""
    chance = np.random.default_rng(seed)
    known = ["a", "cab", "bad", "cafe", "deed", "feed", "hide", "head"]
    text: list[int] = [END]
    while len(text) < length:
        text += VOCABULARY.encode(" ".join(chance.choice(known, 9)) + " ").tolist()
        text += [END] * bool(chance.random() < 0.3)
    return torch.tensor(text[:length])


@pytest.fixture
def mixture() -> Mixture:
    torch.manual_seed(0)
    experts = count_experts(
        make_contexts(VOCABULARY, SETTINGS),
        expert_list(SETTINGS.experts, SETTINGS.order),
        words(3000, 0).numpy(),
        budget=1e9,
    )
    mixture = Mixture(make_model(len(VOCABULARY), ARCHITECTURE), experts)
    for parameter in mixture.gate.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return mixture.eval()


@torch.no_grad()
def read(mixture: Mixture, tokens: Tensor) -> Tensor:
    return mixture(tokens)[0]


@pytest.fixture
def tokens() -> Tensor:
    """Three streams of 120 symbols."""
    return torch.stack([words(120, seed) for seed in (1, 2, 3)], 1)


def test_predictions_are_distributions_that_the_gate_forms(
    mixture: Mixture, tokens: Tensor
) -> None:
    logits = read(mixture, tokens)
    assert logits.shape == (120, 3, len(VOCABULARY))
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(120, 3))
    with torch.no_grad():
        opinions, _ = mixture.opinions(tokens)
        features = (opinions.features - mixture.gate.mean) / mixture.gate.scale
        hidden = torch.tanh(mixture.gate.hidden(features))
        weights = mixture.gate.constant + mixture.gate.output(hidden)
    # The product of the experts' probabilities, each to the power of its weight.
    product = (opinions.logits.double() * weights.double()[:, :, None]).sum(1).exp()
    expected = product / product.sum(-1, keepdim=True)
    torch.testing.assert_close(logits.exp().flatten(0, 1), expected.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("places", [1, 7, 100, 10**6])
def test_predictions_do_not_depend_on_how_a_text_is_read(
    mixture: Mixture, tokens: Tensor, places: int
) -> None:
    expected = read(mixture, tokens)
    mixture.experts.places = places
    torch.testing.assert_close(read(mixture, tokens), expected)
    with torch.no_grad():
        first, state = mixture(tokens[:50])
        second, _ = mixture(tokens[50:], state)
        step = mixture.stepper(3, state)
        steps = torch.stack([step(each).clone() for each in tokens[50:]])
    torch.testing.assert_close(torch.cat([first, second]), expected)
    torch.testing.assert_close(steps, expected[50:])
    alone = torch.cat([read(mixture, tokens[:, row, None]) for row in range(3)], 1)
    torch.testing.assert_close(alone, expected)


def test_a_saved_mixture_predicts_the_same(
    mixture: Mixture, tokens: Tensor, tmp_path: Path
) -> None:
    mixture.gate.standardize(torch.rand(50, mixture.gate.hidden.in_features))
    save_model(tmp_path, mixture, vocabulary=VOCABULARY, architecture=ARCHITECTURE, training={})
    loaded, _ = load_model(tmp_path)
    assert isinstance(loaded, Mixture)
    assert torch.equal(read(loaded, tokens), read(mixture, tokens))
    assert torch.equal(loaded.initial_logits(2), mixture.initial_logits(2))


def test_the_text_that_follows_changes_no_prediction(mixture: Mixture, tokens: Tensor) -> None:
    with torch.no_grad():
        expected, _ = mixture.opinions(tokens)
    for place in (0, 1, 40, 118):
        permuted = tokens.clone()
        order = torch.randperm(119 - place, generator=torch.Generator().manual_seed(place))
        permuted[place + 1 :] = tokens[place + 1 :][order.flip(0)]
        seen = 3 * (place + 1)
        with torch.no_grad():
            found, _ = mixture.opinions(permuted)
        for each, same in zip(found, expected, strict=True):
            torch.testing.assert_close(each[:seen], same[:seen])
        torch.testing.assert_close(
            read(mixture, permuted)[: place + 1], read(mixture, tokens)[: place + 1]
        )


def test_a_document_scores_the_same_beside_others_and_in_the_middle_of_a_text(
    mixture: Mixture,
) -> None:
    texts = [words(length, seed).numpy()[1:] for seed, length in enumerate((300, 9, 80, 80, 2))]
    together = predictions(mixture, texts, END)
    for text, found in zip(texts, together, strict=True):
        [alone] = predictions(mixture, [text], END)
        np.testing.assert_allclose(found["nats"], alone["nats"], rtol=1e-4, atol=1e-5)
    # Experts, unlike the network, start afresh at each document.
    stream = torch.cat([words(50, 8), torch.tensor([END]), words(30, 9)[1:]])[:, None]
    with torch.no_grad():
        within, _ = mixture.opinions(stream)
        apart, _ = mixture.opinions(stream[50:])
    torch.testing.assert_close(within.logits[50:, 1:], apart.logits[:, 1:])
