"""The command, as a terminal and a pipe see it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import charlm
from charlm.model import CharacterLanguageModel, save_model
from charlm.text.vocabulary import Vocabulary
from tests.training.test_trainer import outputs, write_corpus

LETTERS = [*"abcdefgh ,.\n"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    architecture: dict[str, Any] = {"hidden_size": 8, "embedding_size": 4, "tie_weights": False}
    model = CharacterLanguageModel(14, **architecture)
    symbols = [*LETTERS, "<unknown>", "<end_of_document>"]
    vocabulary = Vocabulary(symbols, [1] * 14, {"unknown": 12, "end_of_document": 13})
    save_model(path, model, vocabulary=vocabulary, architecture=architecture, training={})
    return path


def run(*arguments: object, given: str | bytes = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "charlm.command", *map(str, arguments)]
    data = given if isinstance(given, bytes) else given.encode()
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def test_a_sample_is_the_prompt_and_what_the_model_writes(folder: Path) -> None:
    done = run("sample", folder, "--prompt", "bad ", "--length", 30, "--seed", 3)
    expected = charlm.load(folder).generate("bad ", length=30, seed=3, temperature=0.8)[0]
    assert (done.stdout, done.stderr, done.returncode) == (f"bad {expected}\n", "", 0)


def test_samples_as_json_hold_their_settings(folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a\nbé\n")
    options = ["--number", 2, "--stop", ".", "--top-k", 5, "--on-unknown", "skip", "--json"]
    done = run("sample", folder, "--prompts", prompts, *options)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["prompt"], line["seed"]) for line in lines] == [
        ("a", 0),
        ("a", 1),
        ("bé", 0),
        ("bé", 1),
    ]
    model = charlm.load(folder)
    for line in lines:
        text = line.pop("text")
        settings = {"length": 400, "stop": ".", "on_unknown": "skip", **line}
        assert model.generate(settings.pop("prompt"), **settings) == [text]
    plain = run("sample", folder, "--prompts", prompts, *options[:-1]).stdout
    assert plain.startswith("a")
    assert plain.count("\n\n") >= 3


def test_scores_are_those_of_the_model(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a bad cafe\nface\n")
    done = run("score", folder, path, "-", given="abc\n")
    model = charlm.load(folder)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[1:] for row in rows] == [["16", str(path)], ["4", "-"]]
    assert float(rows[0][0]) == pytest.approx(model.score(path.read_text()) / 0.693147, abs=1e-4)
    lines = run("score", "--lines", folder, path).stdout.splitlines()
    assert [line.split("\t")[1:] for line in lines] == [["10", "a bad cafe"], ["4", "face"]]


@pytest.mark.parametrize(
    ("arguments", "given", "line"),
    [
        (["sample", "nowhere"], "", "nowhere/model.json: there is no such file; name the folder"),
        (["sample", "FOLDER", "--prompt", "xa"], "", "sampling.prompts: 'xa' holds characters"),
        (["sample", "FOLDER", "--length", "0"], "", "sampling.length: 0 is not 1 or more"),
        (["sample", "FOLDER", "--temperature", "-1"], "", "sampling.temperature: -1.0 is not 0"),
        (["sample", "FOLDER", "--top-p", "0"], "", "sampling.top_p: 0.0 is not above 0"),
        (["sample", "FOLDER", "--stop", ""], "", "sampling.stop: '' is not a character or more"),
        (["sample", "FOLDER", "--prompts", "no.txt"], "", "no.txt: No such file or directory"),
        (["score", "FOLDER"], "", "score: the text is empty"),
        (["score", "FOLDER"], b"ab\xff", "-: not UTF-8; save it as UTF-8"),
        (["score", "FOLDER", "no.txt"], "", "no.txt: No such file or directory"),
        (["score", "FOLDER", "."], "", ".: Is a directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    folder: Path, arguments: list[str], given: str | bytes, line: str
) -> None:
    done = run(*(str(folder) if each == "FOLDER" else each for each in arguments), given=given)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("charlm: ")
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    command = [sys.executable, "-m", "charlm.command", "sample", str(folder), "--length", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stderr
        assert len(os.read(running.stdout.fileno(), 5)) > 0, "the text streams"
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == 0


@pytest.mark.parametrize("arguments", [[], ["sample"], ["score"], ["train"], ["config"]])
def test_help_teaches(arguments: list[str]) -> None:
    done = run(*arguments, "--help")
    assert done.returncode == 0
    assert re.search("MODEL|FILE|charlm sample results/", done.stdout)
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


BARE = """
import sys
others = "altair jinja2 llvmlite numba pydantic regex snakemake tensorboardX tqdm yaml".split()
sys.modules.update(dict.fromkeys(others))  # None: cannot be imported
from charlm.command import main
sys.exit(main(sys.argv[1:]))
"""


def run_bare(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command where only what training needs is installed."""
    command = [sys.executable, "-c", BARE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with an encoded corpus, and a configuration as YAML and as JSON."""
    write_corpus(tmp_path)
    (tmp_path / "my.yaml").write_text(
        "corpus: {name: my, source: none.csv}\n"
        "models: {small: {hidden_size: 8, embedding_size: 4, engine: torch, device: cpu}}\n"
        "training: {steps: 9, batch_size: 4, sequence_length: 16}\n"
    )
    (tmp_path / "my.json").write_text(run("config", tmp_path / "my.yaml").stdout)
    return tmp_path


def test_training_needs_only_few_packages_and_gives_the_same_bytes(corpus: Path) -> None:
    made = []
    for runner, config in ((run, "my.yaml"), (run_bare, "my.json")):
        done = runner("train", corpus / config, "small", "--results", corpus)
        assert done.returncode == 0, done.stderr
        made.append(outputs(corpus / "models/small"))
        shutil.rmtree(corpus / "models")
    assert set(made[0]) == {"model.safetensors", "model.json", "history.csv"}
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("config", "model", "line"),
    [
        ("my.yaml", "small", "is missing here; where it is not, run `charlm config "),
        ("my.json", "large", "there is no model 'large'; choose one of small"),
        ("vocabulary.json", "small", "vocabulary.json: not what `charlm config` prints"),
    ],
)
def test_a_training_that_cannot_start_says_so(
    corpus: Path, config: str, model: str, line: str
) -> None:
    done = run_bare("train", corpus / config, model, "--results", corpus)
    assert done.returncode == 1
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
