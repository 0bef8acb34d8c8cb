"""The training loop."""

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from charlm.code_digest import code_digest
from charlm.errors import CharlmError
from charlm.files import write_text
from charlm.model.devices import available_memory, choose_device, choose_precision, widest_float
from charlm.model.network import (
    Network,
    WithNgram,
    load_model,
    make_model,
    save_model,
    with_ngram,
)
from charlm.model.scoring import validation_loss
from charlm.progress import progress
from charlm.recurrent import Precision
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.checkpoint import Checkpoints, fingerprint
from charlm.training.history import LiveCurve, as_csv, best_row, bits
from charlm.training.interruption import Interruption
from charlm.training.launch import launch
from charlm.training.optimization import (
    WeightAverage,
    learning_rate_at,
    make_optimizer,
    set_weights,
)
from charlm.training.processes import Processes
from charlm.training.settings import decisive, validation_interval
from charlm.training.streams import Streams, seed_for

log = logging.getLogger(__name__)

LESS_MEMORY = "lower training.batch_size, training.sequence_length or hidden_size"
"""What to do where memory does not suffice."""

MOMENTS = {"adamw": 2, "rmsprop": 1, "sgd": 1, "ntasgd": 0}
"""Numbers that each optimizer keeps for each weight."""

NON_MONOTONE = 5
"""Validations that NT-ASGD looks back on."""


def train(
    vocabulary: str | Path,
    tokens: str | Path,
    folder: str | Path,
    checkpoints: str | Path,
    *,
    architecture: Mapping[str, Any],
    training: Mapping[str, Any],
    code: str | None = None,
    origins: Mapping[str, str] | None = None,
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
        code: A digest of the code that trains, a checkpoint of other code being of no use; None
            for that of this module and all that it imports.
        origins: The folders of the models that `init_from` and `teacher` name, by these keys, where
            they are not those in `training`, which `model.json` records.

    Raises:
        CharlmError: The text is too short, the device is missing, memory does not suffice, or the
            loss is not finite.
    """
    if training["processes"] > 1 and "RANK" not in os.environ:
        places = {"vocabulary": vocabulary, "tokens": tokens, "folder": folder}
        settings = {"architecture": architecture, "training": training, "code": code}
        rest = {"checkpoints": checkpoints, "origins": origins or {}}
        launch(training["processes"], {**places, **settings, **rest})
        return
    named = {key: training[key] for key in origins or {}}
    training = {**training, **(origins or {})}
    symbols = Vocabulary.load(vocabulary)
    device = choose_device(training["device"], "training.device")
    precision = choose_precision(training["precision"], device)
    trainer = Trainer(
        symbols,
        TokenSplit.load(tokens, "train"),
        TokenSplit.load(tokens, "validation"),
        architecture=architecture,
        training=training,
        device=device,
        precision=precision,
    )
    made_from: dict[str, str | Path] = {"vocabulary.json": vocabulary}
    for split, end in product(("train", "validation"), ("npy", "documents.parquet")):
        made_from[f"{split}.{end}"] = Path(tokens) / f"{split}.{end}"
    for other in ("init_from", "teacher"):
        if training[other]:
            made_from[f"weights of {other}"] = Path(training[other]) / "model.safetensors"
    settings = decisive(training)
    belongs = fingerprint(
        {
            **architecture,
            # Which validations there were is a matter of the learning curve; see `Trainer.fits`.
            **{key: value for key, value in settings.items() if key != "validate_every"},
            "code": code_digest(__file__) if code is None else code,
            "device": device.type,
            "precision": precision,
            "PyTorch": torch.__version__,
        },
        made_from,
    )
    saved = Checkpoints(checkpoints, belongs)
    if newest := saved.load(trainer.fits):
        trainer.restore(*newest)
        log.info("resumed from step %d", trainer.step)
    curve = LiveCurve(checkpoints)
    with Interruption() as interruption, trainer.progress_bar() as bar:
        bar.update(trainer.characters)
        while not trainer.finished:
            if trainer.validation_is_due:
                trainer.validate()
                if trainer.processes.rank == 0:
                    curve.show(trainer.history)
            else:
                trainer.advance()
                bar.set_postfix_str(trainer.shown_loss, refresh=False)
                bar.update(trainer.characters_per_step)
            due = trainer.finished or trainer.step % training["checkpoint_every"] == 0
            stopped_by = trainer.processes.agree(interruption.signal, device)
            if stopped_by or (due and not trainer.validation_is_due):
                snapshot = trainer.snapshot()
                if trainer.processes.rank == 0:
                    saved.save(*snapshot)
            if stopped_by:
                log.warning("interrupted; a checkpoint of step %d is saved", trainer.step)
                raise SystemExit(128 + stopped_by)

    if trainer.processes.rank > 0:
        return
    folder = Path(folder)
    trainer.take_final_weights()
    write_text(folder / "history.csv", as_csv(trainer.history))
    write_text(folder / "timing.json", json.dumps(trainer.timing(), indent=1) + "\n")
    save_model(
        folder,
        with_ngram(trainer.model, architecture, trainer.text.tokens),
        vocabulary=symbols,
        architecture=architecture,
        training={
            **settings,
            "validate_every": trainer.validate_every,
            "steps": trainer.step,
            "device": device.type,
            "precision": precision,
            "engine": trainer.model.members[0].recurrent.picked_engine,
            **named,
        },
    )
    shutil.rmtree(checkpoints, ignore_errors=True)
    with suppress(OSError):  # other models may still be training
        Path(checkpoints).parent.rmdir()


class Trainer:
    """A model in training: its weights, its optimizer, its place in the text.

    The state after any step is a function of the settings and the text alone, so that a training
    restored from a `snapshot` ends in the same bytes as one that was never stopped. (With
    `minutes` it is a function of the clock, too.)
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        text: TokenSplit,
        validation: TokenSplit,
        *,
        architecture: Mapping[str, Any],
        training: Mapping[str, Any],
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.vocabulary = vocabulary
        self.settings = training
        self.text = text
        self.validation = validation
        self.device = device
        self.processes = Processes()
        self.streams = Streams(
            text.tokens,
            batch_size=training["batch_size"],
            sequence_length=training["sequence_length"],
            seed=training["seed"],
        )
        if self.streams.batch_size % self.processes.count:
            raise CharlmError(
                f"training.processes: {self.streams.batch_size} streams cannot be shared evenly "
                f"among {self.processes.count} processes; choose another batch_size"
            )
        self.steps: int | None = training["steps"]
        if self.steps is None and training["minutes"] is None:
            self.steps = max(1, round(training["epochs"] * self.streams.steps_per_epoch))
        elif self.steps is None:
            log.warning("a training of %s minutes cannot be repeated", training["minutes"])
        every: int | None = training["validate_every"]
        if self.steps is not None:
            every = validation_interval(every, self.steps)
        self.validate_every = every or validation_interval(None, self.streams.steps_per_epoch)
        self.characters_per_step: float = (
            self.streams.window_size * text.totals["characters"] / len(text.tokens)
        )
        if len(validation.tokens) < 2 and (training["keep"] == "best" or training["patience"]):
            raise CharlmError(
                "training: 'keep: best' and 'patience' need validation text; "
                "raise splits.validation or leave them out"
            )
        self.model = self._new_model(architecture, precision)
        if training["init_from"]:
            self._start_from(training["init_from"])
        self.model.to(device).train()
        self.teacher: Network | None = None
        if training["teacher"]:
            self.teacher = self._other_model("teacher", precision).to(device)
        self._say_memory()
        self.optimizer = make_optimizer(self.model, training)
        self.average: WeightAverage | None = None
        if training["average"] is not None:
            self.average = WeightAverage(self.model, training["average"])
        self.best: dict[str, Tensor] = {}
        self.step = 0
        self.learning_rate = 0.0
        self.state: Any = None
        self.teacher_state: Any = None
        # Nats, and of how many symbols.
        self.cost = torch.zeros(2, dtype=widest_float(device), device=device)
        self.shown_loss = ""
        self.history: list[dict[str, Any]] = []
        self._seconds_before = 0.0
        self._started = time.perf_counter()

    def _new_model(self, architecture: Mapping[str, Any], precision: Precision) -> Network:
        """Return the model with its first weights.

        Raises:
            CharlmError: The weights, their gradients and the optimizer's moments do not fit into
                memory.
        """
        with torch.device("meta"):  # shapes alone
            weights = sum(
                tensor.numel()
                for tensor in make_model(len(self.vocabulary), **architecture).parameters()
            )
        needed = 4.0 * weights * (2 + MOMENTS[self.settings["optimizer"]])
        free = available_memory(self.device)
        there = "" if free is None else f", and {free / 1e6:,.0f} MB are free"
        too_large = CharlmError(
            f"training: a model of {weights:,} weights (hidden_size {architecture['hidden_size']}) "
            f"needs at least {needed / 1e6:,.0f} MB of memory{there}; lower hidden_size, "
            "num_layers or members"
        )
        if free is not None and needed > free:
            raise too_large
        torch.manual_seed(seed_for(self.settings["seed"]))
        engine = self.settings["engine"]
        try:
            return make_model(
                len(self.vocabulary), **architecture, engine=engine, precision=precision
            )
        except RuntimeError as error:
            if "can't allocate memory" not in str(error):
                raise
            raise too_large from None

    def _other_model(self, key: str, precision: Precision = "float32") -> Network:
        folder = self.settings[key]
        model, known = load_model(folder, engine=self.settings["engine"], precision=precision)
        if known.symbols != self.vocabulary.symbols:
            raise CharlmError(
                f"{folder}: training.{key} names a model of another vocabulary; "
                "name one of the same corpus"
            )
        return model.network if isinstance(model, WithNgram) else model

    def _start_from(self, folder: str) -> None:
        try:
            self.model.load_state_dict(self._other_model("init_from").state_dict())
        except RuntimeError:
            raise CharlmError(
                f"{folder}: training.init_from names a model of another architecture; "
                "give this model the same"
            ) from None

    def memory(self) -> float:
        """Return an estimate of the bytes that training takes, the text apart.

        Weights, their gradients and moments, averages and best ones; a teacher's weights; and what
        a step keeps for its backward pass: about six numbers a unit, layer and symbol, and three a
        symbol's logit.
        """
        weights = sum(parameter.numel() for parameter in self.model.parameters())
        taught = (
            sum(parameter.numel() for parameter in self.teacher.parameters()) if self.teacher else 0
        )
        copies = 4 + (self.settings["average"] is not None) + (self.settings["keep"] == "best")
        units = sum(m.recurrent.num_layers * m.hidden_size for m in self.model.members)
        logits = len(self.model.members) * len(self.vocabulary)
        kept = self.streams.window_size * (6 * units + 3 * logits)
        return 4.0 * float(weights * copies + taught + kept)

    def _say_memory(self) -> None:
        needed = self.memory() / 1e6
        log.info("about %.0f MB of memory for training", needed)
        free = available_memory(self.device)
        if free is not None and needed > free / 1e6:
            log.warning("only %.0f MB of memory are free; %s", free / 1e6, LESS_MEMORY)

    @property
    def seconds(self) -> float:
        """Seconds of training, those before the last checkpoint among them."""
        return self._seconds_before + time.perf_counter() - self._started

    @property
    def characters(self) -> int:
        """Characters (code points) read so far, at the text's mean number per symbol."""
        return round(self.step * self.characters_per_step)

    def progress_bar(self) -> Any:
        """Return a bar over all characters to be read."""
        total = None if self.steps is None else self.steps * self.characters_per_step
        return progress(total, "training", unit=" characters")

    @property
    def validation_is_due(self) -> bool:
        """Whether the step just made asks for a row of the learning curve that is not there yet."""
        due = self._at_the_end or (self.step > 0 and self.step % self.validate_every == 0)
        return due and (not self.history or self.history[-1]["step"] != self.step)

    @property
    def finished(self) -> bool:
        """Whether all is done: the last step, its row of the curve, or the end of patience."""
        patience = self.settings["patience"]
        if patience and self.history:
            since_best = len(self.history) - 1 - best_row(self.history)
            if since_best >= patience and not self.validation_is_due:
                return True
        return self._at_the_end and not self.validation_is_due

    @property
    def _at_the_end(self) -> bool:
        if self.steps is not None:
            return self.step >= self.steps
        return self.step > 0 and self.seconds >= 60 * self.settings["minutes"]

    def advance(self) -> None:
        """Make one step: one window, forward and backward, one update.

        Raises:
            CharlmError: The loss is not finite, or memory does not suffice.
        """
        read, expected, fresh = self.streams.window(self.step)
        read, expected = self.processes.share(read), self.processes.share(expected)
        if fresh:
            self.state = self.teacher_state = None
        self.learning_rate = self._next_learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        rank = (self.processes.rank,) if self.processes.rank else ()
        torch.manual_seed(seed_for(self.settings["seed"], self.step, *rank))
        try:
            read, expected = self._moved(read), self._moved(expected)
            end = self.vocabulary.end_of_document
            counted = expected != (-1 if end is None else end)
            if self.teacher:
                expected = self._taught(self.teacher, read, expected)
            nats, state = self.model.loss(read, expected, self.state)
            self.optimizer.zero_grad()
            nats.mean().backward()  # type: ignore[no-untyped-call]
        except (RuntimeError, MemoryError) as error:
            out = isinstance(error, torch.OutOfMemoryError | MemoryError)
            if not out and "can't allocate memory" not in str(error):
                raise
            raise CharlmError(
                f"training: out of memory, of which it needs about {self.memory() / 1e6:.0f} MB; "
                f"{LESS_MEMORY}"
            ) from None
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        nats = nats.detach() / len(self.model.members)
        cost = torch.stack([(nats * counted).sum(), counted.sum()])
        self.processes.average([*gradients, cost])
        if self.settings["clip_norm"]:
            for member in self.model.members:
                torch.nn.utils.clip_grad_norm_(member.parameters(), self.settings["clip_norm"])
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        self.state = tuple(part.detach() for part in state)  # backpropagation ends here
        self.cost += cost
        self.step += 1
        # Asking a GPU for a number makes it wait: ask now and then, and before each checkpoint.
        if self.device.type == "cpu" or self.step % 50 == 0:
            self._check_loss()

    @torch.no_grad()
    def _taught(self, teacher: Network, read: Tensor, expected: Tensor) -> Tensor:
        """Mix the symbols to predict with what the teacher predicts, (length, batch, V).

        Its predictions tell of every symbol how likely it was, the text only which one came
        (Hinton et al. 2015, arXiv:1503.02531).
        """
        weight = self.settings["teacher_weight"]
        logits, self.teacher_state = teacher(read, self.teacher_state)
        mixture: Tensor = logits.softmax(-1).mul_(weight)
        own = mixture.new_full((*expected.shape, 1), 1 - weight)
        return mixture.scatter_add_(-1, expected.unsqueeze(-1), own)

    def _moved(self, symbols: Tensor) -> Tensor:
        """Copy symbols to the device. A GPU copies from pinned memory while it computes."""
        if self.device.type == "cuda":
            symbols = symbols.pin_memory()
        return symbols.to(self.device, non_blocking=True)

    def _check_loss(self) -> None:
        if not torch.isfinite(self.cost).all():
            self._stop_as_not_finite("loss is")
        self.shown_loss = f"{bits(self._training_score())} bits per character"

    def _stop_as_not_finite(self, what: str) -> NoReturn:
        raise CharlmError(
            f"training: the {what} not finite at step {self.step}; lower training.learning_rate "
            "or training.clip_norm (the last good checkpoint is kept)"
        )

    def _next_learning_rate(self) -> float:
        minutes = self.settings["minutes"]
        done = self.seconds / (60 * minutes) if self.steps is None and minutes else 0.0
        return learning_rate_at(self.step, self.settings, steps=self.steps, done=done)

    def _training_score(self) -> float | None:
        """Return the nats per character of the training text since the last validation."""
        nats, symbols = self.cost.tolist()
        return self.text.per_character(nats / max(1.0, symbols), self.vocabulary.unknown_nats)

    def validate(self) -> None:
        """Add a row to the history, and keep the weights if they are the best so far."""
        with self.average.in_place() if self.average else nullcontext():
            held_out = validation_loss(
                self.model, self.validation.tokens, ignored=self.vocabulary.end_of_document
            )
            if held_out is not None:
                held_out = self.validation.per_character(held_out, self.vocabulary.unknown_nats)
            self.history.append(
                {
                    "step": self.step,
                    "epoch": f"{self.step / self.streams.steps_per_epoch:.4f}",
                    "characters": self.characters,
                    "learning_rate": f"{self.learning_rate:.6g}",
                    "train_bits_per_character": bits(self._training_score()),
                    "validation_bits_per_character": bits(held_out),
                }
            )
            newest = len(self.history) - 1
            if self.settings["keep"] == "best" and best_row(self.history) == newest:
                self.best = {
                    name: parameter.detach().clone()
                    for name, parameter in self.model.named_parameters()
                }
        self.cost.zero_()
        # NT-ASGD (Merity et al. 2018, arXiv:1708.02182): once the validation loss is no better
        # than the best of those more than a few validations ago, average all weights from now on.
        if self.settings["optimizer"] == "ntasgd" and self.average is None:
            older = self.history[: -NON_MONOTONE - 1]
            if older and float(bits(held_out) or 0) > min(
                float(row["validation_bits_per_character"] or 0) for row in older
            ):
                log.info("averaging the weights from step %d on", self.step)
                self.average = WeightAverage(self.model, None)

    def take_final_weights(self) -> None:
        """Put into the model the weights to be saved: the last, their average, or the best."""
        if self.best:
            set_weights(self.model, self.best)
        elif self.average:
            set_weights(self.model, self.average.weights)

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the record that `restore` takes.

        Raises:
            CharlmError: The loss or a weight is not finite: such a state is of no use.
        """
        if self.cost.any():
            self._check_loss()
        if not all(torch.isfinite(parameter).all() for parameter in self.model.parameters()):
            self._stop_as_not_finite("weights are")
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, moments in self.optimizer.state.items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        states = {"state": self.state} | ({"teacher": self.teacher_state} if self.teacher else {})
        for name, state in states.items():
            for index, part in enumerate(state):
                tensors[f"{name}.{index}"] = self.processes.gather(part)
        if self.average:
            tensors |= {f"average.{name}": value for name, value in self.average.weights.items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors["cost"] = self.cost
        record = {
            "step": self.step,
            "learning_rate": self.learning_rate,
            "validate_every": self.validate_every,
            "averaged": self.average.count if self.average else None,
            "history": self.history,
            "seconds": self.seconds,
        }
        return tensors, record

    def fits(self, record: Mapping[str, Any]) -> bool:
        """Return whether this training would have validated where that of a record did.

        One that validates at other steps is of use until the first of them.
        """
        if record["validate_every"] == self.validate_every:
            return True
        return not record["history"] and bool(record["step"] <= self.validate_every)

    def restore(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Return to the state of a `snapshot`."""
        tensors = {name: value.to(self.device) for name, value in tensors.items()}
        self.model.load_state_dict(_below("model", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below("optimizer", tensors).items():
            index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = value
        self.optimizer.state = moments
        self.state = self._restored_state("state", tensors)
        if self.teacher:
            self.teacher_state = self._restored_state("teacher", tensors)
        if record["averaged"] is not None:
            self.average = self.average or WeightAverage(self.model, None)
            self.average.weights = _below("average", tensors)
            self.average.count = record["averaged"]
        self.best = _below("best", tensors)
        self.cost = tensors["cost"]
        self.step = record["step"]
        self.learning_rate = record["learning_rate"]
        self.history = record["history"]
        self._seconds_before = record["seconds"]
        self._started = time.perf_counter()

    def _restored_state(self, name: str, tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        parts = sorted(_below(name, tensors).items())
        return tuple(self.processes.share(part) for _, part in parts)

    def timing(self) -> dict[str, float]:
        """Return the seconds of training and the characters trained on in one of them."""
        seconds = self.seconds
        return {
            "seconds": round(seconds, 3),
            "characters_per_second": round(self.characters / seconds),
        }


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    start = prefix + "."
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }
