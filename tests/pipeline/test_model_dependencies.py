"""A training that cannot use `init_from` or `teacher` is an error before any job runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.store import make_model, save_model
from charlm.pipeline.config import resolve
from charlm.pipeline.match_vocabulary import match_vocabulary
from charlm.pipeline.model_dependencies import ModelDependencies
from charlm.settings import Architecture
from charlm.text.vocabulary import Vocabulary

LETTERS = [*"abc", "<unknown>", "<end_of_document>"]
SMALL: dict[str, Any] = {"hidden_size": 8, "embedding_size": 4}


def write_model(folder: Path, symbols: list[str] = LETTERS, **settings: Any) -> Path:
    """Write an untrained model of these symbols."""
    models = resolve({"corpus": {"name": "c", "source": "c.csv"}, "models": {"m": settings}})
    resolved = models["models"]["m"].items()
    architecture = Architecture(**{key: value for key, value in resolved if key != "training"})
    special = {
        name: symbols.index(f"<{name}>") if f"<{name}>" in symbols else None
        for name in ("unknown", "end_of_document")
    }
    torch.manual_seed(0)
    save_model(
        folder,
        make_model(len(symbols), architecture),
        vocabulary=Vocabulary(symbols, [1] * len(symbols), special),
        architecture=architecture,
        training={},
    )
    return folder


def lines_of(models: dict[str, Any], prefix: str = "", **config: Any) -> list[str]:
    """Return the errors of the models' dependencies."""
    resolved = resolve({"corpus": {"name": "c", "source": "c.csv"}, "models": models} | config)
    try:
        ModelDependencies(resolved, f"{prefix}results/c", prefix=prefix).check("f.yaml")
    except CharlmError as error:
        return str(error).splitlines()
    return []


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("key", ["init_from", "teacher"])
@pytest.mark.parametrize(
    "spelling",
    [
        "results/c/models/m",
        "results/c/models/m/",
        "./results/c/models/m",
        "results/c/models/other/../m",
        "results/c//models/./m",
        "{here}/results/c/models/m",
        "../{name}/results/c/models/m",
        "link",
        "models/m",
    ],
)
def test_a_model_cannot_start_from_its_own_folder(here: Path, key: str, spelling: str) -> None:
    write_model(here / "results/c/models/m", **SMALL)
    (here / "results/c/models/other").mkdir()
    (here / "link").symlink_to("results/c/models/m")
    (here / "models").symlink_to("results/c/models")
    folder = spelling.format(here=here, name=here.name)
    [line] = lines_of({"m": SMALL | {key: folder}})
    assert line.startswith(f"f.yaml: models.m.{key}: {folder} is the folder of this model itself")
    assert f"run `cp -r results/c/models/m c-m` and set `{key}: c-m`" in line


def test_the_suggested_command_and_setting_work(here: Path) -> None:
    write_model(here / "results/c/models/m", **SMALL)
    (here / "c-m").mkdir()  # `cp -r` would copy into an existing folder
    [line] = lines_of({"m": SMALL | {"init_from": "results/c/models/m"}})
    command, setting = line.split("`")[1::2]
    subprocess.run(command, shell=True, check=True)
    assert setting == "init_from: c-m-copy"
    assert lines_of({"m": SMALL | {"init_from": setting.split(": ")[1]}}) == []


def test_no_copy_is_suggested_of_a_model_that_is_not_trained_yet() -> None:
    [line] = lines_of({"m": SMALL | {"init_from": "results/c/models/m"}})
    assert "is not trained yet; leave out init_from" in line
    assert "cp " not in line


def test_a_modules_prefix_applies_only_to_the_runs_own_models(here: Path) -> None:
    write_model(here / "lm/results/c/models/m", **SMALL)
    plain = "results/c/models/m"
    for folder in (plain, f"lm/{plain}", f"{here}/lm/{plain}"):
        [line] = lines_of({"m": SMALL | {"init_from": folder}}, prefix="lm/")
        assert f"run `cp -r lm/{plain} c-m`" in line
    models: dict[str, Any] = {"m": SMALL, "more": SMALL | {"init_from": plain}}
    assert lines_of(models, prefix="lm/") == []
    models["more"]["init_from"] = f"lm/{plain}"
    [line] = lines_of(models, prefix="lm/")
    assert line.endswith(f"is a model of this run; name it without the module's prefix: {plain}")
    write_model(here / "mine", **SMALL)
    assert lines_of({"m": SMALL | {"init_from": "mine"}}, prefix="lm/") == []


def test_circular_dependencies_are_an_error() -> None:
    folder = "results/c/models/{}".format
    models: dict[str, Any] = {
        "a": SMALL | {"init_from": folder("b")},
        "b": SMALL | {"teacher": folder("c.seed2")},
        "c": SMALL | {"seeds": [1, 2], "init_from": folder("a")},
        "d": SMALL | {"init_from": folder("a")},
    }
    [line] = lines_of(models)
    assert line.startswith("f.yaml: models: ")
    assert set(line.split(": ")[2].split(" <- ")) == {"a", "b", "c.seed2"}
    del models["b"]["teacher"]
    assert lines_of(models) == []


def test_a_folder_without_a_model_is_an_error(here: Path) -> None:
    seeds = {"a": SMALL | {"seeds": [1, 2]}}
    [line] = lines_of(seeds | {"b": SMALL | {"teacher": "results/c/models/a"}})
    assert line.startswith("f.yaml: models.b.teacher: results/c/models/a holds no model.safetensor")
    assert "did you mean results/c/models/a.seed" in line
    [line] = lines_of({"m": SMALL | {"init_from": "nowhere"}})
    assert line.endswith("this run does not make it; name the folder of a trained model")
    write_model(here / "old", **SMALL)
    (here / "old/model.json").write_text('{"format": 0}')
    [line] = lines_of({"m": SMALL | {"init_from": "old"}})
    assert "holds a model.json that charlm did not write" in line


ARCHITECTURES: list[dict[str, Any]] = [
    {"cell": "gru"},
    {"members": 2},
    {"num_layers": 2},
    {"hidden_size": 16},
    {"hidden_size": "vocabulary"},
    {"embedding_size": 8},
    {"one_hot": True, "embedding_size": "auto"},
]


@pytest.mark.parametrize("other", ARCHITECTURES, ids=str)
def test_a_model_of_another_architecture_can_only_be_a_teacher(
    here: Path, other: dict[str, Any]
) -> None:
    write_model(here / "old", **SMALL | other)
    [line] = lines_of({"m": SMALL | {"init_from": "old"}})
    assert f"old has another architecture ({next(iter(other))}: " in line
    assert lines_of({"m": SMALL | {"teacher": "old"}}) == []
    assert lines_of({"m": SMALL | other | {"init_from": "old"}}) == []
    made = "results/c/models/m"
    lines = lines_of({"m": SMALL | other, "n": SMALL | {"init_from": made}})
    if other == {"hidden_size": "vocabulary"}:  # the vocabulary may also have 8 symbols
        assert lines == []
    else:
        assert lines[0].startswith("f.yaml: models.n.init_from: results/c/models/m has another")


def test_tied_weights_start_only_from_tied_weights(here: Path) -> None:
    size: dict[str, Any] = {"hidden_size": 8, "embedding_size": 8}
    write_model(here / "old", **size)
    [line] = lines_of({"m": size | {"tie_weights": True, "init_from": "old"}})
    assert line.endswith("old has weights that are not tied; leave out 'tie_weights'")
    write_model(here / "tied", **size, tie_weights=True)
    assert lines_of({"m": size | {"init_from": "tied"}}) == []


def test_a_model_without_members_is_a_single_network(here: Path) -> None:
    description = write_model(here / "old", **SMALL) / "model.json"
    old = json.loads(description.read_text())
    del old["architecture"]["members"]
    description.write_text(json.dumps(old))
    assert lines_of({"m": SMALL | {"init_from": "old"}}) == []
    [line] = lines_of({"m": SMALL | {"members": 2, "init_from": "old"}})
    assert "(members: 1, here 2)" in line


@pytest.mark.parametrize(
    ("vocabulary", "difference"),
    [
        ({"unit": "byte"}, "unit: character, here byte"),
        ({"unit": "grapheme"}, "unit: character, here grapheme"),
        ({"fit_on": "all"}, "unknown symbol: yes, here no"),
        ({"end_of_document": False}, "end of document: yes, here no"),
        ({"fit_on": "all", "min_count": 2}, None),
    ],
)
def test_a_vocabulary_that_must_differ_is_an_error_before_it_is_built(
    here: Path, vocabulary: dict[str, Any], difference: str | None
) -> None:
    write_model(here / "old", **SMALL)
    lines = lines_of({"m": SMALL | {"teacher": "old"}}, vocabulary=vocabulary)
    assert [f"has another vocabulary ({difference})" in line for line in lines] == [True] * bool(
        difference
    )


def test_vocabularies_match_symbol_by_symbol(here: Path) -> None:
    write_model(here / "old", **SMALL)
    path = here / "vocabulary.json"
    path.write_text(json.dumps(json.loads((here / "old/model.json").read_text())["vocabulary"]))
    match_vocabulary(path, ["old/model.json"])
    write_model(here / "other", [*"abd", *LETTERS[3:]], **SMALL)
    with pytest.raises(CharlmError, match=r"^other: .* another vocabulary, which lacks 'c'; name"):
        match_vocabulary(path, ["old/model.json", "other/model.json"])
    write_model(here / "turned", [*"acb", *LETTERS[3:]], **SMALL)
    with pytest.raises(CharlmError, match="which has more or other ids"):
        match_vocabulary(path, ["turned/model.json"])


def test_the_command_checks_dependencies_too(here: Path) -> None:
    write_model(here / "elsewhere/models/m", **SMALL)
    (here / "my.yaml").write_text(
        "corpus: {name: c, source: c.csv}\n"
        "models: {m: {hidden_size: 8, embedding_size: 4, init_from: elsewhere/models/m}}\n"
    )
    command = [sys.executable, "-m", "charlm.cli", "train", "my.yaml", "m"]
    done = subprocess.run(
        [*command, "--results", "elsewhere"], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 1
    assert done.stderr.startswith("charlm: my.yaml: models.m.init_from: elsewhere/models/m is the ")
    assert "cp -r elsewhere/models/m elsewhere-m" in done.stderr
