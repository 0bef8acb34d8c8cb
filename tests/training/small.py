"""A small corpus and small trainings on it."""

import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from charlm.model.devices import choose_precision
from charlm.settings import Architecture, TrainingSettings
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.encode import encode
from charlm.text.symbols import Unit
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.train_model import make_trainer, train_model
from charlm.training.trainer import Trainer

TEXT = "the cat sat on the mat and the dog ate the cat's hat, said the rat. " * 60
SMALL = {
    "hidden_size": 16,
    "embedding_size": 8,
    "steps": 12,
    "batch_size": 4,
    "sequence_length": 16,
    "learning_rate": 3e-3,
    "checkpoint_every": 5,
    "keep": "last",
    "patience": None,
    "device": "cpu",
    "mixture": None,
}


class Arguments(TypedDict):
    """The settings of a training."""

    architecture: Architecture
    training: TrainingSettings


def write_corpus(
    folder: Path,
    text: str | Sequence[str] = TEXT,
    validation: str = TEXT[:200],
    *,
    unit: Unit = "character",
    min_count: int = 1,
) -> None:
    """Write the vocabulary and the tokens of a corpus of one or several documents."""
    texts = [text] if isinstance(text, str) else text
    splits = ["train"] * len(texts) + ["validation"]
    rows = {"doc_id": range(len(splits)), "split": splits, "text": [*texts, validation]}
    rows["continues"] = [False] * len(splits)
    pq.write_table(pa.table(rows), folder / "corpus.parquet")
    build_vocabulary(
        folder / "corpus.parquet",
        folder / "vocabulary.json",
        unit=unit,
        order="first_seen",
        min_count=min_count,
    )
    places = (folder / name for name in ("corpus.parquet", "vocabulary.json", "tokens"))
    encode(*places, one_stream=False)


def write_tokens(folder: Path, split: str, tokens: npt.NDArray[np.unsignedinteger]) -> None:
    """Replace the tokens of an encoded split, and remove their checksum."""
    np.save(folder / f"tokens/{split}.npy", tokens)
    documents = folder / f"tokens/{split}.documents.parquet"
    pq.write_table(pq.read_table(documents).replace_schema_metadata(), documents)


def settings(**changes: object) -> Arguments:
    """Return the settings of a small training, with changes to both kinds of them."""
    values = SMALL | changes
    keys = {field.name for field in fields(Architecture)}
    architecture = {key: value for key, value in values.items() if key in keys}
    training = {key: value for key, value in values.items() if key not in keys}
    return {
        "architecture": Architecture.from_mapping(architecture, "architecture"),
        "training": TrainingSettings.from_mapping(training, "training"),
    }


def run(
    folder: Path, name: str, arguments: Arguments, code: str = "", *, mixed: bool = False
) -> Path:
    """Train on the corpus in `folder`, and return the folder of the model."""
    model = folder / name
    train_model(
        folder / "vocabulary.json",
        folder / "tokens",
        model,
        folder / "checkpoints" / name,
        architecture=arguments["architecture"],
        training=arguments["training"],
        mixed=mixed,
        code=code,
    )
    return model


def new_trainer(folder: Path, arguments: Arguments) -> Trainer:
    """Return a trainer on the corpus in `folder`, before its first step."""
    device = torch.device("cpu")
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    return make_trainer(
        vocabulary,
        TokenSplit.load(folder / "tokens", "train", vocabulary),
        TokenSplit.load(folder / "tokens", "validation", vocabulary),
        architecture=arguments["architecture"],
        training=arguments["training"],
        device=device,
        precision=choose_precision(arguments["training"].precision, device),
    )


def stop_after(
    folder: Path,
    name: str,
    arguments: Arguments,
    steps: int,
    error: type[BaseException] | None = None,
) -> object:
    """Train up to a SIGTERM or an error after a step; return the exit status."""
    advance = Trainer.advance

    def advance_and_stop(self: Trainer) -> None:
        advance(self)
        if self.state.step == steps:
            if error:
                raise error
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "advance", advance_and_stop)
        with pytest.raises(error or SystemExit) as stopped:
            run(folder, name, arguments)
    return getattr(stopped.value, "code", None)


def outputs(folder: Path) -> dict[str, bytes]:
    """Return the content of all files of a model that do not hold times."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name != "timing.json"
    }


def checkpoints(folder: Path, name: str = "m") -> list[Path]:
    """Return the checkpoints of a training, the oldest first."""
    return sorted((folder / "checkpoints" / name).glob("step-*"))


def steps_of(paths: Iterable[Path]) -> list[int]:
    """Return the steps of checkpoints."""
    return [int(path.name[5:14]) for path in paths]
