"""Ensembles: mean probabilities, independent training."""

from dataclasses import replace

import torch

from charlm.model.ensemble import Ensemble
from charlm.model.network import CharacterLanguageModel
from tests.model.models import ENSEMBLE, SMALL, random_tokens


def test_an_ensemble_averages_the_probabilities_of_its_members() -> None:
    torch.manual_seed(0)
    model = Ensemble(8, replace(SMALL, members=3)).eval()
    tokens = random_tokens(5, 2)
    each = torch.stack([member(tokens)[0].softmax(-1) for member in model.members])
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(model(tokens)[0], each.mean(0).log())
    initial = torch.stack([member.initial_logits(1).softmax(-1) for member in model.members])
    torch.testing.assert_close(model.initial_logits(1), initial.mean(0).log())


def test_members_learn_as_if_each_were_alone() -> None:
    torch.manual_seed(0)
    model = Ensemble(8, ENSEMBLE)
    tokens = random_tokens(6, 2)
    _, state = model.loss(tokens[:-1], tokens[1:])
    state = tuple(tensor.detach() for tensor in state)
    loss, _ = model.loss(tokens[:-1], tokens[1:], state)
    torch.autograd.backward(loss.mean())
    losses = []
    for member in model.members:
        alone = CharacterLanguageModel(8, SMALL)
        alone.load_state_dict(member.state_dict())
        _, state = alone.loss(tokens[:-1], tokens[1:])
        own, _ = alone.loss(tokens[:-1], tokens[1:], tuple(tensor.detach() for tensor in state))
        torch.autograd.backward(own.mean())
        losses.append(own)
        for parameter, same in zip(alone.parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, same.grad)
    torch.testing.assert_close(loss, torch.stack(losses).sum(0))
