"""A model learns the predictions of a teacher."""

from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.ensemble import Network
from charlm.model.store import load_model
from charlm.training.distillation import Teacher
from tests.training.small import TEXT, run, settings, write_corpus


def predictions(folder: Path, text: str) -> torch.Tensor:
    """Return the probabilities of each next symbol of a text, of shape (length, V)."""
    model, vocabulary = load_model(folder)
    tokens = torch.from_numpy(vocabulary.encode(text).astype(np.int64))
    with torch.inference_mode():
        return model(tokens.unsqueeze(1))[0].squeeze(1).softmax(-1)


def test_a_model_learns_the_predictions_of_its_teacher(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    teacher = run(tmp_path, "teacher", settings(members=2, steps=60, learning_rate=0.02))
    unknown = TEXT[:70] + TEXT[:70:-1]  # to the teacher
    write_corpus(tmp_path, unknown)
    own = {"steps": 60, "learning_rate": 0.02, "seed": 1}
    alone = run(tmp_path, "alone", settings(**own))
    taught = {"teacher": str(teacher), **own}
    follower = run(tmp_path, "follower", settings(**taught, teacher_weight=0.9))
    ignoring = run(tmp_path, "ignoring", settings(**taught, teacher_weight=0.0))
    expected, *others = (
        predictions(model, unknown[-200:]) for model in (teacher, follower, ignoring, alone)
    )
    distances = [float((expected * (expected / each).log()).sum(-1).mean()) for each in others]
    assert distances[1] > 1.5 * distances[0]
    torch.testing.assert_close(others[1], others[2], rtol=1e-3, atol=1e-4)


def test_the_targets_mix_the_text_with_the_predictions(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    network, _ = load_model(run(tmp_path, "teacher", settings(steps=2)))
    assert isinstance(network, Network)
    tokens = torch.randint(10, (6, 2), generator=torch.Generator().manual_seed(0))
    teacher = Teacher(network, 0.3)
    targets = [teacher.distillation_targets(part[:-1], part[1:]) for part in tokens.chunk(2)]
    state = None
    for part, mixture in zip(tokens.chunk(2), targets, strict=True):
        with torch.no_grad():
            logits, state = network(part[:-1], state)
        one_hot = torch.nn.functional.one_hot(part[1:], network.vocabulary_size)
        torch.testing.assert_close(mixture, 0.3 * logits.softmax(-1) + 0.7 * one_hot)


def test_a_teacher_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    teacher = run(tmp_path, "teacher", settings(steps=1))
    write_corpus(tmp_path, TEXT.replace("cat", "yak"))
    with pytest.raises(CharlmError, match=r"teacher: training\.teacher names a model of another"):
        run(tmp_path, "taught", settings(teacher=str(teacher)))
