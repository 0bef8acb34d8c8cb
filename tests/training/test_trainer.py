"""Training: the same bytes on every run, stopped and resumed or not."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector

from charlm.errors import CharlmError
from charlm.model.devices import choose_precision
from charlm.model.network import load_model
from charlm.model.scoring import validation_loss
from charlm.pipeline import config
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.encode import encode
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.trainer import Trainer, train

TEXT = "the cat sat on the mat and the dog ate the cat's hat, said the rat. " * 60


def write_corpus(
    folder: Path,
    text: str | Sequence[str] = TEXT,
    validation: str = TEXT[:200],
    **vocabulary: Any,
) -> None:
    """Write a vocabulary and tokens of a small corpus, a document or several, into `folder`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [text] if isinstance(text, str) else text
    splits = ["train"] * len(texts) + ["validation"]
    rows = {"doc_id": range(len(splits)), "split": splits, "text": [*texts, validation]}
    pq.write_table(
        pa.table({**rows, "continues": [False] * len(splits)}), folder / "corpus.parquet"
    )
    options = {"order": "first_seen", **vocabulary}
    build_vocabulary(folder / "corpus.parquet", folder / "vocabulary.json", **options)
    places = (folder / name for name in ("corpus.parquet", "vocabulary.json", "tokens"))
    encode(*places, one_stream=False)


def settings(**model: Any) -> dict[str, Any]:
    """Return the arguments `architecture` and `training` of a small model."""
    small = {"hidden_size": 16, "embedding_size": 8, "steps": 12, "batch_size": 4}
    small |= {"sequence_length": 16, "checkpoint_every": 5, "device": "cpu"}
    resolved = config.resolve(
        {"corpus": {"name": "a", "source": "a"}, "models": {"m": small | model}}
    )["models"]["m"]
    training = resolved.pop("training")
    return {"architecture": resolved, "training": training}


def run(folder: Path, name: str, arguments: Mapping[str, Any], code: str = "") -> Path:
    """Train into `folder`/`name` and return it."""
    made = folder / name
    train(
        folder / "vocabulary.json",
        folder / "tokens",
        made,
        folder / "checkpoints" / name,
        **arguments,
        code=code,
    )
    return made


def make_trainer(folder: Path, arguments: Mapping[str, Any]) -> Trainer:
    """Return the trainer of a training on the corpus in `folder`, before its first step."""
    device = torch.device("cpu")
    return Trainer(
        Vocabulary.load(folder / "vocabulary.json"),
        TokenSplit.load(folder / "tokens", "train"),
        TokenSplit.load(folder / "tokens", "validation"),
        **arguments,
        device=device,
        precision=choose_precision(arguments["training"]["precision"], device),
    )


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.json"}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_model_learns_and_every_run_gives_the_same_bytes(tmp_path: Path, cell: str) -> None:
    write_corpus(tmp_path)
    arguments = settings(cell=cell, steps=60, learning_rate=0.05, output_dropout=0.1)
    first, second = (run(tmp_path, name, arguments) for name in "ab")
    assert outputs(first) == outputs(second)
    assert set(outputs(first)) == {"model.json", "model.safetensors", "history.csv"}
    with (first / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    curve = [float(row["validation_bits_per_character"]) for row in rows]
    assert [int(row["step"]) for row in rows] == list(range(6, 61, 6))
    assert curve[-1] < 0.75 * curve[0]
    assert not (tmp_path / "checkpoints").exists()
    assert json.loads((first / "timing.json").read_text())["characters_per_second"] > 0


@pytest.mark.parametrize(
    "how",
    [
        {"optimizer": "adamw", "average": 0.9, "weight_dropout": 0.1},
        {"optimizer": "adamw", "cell": "gru", "keep": "best", "validate_every": 1},
        {"optimizer": "rmsprop", "cell": "gru", "members": 2},
        {"optimizer": "sgd", "tie_weights": True, "embedding_size": 16},
        {"optimizer": "ntasgd", "learning_rate": 9.0, "validate_every": 1, "steps": 20},
    ],
    ids=lambda how: how["optimizer"],
)
def test_a_resumed_training_ends_in_the_same_bytes(
    tmp_path: Path, how: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    arguments = settings(**{"num_layers": 2, "layer_dropout": 0.2, "embedding_dropout": 0.1} | how)
    whole = run(tmp_path, "whole", arguments)
    stopped = stop_after(tmp_path, "stopped", arguments, steps=7)
    assert stopped == 128 + signal.SIGTERM
    caplog.set_level("INFO")
    resumed = run(tmp_path, "stopped", arguments)
    assert "resumed from step " in caplog.text
    assert outputs(resumed) == outputs(whole)


def stop_after(
    folder: Path,
    name: str,
    arguments: Mapping[str, Any],
    steps: int,
    error: type[BaseException] | None = None,
) -> int | None:
    """Train until a SIGTERM after `steps` steps, or an error; return the status of the exit."""
    advance = Trainer.advance

    def advance_and_stop(self: Trainer) -> None:
        advance(self)
        if self.step == steps:
            if error:
                raise error
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "advance", advance_and_stop)
        with pytest.raises(error or SystemExit) as stopped:
            run(folder, name, arguments)
    return getattr(stopped.value, "code", None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.01, "hidden_size": 17}, "hidden_size, learning_rate"),
        ("text", "vocabulary.json, train.npy, validation.npy"),
        ("code", "code"),
    ],
)
def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path, change: Any, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(), steps=7)
    arguments, code = settings(), ""
    if change == "text":
        write_corpus(tmp_path, TEXT.replace("cat", "tac"))
    elif change == "code":
        code = "other"
    else:
        arguments = settings(**change)
    run(tmp_path, "m", arguments, code)
    assert f"of a training with other {named}; not used" in caplog.text
    assert "resumed" not in caplog.text


def test_a_checkpoint_that_cannot_be_read_leaves_the_one_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(), steps=7)
    newer = max((tmp_path / "checkpoints/m").glob("step-*"))
    newer.rename(tmp_path / "elsewhere")
    newer.symlink_to(newer)  # opening it fails, whoever asks
    run(tmp_path, "m", settings())
    assert f"{newer}: cannot be read (" in caplog.text
    assert "resumed from step 5" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "bit-flipped", "both damaged"])
def test_a_damaged_checkpoint_leaves_the_one_before_it(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", settings())
    stop_after(tmp_path, "m", settings(), steps=7)
    older, newer = sorted((tmp_path / "checkpoints/m").glob("step-*"))
    assert [path.name[:14] for path in (older, newer)] == ["step-000000005", "step-000000007"]
    data = newer.read_bytes()
    newer.write_bytes(data[:-100] if damage == "truncated" else flipped(data))
    if damage == "both damaged":
        older.write_bytes(flipped(older.read_bytes()))
    assert outputs(run(tmp_path, "m", settings())) == outputs(whole)
    assert f"{newer.name}: damaged; trying the one before it" in caplog.text
    assert ("resumed from step 5" in caplog.text) == (damage != "both damaged")


def flipped(data: bytes) -> bytes:
    """Return `data` with one bit in its middle turned."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_for_checkpoints_does_not_end_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", settings())
    disk = tmp_path / "checkpoints/m"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=True)
    try:
        assert outputs(run(tmp_path, "m", settings())) == outputs(whole)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert "cannot be written (No space left on device); training goes on" in caplog.text


def test_training_goes_on_from_another_models_weights(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    first = run(tmp_path, "first", settings(steps=60, learning_rate=0.02))
    frozen = settings(init_from=str(first), steps=1, learning_rate=1e-12)
    second = run(tmp_path, "second", frozen)
    before, after = (load_model(folder)[0].state_dict() for folder in (first, second))
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)
    with pytest.raises(CharlmError, match="of another architecture"):
        run(tmp_path, "third", settings(init_from=str(first), hidden_size=17))


def test_an_ngram_model_joins_what_was_trained(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    alone = run(tmp_path, "alone", settings(steps=20))
    both = run(tmp_path, "both", settings(steps=20, ngram_order=5, ngram_weight=0.25))
    network, _ = load_model(alone)
    model, _ = load_model(both)
    for name, tensor in model.network.state_dict().items():
        assert (tensor == network.state_dict()[name]).all()
    held_out = np.load(tmp_path / "tokens/validation.npy")[:-1]
    assert validation_loss(model, held_out) < validation_loss(network, held_out)
    follower = settings(steps=1, learning_rate=1e-12, init_from=str(both), teacher=str(both))
    after, _ = load_model(run(tmp_path, "follower", follower))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], tensor, rtol=0, atol=1e-6)


def predictions(folder: Path, text: str) -> torch.Tensor:
    """Return what a trained model holds each next symbol of a text for, (length, V)."""
    model, vocabulary = load_model(folder)
    symbols = torch.from_numpy(vocabulary.encode(text).astype(np.int64))
    with torch.inference_mode():
        return model(symbols.unsqueeze(1))[0].squeeze(1).softmax(-1)


def test_a_model_learns_the_predictions_of_its_teacher(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    teacher = run(tmp_path, "teacher", settings(members=2, steps=60, learning_rate=0.02))
    other = TEXT[:70] + TEXT[:70:-1]  # which the teacher does not know
    write_corpus(tmp_path, other)
    own = {"steps": 60, "learning_rate": 0.02, "seed": 1}
    alone = run(tmp_path, "alone", settings(**own))
    taught = {"teacher": str(teacher), **own}
    follower = run(tmp_path, "follower", settings(**taught, teacher_weight=0.9))
    deaf = run(tmp_path, "deaf", settings(**taught, teacher_weight=0.0))
    expected, *made = (
        predictions(model, other[-200:]) for model in (teacher, follower, deaf, alone)
    )
    distances = [float((expected * (expected / each).log()).sum(-1).mean()) for each in made]
    assert distances[1] > 1.5 * distances[0]
    torch.testing.assert_close(made[1], made[2], rtol=1e-3, atol=1e-4)


def test_a_teacher_stays_where_it_was_in_the_text_when_training_is_resumed(
    tmp_path: Path,
) -> None:
    write_corpus(tmp_path)
    teacher = run(tmp_path, "teacher", settings(cell="gru", steps=20))
    arguments = settings(teacher=str(teacher), output_dropout=0.1)
    whole = run(tmp_path, "whole", arguments)
    assert stop_after(tmp_path, "stopped", arguments, steps=7) == 128 + signal.SIGTERM
    assert outputs(run(tmp_path, "stopped", arguments)) == outputs(whole)


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    teacher = run(tmp_path, "teacher", settings(steps=1))
    write_corpus(tmp_path, TEXT.replace("cat", "yak"))
    with pytest.raises(CharlmError, match=r"teacher: training\.teacher names a model of another"):
        run(tmp_path, "taught", settings(teacher=str(teacher)))


def test_the_average_of_the_weights_is_what_is_saved(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    rough = settings(steps=40, learning_rate=0.05, schedule="constant", validate_every=40)
    smooth = {**rough, "training": rough["training"] | {"average": 0.9}}
    last, averaged = (
        load_model(run(tmp_path, name, how))[0].state_dict()
        for name, how in (("last", rough), ("averaged", smooth))
    )
    assert all((last[name] != averaged[name]).any() for name in last)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_weights_saved_are_the_average_with_the_decay_that_is_set(
    tmp_path: Path, keep: str
) -> None:
    write_corpus(tmp_path)
    how = {"average": 0.15, "learning_rate": 0.05, "warmup_steps": 0, "keep": keep}
    trainer = make_trainer(tmp_path, settings(validate_every=6, **how))
    average = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    for count in range(1, 7):
        trainer.advance()
        kept = min(0.15, count / (9 + count))  # 1/10, 2/11 and so on at the beginning
        for name, parameter in trainer.model.named_parameters():
            average[name] = kept * average[name] + (1 - kept) * parameter.detach()
    trainer.validate()
    trainer.take_final_weights()
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter, average[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("clip_norm", [0.01, 1e6, None])
def test_each_members_gradient_is_clipped_to_the_norm(
    tmp_path: Path, members: int, clip_norm: float | None
) -> None:
    write_corpus(tmp_path)
    plain = {"optimizer": "ntasgd", "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.0}
    how = {"learning_rate": 0.5, "precision": "float32", **plain}
    moved = []
    for limit in (clip_norm, None):
        trainer = make_trainer(tmp_path, settings(members=members, clip_norm=limit, **how))
        before = [parameters_to_vector(m.parameters()).detach() for m in trainer.model.members]
        trainer.advance()
        after = [parameters_to_vector(m.parameters()).detach() for m in trainer.model.members]
        moved.append([new - old for old, new in zip(before, after, strict=True)])
    for clipped, whole in zip(*moved, strict=True):
        norm = whole.norm() / 0.5
        assert 0.01 < norm < 1e6
        share = 1.0 if clip_norm is None else min(1.0, clip_norm / float(norm))
        torch.testing.assert_close(clipped, share * whole, rtol=1e-3, atol=1e-6)


def test_the_best_weights_are_kept_and_patience_ends_the_training(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    how = {"learning_rate": 0.05, "validate_every": 2, "schedule": "constant", "keep": "best"}
    made = run(tmp_path, "m", settings(steps=400, patience=4, **how))
    with (made / "history.csv").open() as file:
        losses = [float(row["validation_bits_per_character"]) for row in csv.DictReader(file)]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 4 < 200
    description = json.loads((made / "model.json").read_text())
    assert description["training"]["steps"] == 2 * len(losses)
    model, _ = load_model(made)
    held_out = validation_loss(model, np.load(tmp_path / "tokens/validation.npy")[:-1])
    assert held_out / np.log(2) == pytest.approx(losses[best], abs=0.02)


def test_ntasgd_averages_once_the_loss_stops_falling(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    how = {"optimizer": "ntasgd", "learning_rate": 9.0, "schedule": "constant"}
    made = run(tmp_path, "m", settings(steps=60, validate_every=2, **how))
    with (made / "history.csv").open() as file:
        losses = [float(row["validation_bits_per_character"]) for row in csv.DictReader(file)]

    def start(look_back: int) -> int:
        """Return the step of the first loss above one of more than `look_back` losses before."""
        return 2 + 2 * next(
            number
            for number, loss in enumerate(losses)
            if loss > min(losses[: max(0, number - look_back)], default=np.inf)
        )

    assert f"averaging the weights from step {start(5)} on" in caplog.text
    assert len({start(look_back) for look_back in (0, 4, 5)}) > 1


def test_a_training_of_minutes_ends_in_time_and_says_it_cannot_be_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    made = run(tmp_path, "m", settings(steps=None, minutes=0.02))
    assert "a training of 0.02 minutes cannot be repeated" in caplog.text
    assert json.loads((made / "model.json").read_text())["training"]["steps"] >= 1
    assert json.loads((made / "timing.json").read_text())["seconds"] < 30


@pytest.mark.parametrize(("schedule", "factor"), [("cosine", 0.505), ("step", 1.0)])
def test_the_learning_rate_of_a_training_of_minutes_falls_with_the_clock(
    tmp_path: Path, schedule: str, factor: float
) -> None:
    write_corpus(tmp_path)
    how = {"steps": None, "minutes": 1e5, "warmup_steps": 0, "schedule": schedule}
    for share, wanted in ((0.5, factor), (2.0, 0.01)):
        trainer = make_trainer(tmp_path, settings(learning_rate=0.004, **how))
        tensors, record = trainer.snapshot()
        tensors |= {f"state.{index}": torch.zeros(1, 4, 16) for index in range(2)}
        trainer.restore(tensors, record | {"seconds": share * 60 * 1e5})
        trainer.advance()
        assert trainer.learning_rate == pytest.approx(0.004 * wanted, rel=1e-4)


def test_validation_is_needed_to_keep_the_best(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    np.save(tmp_path / "tokens/validation.npy", np.zeros(0, np.uint8))
    with pytest.raises(CharlmError, match="need validation text"):
        run(tmp_path, "m", settings(keep="best"))
    assert run(tmp_path, "m", settings()).exists()


def test_a_loss_that_is_not_finite_ends_in_one_line(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    wild = settings(learning_rate=1e38, optimizer="sgd", clip_norm=None, schedule="constant")
    with pytest.raises(CharlmError, match=r"the loss is not finite at step \d+; lower"):
        run(tmp_path, "m", wild)
    assert not (tmp_path / "m" / "model.safetensors").exists()


def test_the_last_good_state_is_kept_where_the_loss_is_not_finite(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    how = {"optimizer": "sgd", "clip_norm": None, "schedule": "constant", "checkpoint_every": 1}
    wild = settings(learning_rate=1e9, steps=400, cell="gru", **how)
    said = []
    for _ in range(2):
        with pytest.raises(CharlmError, match=r"not finite at step \d+; lower") as error:
            run(tmp_path, "m", wild)
        said.append(str(error.value))
    assert said[0] == said[1], "the second run goes on from the state before, to the same end"
    kept = sorted((tmp_path / "checkpoints/m").glob("step-*"))
    assert kept
    for path in kept:
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())
    assert f"resumed from step {int(kept[-1].name[5:14])}" in caplog.text


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its size in /proc")
def test_too_little_memory_is_said_before_the_start_and_after_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path, TEXT * 300)
    huge = settings(hidden_size=2000, batch_size=1000, sequence_length=1000)
    program = f"""
import logging, resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_trainer import run
from charlm.errors import CharlmError
logging.basicConfig(format="%(message)s")
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**31
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    run(Path({str(tmp_path)!r}), "m", {huge!r})
except CharlmError as error:
    print("one line:", error, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert "of memory are free; lower training.batch_size" in done.stderr
    assert "one line: training: out of memory, of which it needs about" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_text_too_short_to_train_on_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    np.save(tmp_path / "tokens/train.npy", np.zeros(1, np.uint8))
    with pytest.raises(CharlmError, match="too few to train on"):
        run(tmp_path, "m", settings())


def test_threads_do_not_change_the_bytes(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    arguments = settings(hidden_size=65, batch_size=17, steps=6)
    made = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(outputs(run(tmp_path, f"threads{threads}", arguments)))
    finally:
        torch.set_num_threads(before)
    assert made[0] == made[1]


def test_a_checkpoint_is_saved_on_the_way(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_trainer import run, settings
run(Path({str(tmp_path)!r}), "m", settings(steps=100000, checkpoint_every=5))
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        for _ in range(600):
            if found := list((tmp_path / "checkpoints/m").glob("step-*")):
                break
            time.sleep(0.1)
        assert found
    finally:
        process.kill()
        process.wait()
