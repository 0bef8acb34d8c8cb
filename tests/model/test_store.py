"""Saved models: they load as they were saved, and damage is named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from charlm.errors import CharlmError
from charlm.files import sha256_of
from charlm.model.mixture import Mixture
from charlm.model.network import CharacterLanguageModel
from charlm.model.store import load_model, make_model, read_description, save_model
from charlm.settings import Architecture, MixtureSettings
from charlm.text.vocabulary import Vocabulary
from tests.model.models import ENSEMBLE, MIXED, SMALL, TIED, VOCABULARY, make, random_tokens


def save(folder: Path, architecture: Architecture = SMALL) -> None:
    model = make(architecture)
    save_model(folder, model, vocabulary=VOCABULARY, architecture=architecture, training={})


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("mixture", [None, MIXED.mixture])
def test_a_loaded_model_predicts_what_the_saved_one_did(
    tmp_path: Path, tie_weights: bool, members: int, mixture: MixtureSettings | None
) -> None:
    architecture = replace(
        TIED, tie_weights=tie_weights, members=members, mixture=mixture, output_dropout=0.5
    )
    save(tmp_path, architecture)
    loaded, vocabulary = load_model(tmp_path)
    tokens = random_tokens(5, 2)
    assert (loaded(tokens)[0] == make(architecture).eval()(tokens)[0]).all()
    assert vocabulary.symbols == VOCABULARY.symbols
    assert read_description(tmp_path).architecture == architecture
    assert isinstance(loaded, Mixture) == (mixture is not None)
    networks = [module for module in loaded.modules() if isinstance(module, CharacterLanguageModel)]
    assert len(networks) == members
    for network in networks:
        assert network.embedding is not None
        assert (network.output.weight is network.embedding.weight) == tie_weights


@pytest.mark.parametrize("architecture", [SMALL, ENSEMBLE, MIXED])
def test_a_loaded_model_has_no_dropout(tmp_path: Path, architecture: Architecture) -> None:
    dropouts = replace(architecture, embedding_dropout=0.5, output_dropout=0.5, weight_dropout=0.5)
    save(tmp_path, dropouts)
    loaded, _ = load_model(tmp_path)
    tokens = random_tokens(5, 2)
    assert (loaded(tokens)[0] == loaded(tokens)[0]).all()


def test_a_model_is_loaded_onto_a_device(tmp_path: Path) -> None:
    save(tmp_path)
    assert load_model(tmp_path, device="meta")[0].device.type == "meta"


def test_the_description_is_readable_json(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["é", "漢"], [3, 4], {"unknown": None, "end_of_document": None})
    save_model(
        tmp_path,
        make_model(2, ENSEMBLE),
        vocabulary=vocabulary,
        architecture=ENSEMBLE,
        training={"steps": 7},
    )
    text = (tmp_path / "model.json").read_text(encoding="utf-8")
    description = json.loads(text)
    assert list(description.items()) == [
        ("format", 1),
        ("architecture", asdict(ENSEMBLE)),
        ("training", {"steps": 7}),
        ("vocabulary", vocabulary.to_dict()),
        ("digests", description["digests"]),
    ]
    assert description["digests"]["weights"] == sha256_of(tmp_path / "model.safetensors")
    assert list(description["architecture"]) == list(asdict(ENSEMBLE))
    assert '\n "architecture": {\n' in text  # one line per entry
    assert "漢" in text
    assert text.endswith("}\n")


Damage = Callable[[Path], object]


def with_value(*keys: str, value: object) -> Damage:
    """Return a function that changes one value of the `model.json` in a folder."""

    def change(folder: Path) -> None:
        path = folder / "model.json"
        section = description = json.loads(path.read_text())
        for key in keys[:-1]:
            section = section[key]
        section[keys[-1]] = value
        del description["digests"]  # which would find any change
        path.write_text(json.dumps(description))

    return change


def as_folder(name: str) -> Damage:
    """Return a function that replaces a file of the model by a folder."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def without_a_symbol(folder: Path) -> None:
    path = folder / "model.json"
    description = json.loads(path.read_text())
    description["vocabulary"]["symbols"].pop(0)
    description["vocabulary"]["counts"].pop(0)
    description["vocabulary"]["special"]["unknown"] = 6
    del description["digests"]
    path.write_text(json.dumps(description))


def permute(folder: Path) -> None:
    """Exchange two symbols of the vocabulary."""
    path = folder / "model.json"
    description = json.loads(path.read_text())
    description["vocabulary"]["symbols"][:2] = "ba"
    path.write_text(json.dumps(description))


DAMAGED = "model.json: damaged; train the model again"
MISMATCH = "model.safetensors: does not belong to the model.json beside it"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.json").unlink(), "model.json: there is no such file"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json: not JSON"),
        (lambda folder: (folder / "model.json").write_text("[" * 10**5), "model.json: not JSON"),
        (lambda folder: (folder / "model.json").write_text("{}"), "not a model of this version"),
        (lambda folder: (folder / "model.json").write_text('{"format": 1}'), DAMAGED),
        (as_folder("model.json"), "model.json: Is a directory; name the folder of a trained model"),
        (
            lambda folder: shutil.rmtree(folder) or folder.write_text(""),  # type: ignore[func-returns-value]
            "model.json: Not a directory; name the folder of a trained model",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors: there is no"),
        (as_folder("model.safetensors"), "model.safetensors: "),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x02pickle"),
            "model.safetensors: damaged",
        ),
        (with_value("architecture", value=None), DAMAGED),
        (with_value("architecture", "cell", value="rnn"), DAMAGED),
        (with_value("architecture", "hidden_size", value="wide"), DAMAGED),
        (with_value("architecture", "unknown_key", value=1), DAMAGED),
        (with_value("vocabulary", value=[]), DAMAGED),
        (with_value("vocabulary", "unit", value="word"), DAMAGED),
        (with_value("vocabulary", "symbols", value=[1] * 8), DAMAGED),
        (with_value("vocabulary", "symbols", value="abcdefgh"), DAMAGED),
        (with_value("vocabulary", "counts", value=[1]), DAMAGED),
        (with_value("vocabulary", "special", value={}), DAMAGED),
        (with_value("vocabulary", "special", "unknown", value=8), DAMAGED),
        (with_value("vocabulary", "special", "end_of_document", value=-1), DAMAGED),
        (without_a_symbol, MISMATCH),
        (with_value("architecture", "hidden_size", value=7), MISMATCH),
        (with_value("architecture", "hidden_size", value=-1), MISMATCH),
        (with_value("architecture", "hidden_size", value=10**30), MISMATCH),
        (with_value("architecture", "members", value=0), MISMATCH),
        (with_value("architecture", "tie_weights", value=True), MISMATCH),
        (with_value("architecture", "mixture", value=asdict(MixtureSettings())), MISMATCH),
        (with_value("architecture", "num_layers", value=10**12), MISMATCH),
        (with_value("architecture", "members", value=10**12), MISMATCH),
        (with_value("architecture", "layer_dropout", value=float("nan")), MISMATCH),
        (with_value("architecture", "ngram_order", value=0), DAMAGED),
        (with_value("architecture", "mixture", value={"order": 0}), MISMATCH),
        (with_value("vocabulary", "symbols", value=[*"abcdefg", "\ud800"]), DAMAGED),
        (with_value("vocabulary", "symbols", value=[*"abcdefg", ""]), DAMAGED),
        (with_value("vocabulary", "unit", value="byte"), DAMAGED),
        (with_value("training", value=[]), DAMAGED),
        (with_value("digest", value={}), DAMAGED),
        (permute, DAMAGED),
    ],
)
def test_damage_is_named_in_one_line(tmp_path: Path, damage: Damage, message: str) -> None:
    folder = tmp_path / "model"
    save(folder)
    damage(folder)
    with pytest.raises(CharlmError, match=message) as raised:
        load_model(folder)
    assert len(str(raised.value).splitlines()) == 1


def with_tensors(**changes: Callable[[torch.Tensor], torch.Tensor] | None) -> Damage:
    """Return a function that changes, or removes, tensors whose names have `__` for a dot."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        for key, function in changes.items():
            name = key.replace("__", ".")
            tensor = tensors.pop(name)
            if function:
                tensors[name] = function(tensor).contiguous()
        save_file(tensors, path)
        without_digests(folder)

    return change


def without_digests(folder: Path) -> None:
    """Make a model one of an early version, whose `model.json` has no digests."""
    path = folder / "model.json"
    description = json.loads(path.read_text())
    del description["digests"]
    path.write_text(json.dumps(description))


def with_another_table(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"experts.tables.ngram5.counts": torch.ones(1)}, path)
    without_digests(folder)


@pytest.mark.parametrize(
    "damage",
    [
        with_value("architecture", "mixture", value=None),
        with_value("architecture", "mixture", "order", value=3),
        with_value("architecture", "mixture", "order", value=5),
        with_value("architecture", "mixture", "experts", value=["word"]),
        with_another_table,
        with_tensors(gate__mean=None),
        with_tensors(gate__constant=lambda tensor: tensor[1:]),
        with_tensors(experts__tables__word__symbols=None),
        with_tensors(experts__tables__word__symbols=lambda tensor: tensor[1:]),
        with_tensors(experts__tables__word__symbols=lambda tensor: tensor + 8),
        with_tensors(experts__tables__word__counts=lambda tensor: tensor * 0),
        with_tensors(experts__tables__word__contexts=lambda tensor: tensor.flip(0)),
        with_tensors(experts__tables__word__contexts=lambda tensor: tensor.long()),
        with_tensors(experts__tables__word__distinct=lambda tensor: tensor.float()),
        with_tensors(experts__tables__word__discounts=lambda tensor: tensor + 1e9),
        with_tensors(experts__tables__word__discounts=lambda tensor: tensor[:0]),
        with_tensors(experts__tables__word__counts=lambda tensor: tensor.to(torch.int8)),
        with_tensors(experts__tables__word__distinct=lambda tensor: tensor.int() + 2**30),
        with_tensors(gate__constant=lambda tensor: tensor.to(torch.complex64)),
        with_tensors(output__bias=lambda tensor: tensor.to(torch.int8)),
        with_tensors(output__bias=lambda tensor: tensor.to(torch.complex64)),
        with_tensors(output__bias=lambda tensor: tensor.double()),
    ],
)
def test_experts_of_another_model_are_refused_in_one_line(tmp_path: Path, damage: Damage) -> None:
    save(tmp_path, MIXED)
    load_model(tmp_path)
    damage(tmp_path)
    with pytest.raises(CharlmError, match=MISMATCH) as raised:
        load_model(tmp_path)
    assert len(str(raised.value).splitlines()) == 1


def test_a_model_of_an_early_version_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, MIXED)
    without_digests(tmp_path)
    load_model(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    save(tmp_path)
    with_tensors(output__weight=lambda tensor: tensor + value)(tmp_path)
    with pytest.raises(CharlmError, match=r"output\.weight holds NaN or infinity"):
        load_model(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "other")):
        torch.manual_seed(seed)
        model = make_model(len(VOCABULARY), SMALL)
        save_model(tmp_path / name, model, vocabulary=VOCABULARY, architecture=SMALL, training={})
    shutil.copy(tmp_path / "other/model.safetensors", tmp_path / "one")
    with pytest.raises(CharlmError, match=r"one/model\.safetensors: damaged, or not of the"):
        load_model(tmp_path / "one")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a" * 300, ""])
def test_an_impossible_folder_name_is_refused(name: str) -> None:
    with pytest.raises(CharlmError, match=r"model\.json: "):
        load_model(name)
