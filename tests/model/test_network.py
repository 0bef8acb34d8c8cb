"""The network: its layers, its dropouts and its loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from charlm.errors import CharlmError
from charlm.model.network import CharacterLanguageModel
from charlm.recurrent import GRU, LSTM
from charlm.settings import Architecture
from tests.model.models import ONE_HOT, SMALL, TIED, random_tokens


def make_network(architecture: Architecture = SMALL) -> CharacterLanguageModel:
    torch.manual_seed(0)
    return CharacterLanguageModel(8, architecture)


def test_a_network_has_the_default_sizes_and_no_dropout() -> None:
    model = CharacterLanguageModel(8, Architecture(hidden_size=8, embedding_size=4, num_layers=2))
    assert model.training
    tokens = random_tokens(5, 3)
    first, second = model(tokens)[0], model(tokens)[0]
    assert (first == second).all()
    assert (first == model.eval()(tokens)[0]).all()
    assert model.embedding is not None
    assert model.embedding.weight.shape == (8, 4)
    assert model.output.weight.shape == (8, 8)
    assert isinstance(model.recurrent, LSTM)
    assert not model.locked_dropout


def test_the_recurrent_layers_follow_the_architecture() -> None:
    architecture = Architecture(
        cell="gru",
        hidden_size=6,
        num_layers=2,
        embedding_size=4,
        layer_dropout=0.5,
        weight_dropout=0.25,
        locked_dropout=True,
    )
    layers = CharacterLanguageModel(
        8, architecture, engine="reference", precision="bfloat16"
    ).recurrent
    assert isinstance(layers, GRU)
    assert (layers.input_size, layers.hidden_size, layers.num_layers) == (4, 6, 2)
    assert (layers.dropout, layers.weight_dropout, layers.locked_dropout) == (0.5, 0.25, True)
    assert (layers.engine, layers.precision) == ("reference", "bfloat16")


def test_tied_weights_must_be_equal_in_size() -> None:
    with pytest.raises(CharlmError, match="tie_weights: embedding_size 4 is not hidden_size 6"):
        CharacterLanguageModel(8, replace(TIED, embedding_size=4))


def test_one_hot_symbols_select_columns_of_the_input_weights() -> None:
    model = make_network(ONE_HOT).eval()
    layer = torch.nn.LSTM(8, 6)
    layer.load_state_dict(model.recurrent.state_dict())
    tokens = random_tokens(5, 2)
    hidden, _ = layer(functional.one_hot(tokens, 8).float())
    torch.testing.assert_close(model(tokens)[0], model.output(hidden))


def test_embedding_dropout_drops_whole_symbols() -> None:
    model = make_network(replace(SMALL, embedding_dropout=0.5))
    assert model.embedding is not None
    vectors = model._input_vectors()
    dropped = (vectors == 0).all(1)
    assert 0 < dropped.sum() < 8
    torch.testing.assert_close(vectors[~dropped], 2 * model.embedding.weight[~dropped])
    model.eval()
    assert (model._input_vectors() == model.embedding.weight).all()


@pytest.mark.parametrize("locked", [True, False])
def test_output_dropout_is_the_same_for_all_steps_if_locked(locked: bool) -> None:
    model = make_network(replace(SMALL, output_dropout=0.5, locked_dropout=locked))
    ones = torch.ones(7, 3, 6)
    dropped = model._drop_output(ones)
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert (dropped == dropped[:1]).all() == locked
    assert (model.eval()._drop_output(ones) == ones).all()


def test_the_loss_is_the_negative_log_likelihood_of_each_target() -> None:
    model = make_network().eval()
    tokens = random_tokens(6, 2)
    nats, _ = model.loss(tokens[:-1], tokens[1:])
    assert nats.shape == (5, 2)
    probabilities = model(tokens[:-1])[0].softmax(-1)
    for step, stream in np.ndindex(5, 2):
        expected = -probabilities[step, stream, tokens[step + 1, stream]].log()
        torch.testing.assert_close(nats[step, stream], expected)


def test_a_target_can_be_a_distribution() -> None:
    model = make_network().eval()
    tokens = random_tokens(6, 2)
    certain = functional.one_hot(tokens[1:], 8).float()
    loss, _ = model.loss(tokens[:-1], tokens[1:])
    torch.testing.assert_close(model.loss(tokens[:-1], certain)[0], loss)
    mixture = 0.75 * certain + 0.25 / 8
    logits = model(tokens[:-1])[0]
    expected = -(mixture * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(model.loss(tokens[:-1], mixture)[0], expected)
