"""The examples in the help of `charlm` run as they stand."""

import os
import re
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from charlm.cli import EXAMPLES
from charlm.model.store import make_model, save_model
from charlm.settings import Architecture, Cell
from charlm.text.vocabulary import Vocabulary
from tests.pipeline.conftest import write_record
from tests.training.small import write_corpus

LINES = re.findall(r"^  (.*charlm .*)$", EXAMPLES, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the files that the examples name, and the command `charlm`."""
    folder = tmp_path_factory.mktemp("examples")
    symbols = [*string.printable]
    torch.manual_seed(0)
    cells: tuple[Cell, ...] = ("lstm", "gru")
    for cell in cells:
        architecture = Architecture(cell=cell, hidden_size=8, embedding_size=4)
        save_model(
            folder / "results/movie-reviews/models" / cell,
            make_model(len(symbols), architecture),
            vocabulary=Vocabulary(
                symbols, [1] * len(symbols), {"unknown": None, "end_of_document": None}
            ),
            architecture=architecture,
            training={},
        )
        card = folder / "results/movie-reviews/models" / cell / "README.md"
        card.write_text("# A model\n## Usage\n## Limitations\n")
    write_corpus(folder / "results/movie-reviews")
    write_record(folder / "results/movie-reviews")
    (folder / "results/my").mkdir()
    write_corpus(folder / "results/my")
    for name in ("prompts.txt", "review.txt", "another.txt", "titles.txt"):
        (folder / name).write_text("a film\nanother film\n")
    (folder / "posts.csv").write_text("id,body\n1,a film of two words\n")
    (folder / "my.csv").write_text("text\na<br>film\n")
    (folder / "my.yaml").write_text(
        "corpus: {name: my, source: my.csv}\n"
        "models: {lstm: {hidden_size: 8, embedding_size: 4, engine: torch, device: cpu}}\n"
        "training: {steps: 2, batch_size: 4, sequence_length: 16}\n"
    )
    command = folder / "bin/charlm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m charlm.cli "$@"\n')
    command.chmod(0o755)
    return folder


def test_every_command_but_reproduce_has_an_example() -> None:
    used = set(re.findall(r"charlm (\w+)", EXAMPLES))
    assert used == {
        *("init", "run", "status", "sample", "score"),
        "clean",
        "config",
        "train",
        *("export", "audit"),
        "verify",
    }


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("line", LINES)
def test_an_example_runs(folder: Path, line: str) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env=os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "charlm: " not in done.stderr
