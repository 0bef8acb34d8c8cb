"""Training steps as CUDA graphs: the same bits as steps that are launched one by one.

Without a GPU, a stand-in records PyTorch's operations on the CPU and repeats them.
"""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from charlm.model.devices import choose_precision
from charlm.recurrent import layers
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.checkpoint import Snapshot
from charlm.training.cuda_graph import WARM_UP_STEPS, GraphedStep
from charlm.training.train_model import make_trainer
from charlm.training.trainer import Trainer
from tests.training.fake_graph import FakeGraph
from tests.training.small import TEXT, Arguments, settings, write_corpus

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
DROPOUTS: dict[str, object] = {
    "num_layers": 2, "embedding_dropout": 0.1, "layer_dropout": 0.2, "output_dropout": 0.3,
    "weight_dropout": 0.2,
}  # fmt: skip


def refuse(work: Callable[[], None]) -> Callable[[], object]:
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def never(work: Callable[[], None]) -> Callable[[], object]:
    raise AssertionError("captured")


def new_trainer(folder: Path, arguments: Arguments, device: str = "cpu") -> Trainer:
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    return make_trainer(
        vocabulary,
        TokenSplit.load(folder / "tokens", "train", vocabulary),
        TokenSplit.load(folder / "tokens", "validation", vocabulary),
        architecture=arguments["architecture"],
        training=arguments["training"],
        device=torch.device(device),
        precision=choose_precision(arguments["training"].precision, torch.device(device)),
    )


def graphed(
    folder: Path,
    arguments: Arguments,
    capture: Callable[[Callable[[], None]], Callable[[], object]],
    obstacle: str | None = None,
) -> Trainer:
    """Return a trainer on the CPU that makes its steps as on a GPU."""
    trainer = new_trainer(folder, arguments)
    trainer.__dict__["graphed"] = GraphedStep(trainer.update, trainer.device, capture, obstacle)
    return trainer


def tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Return copies of everything that a training changes."""
    found = trainer.state.snapshot(trainer.processes).tensors
    return {name: tensor.clone() for name, tensor in found.items()}


def snapshot(trainer: Trainer) -> Snapshot:
    record = trainer.state.snapshot(trainer.processes).record
    return Snapshot(tensors(trainer), copy.deepcopy(record))


def advance(trainer: Trainer, steps: int) -> dict[str, Tensor]:
    for _ in range(steps):
        if trainer.validation_is_due:
            trainer.validate()
        trainer.advance()
    return tensors(trainer)


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers run as usual while the stand-in records them."""
    monkeypatch.setattr(layers, "is_eager", lambda *given: True)
    monkeypatch.setattr(
        sys.modules["torch.optim.rmsprop"],
        "_get_capturable_supported_devices",
        lambda *given: ["cpu"],
    )


def small(**changes: Any) -> Arguments:
    how = {
        "engine": "reference",
        "precision": "float32",
        "steps": 200,
        "validate_every": 15,
        "hidden_size": 8,
    }
    return settings(**how | {"sequence_length": 8, "batch_size": 16} | changes)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    "changes",
    [
        DROPOUTS,
        DROPOUTS | {"locked_dropout": True, "cell": "gru", "average": 0.9},
        {"members": 2, "output_dropout": 0.5, "optimizer": "rmsprop"},
        {"optimizer": "sgd", "one_hot": True, "clip_norm": None},
        {"optimizer": "ntasgd", "tie_weights": True, "embedding_size": 8, "clip_norm": 0.1},
    ],
    ids=lambda changes: changes.get("optimizer", "muon"),
)
def test_replayed_steps_give_the_bits_of_launched_ones(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    write_corpus(tmp_path)
    graph = FakeGraph()
    replayed = graphed(tmp_path, small(**changes), graph.capture)
    launched = graphed(tmp_path, small(**changes), never, obstacle="a test")
    assert replayed.streams.steps_per_epoch < 40  # states are reset in between
    for _ in range(2):
        assert_equal(advance(replayed, 20), advance(launched, 20))
    assert graph.captures == 1
    assert graph.replays == 40 - WARM_UP_STEPS
    # On a CPU the learning rate is not rounded to float32, and Muon amplifies that.
    for ours, theirs in zip(
        tensors(replayed).values(),
        advance(new_trainer(tmp_path, small(**changes)), 40).values(),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("recorded")
def test_a_resumed_training_gives_the_same_bits(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    arguments = small(**DROPOUTS, average=0.9)
    whole = graphed(tmp_path, arguments, FakeGraph().capture)
    advance(whole, 17)
    copied = snapshot(whole)
    expected = advance(whole, 13)
    resumed = graphed(tmp_path, arguments, FakeGraph().capture)
    resumed.state.restore(copied, resumed.processes)
    assert_equal(advance(resumed, 13), expected)


@pytest.mark.usefixtures("recorded")
def test_a_restored_state_reaches_the_graph(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    trainer = graphed(tmp_path, small(average=0.9), FakeGraph().capture)
    advance(trainer, 10)
    copied = snapshot(trainer)
    expected = advance(trainer, 10)
    trainer.state.restore(copied, trainer.processes)
    assert_equal(advance(trainer, 10), expected)


@pytest.mark.usefixtures("recorded")
def test_the_graph_is_captured_anew_once_weights_are_averaged(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    how = {"optimizer": "ntasgd", "learning_rate": 9.0, "schedule": "constant"}
    graph = FakeGraph()
    replayed = graphed(tmp_path, small(**how | {"validate_every": 2}), graph.capture)
    launched = graphed(tmp_path, small(**how | {"validate_every": 2}), never, obstacle="a test")
    assert_equal(advance(replayed, 30), advance(launched, 30))
    assert replayed.state.average is not None
    assert graph.captures == 2


@pytest.mark.usefixtures("recorded")
def test_a_step_that_cannot_be_captured_is_launched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    launched = graphed(tmp_path, small(**DROPOUTS), never, obstacle="a test")
    with caplog.at_level("INFO", "charlm.training.cuda_graph"):
        refused = graphed(tmp_path, small(**DROPOUTS), refuse)
        assert_equal(advance(refused, 20), advance(launched, 20))
    (line,) = [each.message for each in caplog.records if "cuda_graph" in each.name]
    assert "(operation not permitted when stream is capturing)" in line


@pytest.mark.usefixtures("recorded")
def test_reading_a_tensor_on_the_host_is_an_obstacle(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    graph = FakeGraph()
    trainer = graphed(tmp_path, small(), graph.capture)
    update = trainer.update
    step = GraphedStep(
        lambda inputs: (float(inputs.learning_rate), update(inputs))[1],
        trainer.device,
        graph.capture,
    )
    trainer.__dict__["graphed"] = step
    launched = graphed(tmp_path, small(), never, obstacle="a test")
    assert_equal(advance(trainer, 10), advance(launched, 10))
    assert graph.captures == graph.replays == 0


@on_gpu
@pytest.mark.parametrize(
    ("cell", "engine", "locked_dropout", "hidden_size"),
    [
        ("lstm", "fused", True, 256),
        ("gru", "fused", False, 256),
        ("lstm", "fused", False, 1024),
        ("gru", "fused", True, 1024),
        ("lstm", "torch", True, 256),
    ],
)
def test_gpu_replays_give_the_bits_of_launches(
    tmp_path: Path, cell: str, engine: str, locked_dropout: bool, hidden_size: int
) -> None:
    write_corpus(tmp_path, TEXT * 5)
    arguments = settings(
        **DROPOUTS,
        hidden_size=hidden_size, cell=cell, engine=engine, locked_dropout=locked_dropout,
        average=0.9, steps=200, validate_every=15, batch_size=64, sequence_length=64, device="cuda",
    )  # fmt: skip
    # More than 3,072 tokens: PyTorch then sorts them for the gradient of an embedding.
    replayed, launched, resumed = (new_trainer(tmp_path, arguments, "cuda") for _ in range(3))
    launched.__dict__["graphed"] = GraphedStep(
        launched.update, launched.device, never, obstacle="a test"
    )
    advance(replayed, 37)
    copied = snapshot(replayed)
    expected = advance(launched, 100)
    assert_equal(advance(replayed, 63), expected)
    assert replayed.graphed is not None
    assert replayed.graphed.is_replayed
    resumed.state.restore(copied, resumed.processes)
    assert_equal(advance(resumed, 63), expected)
