"""The training loop."""

import csv
import io
import json
import logging
import math
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from charlm.devices import choose_device, choose_precision
from charlm.errors import CharlmError
from charlm.evaluation.scoring import validation_loss
from charlm.files import write_text
from charlm.model import CharacterLanguageModel, load_model, save_model
from charlm.progress import progress
from charlm.recurrent.layers import Precision
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from charlm.training.optimization import learning_rate_at, make_optimizer
from charlm.training.streams import Streams, seed_for

log = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "step",
    "epoch",
    "characters",
    "learning_rate",
    "train_bits_per_character",
    "validation_bits_per_character",
)


def train(
    vocabulary: str | Path,
    tokens: str | Path,
    folder: str | Path,
    checkpoints: str | Path,
    *,
    architecture: Mapping[str, Any],
    training: Mapping[str, Any],
    code: str = "",
) -> None:
    """Train a model and write `model.json`, `history.csv`, `timing.json`, `model.safetensors`.

    A training that was stopped goes on from its checkpoint, to the same bytes.

    Args:
        vocabulary: The file `vocabulary.json`.
        tokens: The folder of encoded splits.
        folder: Where the model goes.
        checkpoints: Where checkpoints and the live curve stand while training runs.
        architecture: The model's settings, as in the section `models.NAME`.
        training: The settings of its training, all keys of the section `training`.
        code: A digest of the code that trains; a checkpoint of other code is not used.

    Raises:
        CharlmError: The text is too short, the device is missing, or the loss is not finite.
    """
    symbols = Vocabulary.load(vocabulary)
    text = TokenSplit.load(tokens, "train")
    validation = TokenSplit.load(tokens, "validation")
    device = choose_device(training["device"])
    precision = choose_precision(training["precision"], device)
    belongs = fingerprint(
        {"architecture": architecture, "training": training, "code": code, "precision": precision},
        [vocabulary, Path(tokens) / "train.npy", Path(tokens) / "validation.npy"],
    )

    trainer = Trainer(
        symbols,
        text,
        architecture=architecture,
        training=training,
        device=device,
        precision=precision,
    )
    saved = load_checkpoint(checkpoints, belongs)
    if saved:
        trainer.restore(*saved)
        log.info("resumed from step %d", trainer.step)
    started = time.perf_counter()
    with (
        _Interruption() as interruption,
        progress(trainer.steps, "training", unit="step") as bar,
    ):
        bar.update(trainer.step)
        while trainer.step < trainer.steps:
            trainer.advance()
            bar.update(1)
            if trainer.validates_now:
                row = trainer.validate(validation)
                bits = f"{row['validation_bits_per_character']} bits per character"
                bar.set_postfix_str(bits, refresh=False)
                with suppress(OSError):  # a full disk: only the live curve is lost
                    write_text(Path(checkpoints) / "history.csv", _as_csv(trainer.history))
            done = trainer.step == trainer.steps
            if interruption.signal or done or trainer.step % training["checkpoint_every"] == 0:
                trainer.seconds += time.perf_counter() - started
                started = time.perf_counter()
                save_checkpoint(checkpoints, *trainer.snapshot(), belongs)
            if interruption.signal:
                log.warning("interrupted; a checkpoint of step %d is saved", trainer.step)
                raise SystemExit(128 + interruption.signal)

    folder = Path(folder)
    write_text(folder / "history.csv", _as_csv(trainer.history))
    write_text(folder / "timing.json", json.dumps(trainer.timing(), indent=1) + "\n")
    resolved = {"steps": trainer.steps, "device": device.type, "precision": precision}
    save_model(
        folder,
        trainer.model,
        vocabulary=symbols,
        architecture=architecture,
        training={**training, **resolved, "engine": trainer.model.recurrent.engine},
    )
    shutil.rmtree(checkpoints, ignore_errors=True)
    with suppress(OSError):  # other models may still be training
        Path(checkpoints).parent.rmdir()


class Trainer:
    """A model in training: its weights, its optimizer, its place in the text.

    The state after any step is a function of the settings and the text alone, so that a training
    restored from a `snapshot` ends in the same bytes as one that was never stopped.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        text: TokenSplit,
        *,
        architecture: Mapping[str, Any],
        training: Mapping[str, Any],
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.vocabulary = vocabulary
        self.settings = training
        self.device = device
        self.streams = Streams(
            text.tokens,
            batch_size=training["batch_size"],
            sequence_length=training["sequence_length"],
            seed=training["seed"],
        )
        self.steps: int = training["steps"] or max(
            1, round(training["epochs"] * self.streams.steps_per_epoch)
        )
        self.validate_every: int = training["validate_every"] or max(1, math.ceil(self.steps / 10))
        torch.manual_seed(seed_for(training["seed"]))
        self.model = CharacterLanguageModel(
            len(vocabulary), **architecture, engine=training["engine"], precision=precision
        )
        if training["init_from"]:
            self._start_from(training["init_from"], vocabulary)
        self.model.to(device).train()
        self.optimizer = make_optimizer(self.model, training)
        self.step = 0
        self.state: Any = None
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        self.loss_steps = 0
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0

    def _start_from(self, folder: str, vocabulary: Vocabulary) -> None:
        model, known = load_model(folder)
        if known.symbols != vocabulary.symbols:
            raise CharlmError(
                f"{folder}: training.init_from names a model of another vocabulary; "
                "start from one of the same corpus"
            )
        try:
            self.model.load_state_dict(model.state_dict())
        except RuntimeError:
            raise CharlmError(
                f"{folder}: training.init_from names a model of another architecture; "
                "give this model the same"
            ) from None

    @property
    def validates_now(self) -> bool:
        """Whether a pass over the validation text is due after the step just made."""
        return self.step == self.steps or not self.step % self.validate_every

    def advance(self) -> None:
        """Make one step: one window, forward and backward, one update.

        Raises:
            CharlmError: The loss is not finite.
        """
        read, expected, fresh = self.streams.window(self.step)
        if fresh:
            self.state = None
        rate = learning_rate_at(self.step, self.steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed_for(self.settings["seed"], self.step))

        logits, state = self.model(read.to(self.device), self.state)
        loss = functional.cross_entropy(logits.flatten(0, 1), expected.to(self.device).flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings["clip_norm"]:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings["clip_norm"])
        self.optimizer.step()

        self.state = _detached(state)
        self.loss_sum += loss.detach().cpu()
        self.loss_steps += 1
        self.step += 1
        if not torch.isfinite(self.loss_sum):
            raise CharlmError(
                f"training: the loss is not finite at step {self.step}; "
                "lower training.learning_rate or training.clip_norm"
            )

    def validate(self, validation: TokenSplit) -> dict[str, Any]:
        """Add a row to the history: the training loss since the last and the validation loss."""
        held_out = validation_loss(
            self.model, validation.tokens, ignored=self.vocabulary.end_of_document
        )
        row = {
            "step": self.step,
            "epoch": f"{self.step / self.streams.steps_per_epoch:.4f}",
            "characters": self.step * self.streams.batch_size * self.streams.sequence_length,
            "learning_rate": f"{learning_rate_at(self.step - 1, self.steps, self.settings):.6g}",
            "train_bits_per_character": _bits(self.loss_sum.item() / self.loss_steps),
            "validation_bits_per_character": _bits(held_out),
        }
        self.history.append(row)
        self.loss_sum.zero_()
        self.loss_steps = 0
        return row

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the record that `restore` takes."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"optimizer.{index}.{name}"] = value
        for index, part in enumerate(_parts(self.state)):
            tensors[f"state.{index}"] = part
        tensors["loss_sum"] = self.loss_sum
        record = {
            "step": self.step,
            "loss_steps": self.loss_steps,
            "history": self.history,
            "seconds": self.seconds,
        }
        return tensors, record

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Return to the state of a `snapshot`."""
        self.model.load_state_dict(_below("model", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("optimizer", tensors).items():
            index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = value
        self.optimizer.load_state_dict(
            {"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]}
        )
        parts = [part.to(self.device) for _, part in sorted(_below("state", tensors).items())]
        self.state = tuple(parts) if len(parts) > 1 else parts[0]
        self.loss_sum = tensors["loss_sum"]
        self.step = record["step"]
        self.loss_steps = record["loss_steps"]
        self.history = record["history"]
        self.seconds = record["seconds"]

    def timing(self) -> dict[str, float]:
        """Return the seconds spent in the loop and the characters trained on in one of them."""
        symbols = self.steps * self.streams.batch_size * self.streams.sequence_length
        return {
            "seconds": round(self.seconds, 3),
            "characters_per_second": round(symbols / self.seconds),
        }


def _parts(state: Any) -> tuple[Tensor, ...]:
    """Return the tensors of a recurrent state, `h` or `(h, c)`."""
    return state if isinstance(state, tuple) else (state,)


def _detached(state: Any) -> Any:
    """Cut the state off its past: backpropagation through time ends here."""
    detached = tuple(part.detach() for part in _parts(state))
    return detached if isinstance(state, tuple) else detached[0]


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def _bits(nats: float | None) -> str:
    return "" if nats is None else f"{nats / math.log(2):.5f}"


def _as_csv(history: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


class _Interruption:
    """Notes SIGINT and SIGTERM while it is entered, so that the loop can save before it ends."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
