"""The training loop."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import torch
from torch import Tensor

from charlm.errors import CharlmError
from charlm.model.base import State
from charlm.model.scoring import validation_loss
from charlm.progress import progress
from charlm.settings import TrainingSettings
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.averaging import WeightAverage, copy_weights
from charlm.training.checkpoint import Checkpoints
from charlm.training.cuda_graph import GraphedStep, StepInputs, capture_on_gpu
from charlm.training.history import LiveCurve, best_row, bits, has_stalled
from charlm.training.interruption import Interruption
from charlm.training.learning_samples import draw_learning_samples
from charlm.training.memory import memory_errors
from charlm.training.processes import Processes
from charlm.training.schedule import Schedule
from charlm.training.state import TrainingState
from charlm.training.streams import Streams, seed_for

log = logging.getLogger(__name__)

NON_MONOTONE_INTERVAL = 5
"""Validations that NT-ASGD ignores before the current one when it looks for a lower loss."""

STEPS_BETWEEN_CHECKS = 50
"""Steps after which the loss is read from a GPU, which makes it wait."""


@dataclass(kw_only=True)
class Trainer:
    """Trains a model.

    Attributes:
        settings: The settings of the training.
        vocabulary: The vocabulary of the texts.
        text: The training text.
        validation_text: The validation text; may be empty.
        streams: The training text, as it is read.
        schedule: The length of the training, its validations and learning rates.
        processes: The processes of the training.
        state: The model and everything else that changes.
        needed_memory: The estimate of the bytes that are needed.
        shown_loss: The training loss for the progress bar.
    """

    settings: TrainingSettings
    vocabulary: Vocabulary
    text: TokenSplit
    validation_text: TokenSplit
    streams: Streams
    schedule: Schedule
    processes: Processes
    state: TrainingState
    needed_memory: float
    shown_loss: str = ""

    def run(self, checkpoints: Checkpoints, curve: LiveCurve) -> None:
        """Train to the end.

        Raises:
            CharlmError: The loss or a weight is not finite, or memory does not suffice.
            SystemExit: A signal stopped the training; a checkpoint is saved.
        """
        with (
            Interruption() as interruption,
            progress(self.total_characters, "training", unit=" characters") as bar,
        ):
            bar.update(self.characters)
            while not self.is_finished:
                if self.validation_is_due:
                    self.validate()
                    if self.processes.rank == 0:
                        curve.show(self.state.history)
                else:
                    self.advance()
                    bar.set_postfix_str(self.shown_loss, refresh=False)
                    bar.update(self.characters_per_step)
                signal = self.processes.maximum(interruption.signal, self.device)
                if signal or self.checkpoint_is_due:
                    self.save(checkpoints)
                if signal:
                    log.warning("interrupted; a checkpoint of step %d is saved", self.state.step)
                    raise SystemExit(128 + signal)

    @property
    def validation_is_due(self) -> bool:
        """Whether the learning curve lacks a row for the current step."""
        step, history = self.state.step, self.state.history
        if history and history[-1]["step"] == step:
            return False
        return self.schedule.validates_at(step, self.state.seconds)

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether to save a checkpoint: every few steps and at the end, after the validation."""
        regular = self.state.step % self.settings.checkpoint_every == 0
        return (regular or self.is_finished) and not self.validation_is_due

    @property
    def is_finished(self) -> bool:
        """Whether training has reached its end or the limit of its patience."""
        if self.validation_is_due:
            return False
        history, patience = self.state.history, self.settings.patience
        assert patience != "auto"
        if patience and history and len(history) - 1 - best_row(history) >= patience:
            return True
        return self.schedule.ends_at(self.state.step, self.state.seconds)

    def advance(self) -> None:
        """Make one step: read a window forward and backward, and update the weights.

        Raises:
            CharlmError: The loss is not finite, or memory does not suffice.
        """
        state = self.state
        tokens, targets, starts_epoch = self.streams.window(state.step)
        if starts_epoch:
            state.reset_recurrent()
        state.learning_rate = self.schedule.learning_rate(state.step, state.seconds)
        self._seed_dropout()
        inputs = StepInputs(
            tokens=self.processes.share(tokens),
            targets=self.processes.share(targets),
            recurrent=state.recurrent,
            learning_rate=state.learning_rate,
            averaging_rate=state.average.next_rate() if state.average else 0.0,
        )
        with memory_errors(self.needed_memory):
            state.recurrent = self.graphed(inputs) if self.graphed else self.update(inputs)
        state.step += 1
        if self.device.type == "cpu" or state.step % STEPS_BETWEEN_CHECKS == 0:
            self._check_loss()

    def update(self, inputs: StepInputs) -> State:
        """Run forward and backward, and update everything that changes on the device.

        A CUDA graph repeats what this launches, so numbers that change from step to step must be
        among the inputs.
        """
        state, model = self.state, self.state.model
        tokens, targets = inputs.tokens.to(self.device), inputs.targets.to(self.device)
        counted = self._counted(targets)
        if state.teacher:
            targets = state.teacher.distillation_targets(tokens, targets)
        nats, recurrent = model.loss(tokens, targets, inputs.recurrent)
        model.zero_grad()
        nats.mean().backward()  # type: ignore[no-untyped-call]
        nats = nats.detach() / len(model.members)
        loss_sum = torch.stack([(nats * counted).sum(), counted.sum()])
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
        self.processes.average([*gradients, loss_sum])
        if self.settings.clip_norm:
            for member in model.members:
                torch.nn.utils.clip_grad_norm_(member.parameters(), self.settings.clip_norm)
        state.optimizer.step(inputs.learning_rate)
        if state.average is not None:
            state.average.update(inputs.averaging_rate)
        state.loss_sum += loss_sum
        # Backpropagation through time is truncated here.
        return tuple(part.detach() for part in recurrent)

    @cached_property
    def graphed(self) -> GraphedStep | None:
        """Runs `update` as a CUDA graph; None without a GPU."""
        if self.device.type != "cuda":
            return None
        obstacle = None
        if self.processes.count > 1:
            obstacle = "several processes exchange gradients"
        elif self.state.teacher:
            obstacle = "a teacher has a state of its own"
        return GraphedStep(self.update, self.device, capture_on_gpu, obstacle)

    def validate(self) -> None:
        """Add a row to the learning curve, and keep the weights if they are the best so far.

        Raises:
            CharlmError: Samples are to be drawn, but a weight is not finite.
        """
        state = self.state
        with state.average.in_model() if state.average else nullcontext():
            state.history.append(
                {
                    "step": state.step,
                    "epoch": f"{state.step / self.streams.steps_per_epoch:.4f}",
                    "characters": self.characters,
                    "learning_rate": f"{state.learning_rate:.6g}",
                    "train_bits_per_character": bits(self._training_loss()),
                    "validation_bits_per_character": bits(self._validation_loss()),
                }
            )
            is_best = best_row(state.history) == len(state.history) - 1
            if self.settings.keep == "best" and is_best:
                state.best = copy_weights(state.model)
            if self.processes.rank == 0:
                self._draw_samples()
        state.loss_sum.zero_()
        # NT-ASGD averages the weights once the validation loss no longer falls (Merity et al. 2018,
        # arXiv:1708.02182).
        averages = self.settings.optimizer == "ntasgd" and state.average is None
        if averages and has_stalled(state.history, NON_MONOTONE_INTERVAL):
            log.info("averaging the weights from step %d on", state.step)
            state.average = WeightAverage(state.model, None)
            if self.graphed:
                self.graphed.forget()

    def save(self, checkpoints: Checkpoints) -> None:
        """Save a checkpoint; all processes must call this.

        Raises:
            CharlmError: The loss or a weight is not finite, so that the state is of no use.
        """
        if self.state.loss_sum.any():
            self._check_loss()
        self._check_weights()
        snapshot = self.state.snapshot(self.processes)
        if self.processes.rank == 0:
            checkpoints.save(snapshot)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.state.model.device

    @property
    def characters(self) -> int:
        """Characters (code points) read so far, by the mean number per token of the text."""
        return round(self.state.step * self.characters_per_step)

    @cached_property
    def characters_per_step(self) -> float:
        """Characters (code points) read in one step, by the mean number per token of the text."""
        return self.streams.window_size * self.text.totals["characters"] / len(self.text.tokens)

    @property
    def total_characters(self) -> float | None:
        """Characters to be read in the whole training; None with a time limit."""
        steps = self.schedule.steps
        return None if steps is None else steps * self.characters_per_step

    def _seed_dropout(self) -> None:
        rank = (self.processes.rank,) if self.processes.rank else ()
        torch.manual_seed(seed_for(self.settings.seed, self.state.step, *rank))

    def _counted(self, targets: Tensor) -> Tensor:
        """Return which targets count in the score: all but the ends of documents."""
        end = self.vocabulary.end_of_document
        return targets != (-1 if end is None else end)

    def _training_loss(self) -> float | None:
        """Return the nats per character of the training text since the last validation."""
        nats, tokens = self.state.loss_sum.tolist()
        return self.text.per_character(nats / max(1.0, tokens), self.vocabulary.unknown_nats)

    def _validation_loss(self) -> float | None:
        """Return the nats per character of the validation text; None without one."""
        nats = validation_loss(
            self.state.model, self.validation_text.tokens, ignored=self.vocabulary.end_of_document
        )
        if nats is None:
            return None
        return self.validation_text.per_character(nats, self.vocabulary.unknown_nats)

    def _draw_samples(self) -> None:
        """Draw samples that show what the model has learned so far."""
        if self.settings.sample_while_training:
            self._check_weights()
            self.state.learning_samples += draw_learning_samples(
                self.state.model,
                self.vocabulary,
                step=self.state.step,
                length=self.settings.sample_while_training,
            )

    def _check_weights(self) -> None:
        if not all(torch.isfinite(each).all() for each in self.state.model.parameters()):
            self._fail_as_not_finite("weights are")

    def _check_loss(self) -> None:
        if not torch.isfinite(self.state.loss_sum).all():
            self._fail_as_not_finite("loss is")
        self.shown_loss = f"{bits(self._training_loss())} bits per character"

    def _fail_as_not_finite(self, what: str) -> NoReturn:
        raise CharlmError(
            f"training: the {what} not finite at step {self.state.step}; lower "
            "training.learning_rate or training.clip_norm (the last good checkpoint is kept)"
        )
