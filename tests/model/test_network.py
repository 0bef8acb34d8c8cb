"""The model: its sizes, its dropouts, and how it is saved and loaded."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.network import CharacterLanguageModel
from charlm.model.store import add_ngram, load_model, make_model, save_model
from charlm.recurrent import GRU, LSTM
from charlm.settings import Architecture
from charlm.text.vocabulary import Vocabulary

SYMBOLS = Vocabulary([*"abcdefg", "<unknown>"], [1] * 8, {"unknown": 7, "end_of_document": None})
SMALL: dict[str, Any] = {"hidden_size": 6, "embedding_size": 4, "tie_weights": False}
NGRAM: dict[str, Any] = {"ngram_order": 4, "ngram_weight": 0.3}
TEXT = np.tile([0, 1, 2, 3, 0, 1, 5, 6], 9)


def make(**architecture: Any) -> Any:
    torch.manual_seed(0)
    settings = Architecture(**{**SMALL, **architecture})
    return add_ngram(make_model(len(SYMBOLS), settings), settings, TEXT)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"num_layers": 2},
        {"one_hot": True, "hidden_size": "vocabulary"},
        {"tie_weights": True, "embedding_size": 6},
        {"members": 3, "num_layers": 2},
        NGRAM,
        {"members": 2, **NGRAM},
    ],
)
def test_reading_in_two_parts_is_reading_at_once(cell: str, architecture: dict[str, Any]) -> None:
    model = make(cell=cell, **architecture).eval()
    symbols = torch.randint(0, 8, (9, 3))
    whole, _ = model(symbols)
    first, state = model(symbols[:4])
    second, _ = model(symbols[4:], state)
    assert whole.shape == (9, 3, 8)
    torch.testing.assert_close(torch.cat([first, second]), whole)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("architecture", [{}, {"one_hot": True}, {"members": 2}, NGRAM])
def test_reading_step_by_step_is_reading_at_once(cell: str, architecture: dict[str, Any]) -> None:
    model = make(cell=cell, num_layers=2, **architecture).eval()
    symbols = torch.randint(0, 8, (9, 3))
    advance = model.stepper(3)
    with torch.no_grad():
        logits = torch.stack([advance(each).clone() for each in symbols])
        torch.testing.assert_close(logits, model(symbols)[0])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("architecture", [{}, {"members": 2}, NGRAM, {"members": 2, **NGRAM}])
def test_steps_go_on_from_a_state(cell: str, architecture: dict[str, Any]) -> None:
    model = make(cell=cell, num_layers=2, **architecture).eval()
    symbols = torch.randint(0, 8, (9, 3))
    with torch.no_grad():
        expected, _ = model(symbols)
        fresh, _ = model(symbols, model.initial_state(3))
        torch.testing.assert_close(fresh, expected, rtol=0, atol=0)
        for begin in (0, 5):
            state = model(symbols[:begin])[1] if begin else model.initial_state(3)
            advance = model.stepper(3, state)
            logits = torch.stack([advance(each).clone() for each in symbols[begin:]])
            torch.testing.assert_close(logits, expected[begin:])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "architecture", [{"cell": "gru", "num_layers": 2}, {"one_hot": True}, {"members": 2}, NGRAM]
)
def test_the_default_dtype_changes_nothing(
    tmp_path: Path, architecture: dict[str, Any], dtype: torch.dtype
) -> None:
    architecture = {**SMALL, **architecture}
    save_model(
        tmp_path,
        make(**architecture),
        vocabulary=SYMBOLS,
        architecture=Architecture(**architecture),
        training={},
    )
    symbols = torch.randint(0, 8, (9, 3))

    def predictions() -> list[torch.Tensor]:
        model, _ = load_model(tmp_path)
        with torch.no_grad():
            logits, state = model(symbols)
            advance = model.stepper(3, state)
            return [model.initial_logits(3), logits, *(advance(each).clone() for each in symbols)]

    expected = predictions()
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = predictions()
    finally:
        torch.set_default_dtype(before)
    for each, same in zip(found, expected, strict=True):
        assert each.dtype == torch.float32
        assert torch.equal(each, same)


def test_one_hot_symbols_select_columns_of_the_input_weights() -> None:
    model = make(cell="lstm", one_hot=True).eval()
    layer = torch.nn.LSTM(8, 6)
    layer.load_state_dict(model.recurrent.state_dict())
    symbols = torch.randint(0, 8, (5, 2))
    hidden, _ = layer(torch.nn.functional.one_hot(symbols, 8).float())
    torch.testing.assert_close(model(symbols)[0], model.output(hidden))


def test_embedding_dropout_drops_whole_symbols() -> None:
    model = make(embedding_dropout=0.5)
    table = model._input_vectors()
    dropped = (table == 0).all(1)
    assert 0 < dropped.sum() < 8
    torch.testing.assert_close(table[~dropped], 2 * model.embedding.weight[~dropped])
    model.eval()
    assert (model._input_vectors() == model.embedding.weight).all()


@pytest.mark.parametrize("locked", [True, False])
def test_output_dropout(locked: bool) -> None:
    model = make(output_dropout=0.5, locked_dropout=locked)
    ones = torch.ones(7, 3, 6)
    dropped = model._drop_output(ones)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (dropped == dropped[:1]).all() == locked
    assert (model.eval()._drop_output(ones) == ones).all()


def test_an_ensemble_gives_its_members_mean_probability() -> None:
    model = make(members=3).eval()
    symbols = torch.randint(0, 8, (5, 2))
    each = torch.stack([member(symbols)[0].softmax(-1) for member in model.members])
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(model(symbols)[0], each.mean(0).log())
    torch.testing.assert_close(
        model.initial_logits(1),
        torch.stack([member.initial_logits(1).softmax(-1) for member in model.members])
        .mean(0)
        .log(),
    )


def test_a_network_and_an_ngram_model_give_their_mean_probability() -> None:
    model = make(**NGRAM).eval()
    symbols = torch.tensor(TEXT[:12])[:, None]
    network = model.network(symbols)[0][:, 0].softmax(-1)
    counted = torch.cat(
        [model.ngram(torch.tensor([[8] * 3 + TEXT[:n].tolist()]).T[-3:]) for n in range(1, 13)]
    )
    assert counted[-1].argmax() == TEXT[12]
    torch.testing.assert_close(
        model(symbols)[0][:, 0].softmax(-1), 0.7 * network + 0.3 * counted, rtol=1e-4, atol=1e-6
    )
    at_rest = 0.7 * model.network.initial_logits(1).softmax(-1) + 0.3 * model.ngram(
        torch.full((3, 1), 8)
    )
    torch.testing.assert_close(model.initial_logits(1).exp(), at_rest)


def test_the_loss_takes_a_distribution_in_the_place_of_each_symbol() -> None:
    model = make().eval()
    symbols = torch.randint(0, 8, (6, 2))
    certain = torch.nn.functional.one_hot(symbols[1:], 8).float()
    loss, _ = model.loss(symbols[:-1], symbols[1:])
    torch.testing.assert_close(model.loss(symbols[:-1], certain)[0], loss)
    mixture = 0.75 * certain + 0.25 / 8
    logits = model(symbols[:-1])[0]
    expected = -(mixture * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(model.loss(symbols[:-1], mixture)[0], expected)


def test_an_ensembles_members_learn_as_if_each_were_alone() -> None:
    model = make(members=2)
    symbols = torch.randint(0, 8, (6, 2))
    _, state = model.loss(symbols[:-1], symbols[1:])
    state = tuple(part.detach() for part in state)
    loss, _ = model.loss(symbols[:-1], symbols[1:], state)
    loss.mean().backward()
    apart = []
    for member in model.members:
        alone = CharacterLanguageModel(8, Architecture(**SMALL))
        alone.load_state_dict(member.state_dict())
        _, state = alone.loss(symbols[:-1], symbols[1:])
        own, _ = alone.loss(symbols[:-1], symbols[1:], tuple(part.detach() for part in state))
        own.mean().backward()
        apart.append(own)
        for parameter, same in zip(alone.parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, same.grad)
    torch.testing.assert_close(loss, sum(apart))


def test_the_loss_is_the_nats_of_each_symbol() -> None:
    model = make().eval()
    symbols = torch.randint(0, 8, (6, 2))
    nats, _ = model.loss(symbols[:-1], symbols[1:])
    assert nats.shape == (5, 2)
    probabilities = model(symbols[:-1])[0].softmax(-1)
    for step, stream in np.ndindex(5, 2):
        expected = -probabilities[step, stream, symbols[step + 1, stream]].log()
        torch.testing.assert_close(nats[step, stream], expected)


@pytest.mark.parametrize("more", [{}, {"members": 2}, NGRAM])
def test_a_loaded_model_drops_nothing_out(tmp_path: Path, more: dict[str, Any]) -> None:
    dropouts = {"embedding_dropout": 0.5, "output_dropout": 0.5, "weight_dropout": 0.5}
    architecture = {**SMALL, **dropouts, **more}
    model = make(**architecture)
    save_model(
        tmp_path, model, vocabulary=SYMBOLS, architecture=Architecture(**architecture), training={}
    )
    loaded, _ = load_model(tmp_path)
    symbols = torch.randint(0, 8, (5, 2))
    assert (loaded(symbols)[0] == loaded(symbols)[0]).all()
    assert (loaded(symbols)[0] == model.eval()(symbols)[0]).all()


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize(
    "more",
    [
        {"members": 1},
        {"members": 2},
        NGRAM,
        {"members": 2, **NGRAM},
        {"output_dropout": 0.5, "embedding_dropout": 0.5},
    ],
)
def test_a_saved_model_is_the_model(
    tmp_path: Path, tie_weights: bool, more: dict[str, Any]
) -> None:
    architecture = {**SMALL, "embedding_size": 6, "tie_weights": tie_weights, **more}
    model = make(**architecture).eval()
    save_model(
        tmp_path, model, vocabulary=SYMBOLS, architecture=Architecture(**architecture), training={}
    )
    loaded, vocabulary = load_model(tmp_path)
    symbols = torch.randint(0, 8, (5, 2))
    assert (loaded(symbols)[0] == model(symbols)[0]).all()
    assert vocabulary.symbols == SYMBOLS.symbols
    for member in getattr(loaded, "network", loaded).members:
        assert (member.output.weight is member.embedding.weight) == tie_weights


def test_a_model_is_loaded_to_a_device(tmp_path: Path) -> None:
    save_model(
        tmp_path, make(), vocabulary=SYMBOLS, architecture=Architecture(**SMALL), training={}
    )
    assert load_model(tmp_path, device="meta")[0].device.type == "meta"


def edit(*keys: str, value: Any) -> Any:
    """Return a function that changes one value of the `model.json` in a folder."""

    def change(folder: Path) -> None:
        path = folder / "model.json"
        section = description = json.loads(path.read_text())
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
        path.write_text(json.dumps(description))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.json").unlink(), "model.json: there is no such file"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json: not JSON"),
        (lambda folder: (folder / "model.json").write_text("{}"), "not a model of this version"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors: there is no"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x02pickle"),
            "model.safetensors: damaged",
        ),
        (
            lambda folder: (folder / "model.json").write_text(
                (folder / "model.json").read_text().replace('"hidden_size": 6', '"hidden_size": 7')
            ),
            "does not belong to the model.json beside it",
        ),
        (
            lambda folder: (folder / "model.json").write_text(
                (folder / "model.json").read_text().replace('   "a",\n', "")
            ),
            "does not belong to the model.json beside it",
        ),
        (
            lambda folder: (folder / "model.json").write_text(
                (folder / "model.json").read_text().replace('"ngram_order": 0', '"ngram_order": 3')
            ),
            "does not belong to the model.json beside it",
        ),
        *(
            (edit(*keys, value=value), "does not belong to the model.json beside it")
            for *keys, value in (
                ("architecture", None),
                ("architecture", "cell", "rnn"),
                ("architecture", "hidden_size", "wide"),
                ("architecture", "hidden_size", -1),
                ("architecture", "hidden_size", 10**30),
                ("architecture", "members", 0),
                ("architecture", "tie_weights", True),
                ("architecture", "unknown_key", 1),
                ("vocabulary", []),
                ("vocabulary", "unit", "word"),
                ("vocabulary", "symbols", [1] * 8),
                ("vocabulary", "symbols", "abcdefgh"),
                ("vocabulary", "counts", [1]),
                ("vocabulary", "special", "unknown", 8),
                ("vocabulary", "special", "end_of_document", -1),
                ("vocabulary", "special", {}),
            )
        ),
        (lambda folder: (folder / "model.json").write_text("[" * 10**5), "model.json: not JSON"),
        (
            lambda folder: shutil.rmtree(folder) or folder.write_text(""),
            "model.json: Not a directory; name the folder of a trained model",
        ),
        (
            lambda folder: (folder / "model.json").unlink() or (folder / "model.json").mkdir(),
            "model.json: Is a directory; name the folder of a trained model",
        ),
        (
            lambda folder: (
                (folder / "model.safetensors").unlink() or (folder / "model.safetensors").mkdir()
            ),
            "model.safetensors: ",
        ),
    ],
)
def test_a_folder_that_holds_no_model(tmp_path: Path, damage: Any, message: str) -> None:
    folder = tmp_path / "model"
    save_model(folder, make(), vocabulary=SYMBOLS, architecture=Architecture(**SMALL), training={})
    damage(folder)
    with pytest.raises(CharlmError, match=message) as raised:
        load_model(folder)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a" * 300, ""])
def test_a_folder_that_cannot_be(name: str) -> None:
    with pytest.raises(CharlmError, match=r"model\.json: "):
        load_model(name)


def test_the_description_is_plain_json(tmp_path: Path) -> None:
    save_model(
        tmp_path,
        make(),
        vocabulary=SYMBOLS,
        architecture=Architecture(**SMALL),
        training={"steps": 3},
    )
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["vocabulary"]["symbols"] == SYMBOLS.symbols
    assert description["training"] == {"steps": 3}


def test_by_default_nothing_is_dropped() -> None:
    model = CharacterLanguageModel(8, Architecture(num_layers=2))
    assert model.training
    symbols = torch.randint(0, 8, (5, 3))
    first, second = model(symbols)[0], model(symbols)[0]
    assert (first == second).all()
    assert (first == model.eval()(symbols)[0]).all()
    assert model.embedding is not None
    assert model.embedding.weight.shape == (8, 128)
    assert model.output.weight.shape == (8, 512)
    assert isinstance(model.recurrent, LSTM)
    assert not model.locked_dropout


def test_the_description_is_readable(tmp_path: Path) -> None:
    symbols = Vocabulary(["é", "漢"], [3, 4], {"unknown": None, "end_of_document": None})
    architecture = Architecture(hidden_size=6, embedding_size=4, members=2)
    save_model(
        tmp_path,
        make_model(2, architecture),
        vocabulary=symbols,
        architecture=architecture,
        training={"steps": 7},
    )
    text = (tmp_path / "model.json").read_text(encoding="utf-8")
    assert json.loads(text) == {
        "format": 1,
        "architecture": asdict(architecture),
        "training": {"steps": 7},
        "vocabulary": symbols.to_dict(),
    }
    assert '\n "architecture": {\n' in text  # a line for each entry
    assert "漢" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("architecture", [{}, {"members": 2}, NGRAM])
def test_every_model_tells_its_size_and_place(architecture: dict[str, Any]) -> None:
    model = make(**architecture)
    assert model.vocabulary_size == 8
    assert model.device == torch.device("cpu")


def test_the_layers_have_the_settings_of_the_model() -> None:
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
