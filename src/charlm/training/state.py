"""The state of a training: everything that changes from step to step."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from charlm.model.base import State
from charlm.model.ensemble import Network
from charlm.training.averaging import WeightAverage, set_weights
from charlm.training.checkpoint import Snapshot
from charlm.training.distillation import Teacher
from charlm.training.history import HistoryRow
from charlm.training.learning_samples import LearningSample
from charlm.training.optimization import Optimizer
from charlm.training.processes import Processes


@dataclass(kw_only=True)
class TrainingState:
    """The state of a training.

    After any step it depends on the settings and the text alone, so that a training that is
    restored from a `snapshot` ends in the same bytes as one that never stopped. (With a time limit
    it depends on the clock, too.)

    Attributes:
        model: The network with its weights.
        optimizer: The optimizer with its buffers.
        average: The average of the weights, if there is one.
        teacher: The teacher with its recurrent state, if there is one.
        loss_sum: The nats of the training text since the last validation, and the number of tokens
            that they are for; shape (2,).
        best: Copies of the weights with the lowest validation loss, if they are to be kept.
        recurrent: The recurrent state of the network; None at the beginning of an epoch.
        step: Number of steps made.
        learning_rate: The learning rate of the last step.
        history: The learning curve.
        learning_samples: What the network wrote at each validation.
    """

    model: Network
    optimizer: Optimizer
    average: WeightAverage | None
    teacher: Teacher | None
    loss_sum: Tensor
    best: dict[str, Tensor] = field(default_factory=dict)
    recurrent: State | None = None
    step: int = 0
    learning_rate: float = 0.0
    history: list[HistoryRow] = field(default_factory=list)
    learning_samples: list[LearningSample] = field(default_factory=list)
    _seconds_before: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds of training, without those after the last checkpoint of an interrupted run."""
        return self._seconds_before + time.perf_counter() - self._started

    def reset_recurrent(self) -> None:
        """Reset the recurrent states, as at the beginning of an epoch."""
        self.recurrent = None
        if self.teacher:
            self.teacher.state = None

    def use_final_weights(self) -> None:
        """Put the weights to be saved into the model: the best, their average, or the last."""
        if self.best:
            set_weights(self.model, self.best)
        elif self.average:
            set_weights(self.model, self.average.weights)

    def snapshot(self, processes: Processes) -> Snapshot:
        """Return a snapshot; all processes must call this."""
        tensors = {"loss_sum": self.loss_sum}
        tensors |= _prefixed("model", self.model.state_dict())
        tensors |= _prefixed("optimizer", self.optimizer.state_dict())
        tensors |= _prefixed("recurrent", _gathered(self.recurrent, processes))
        if self.teacher:
            tensors |= _prefixed("teacher", _gathered(self.teacher.state, processes))
        if self.average:
            tensors |= _prefixed("average", self.average.weights)
        tensors |= _prefixed("best", self.best)
        return Snapshot(
            tensors,
            {
                "step": self.step,
                "learning_rate": self.learning_rate,
                "averaged": self.average.count if self.average else None,
                "history": self.history,
                "learning_samples": self.learning_samples,
                "seconds": self.seconds,
            },
        )

    def restore(self, snapshot: Snapshot, processes: Processes) -> None:
        """Return to the state of a snapshot; the tensors that a step changes stay in place."""
        device, record = self.model.device, snapshot.record
        tensors = {name: value.to(device) for name, value in snapshot.tensors.items()}
        self.loss_sum.copy_(tensors["loss_sum"])
        self.model.load_state_dict(_below("model", tensors))
        self.optimizer.load_state_dict(_below("optimizer", tensors))
        self.recurrent = _shared(_below("recurrent", tensors), processes)
        if self.teacher:
            self.teacher.state = _shared(_below("teacher", tensors), processes)
        if record["averaged"] is not None:
            self.average = self.average or WeightAverage(self.model, None)
            for name, weight in _below("average", tensors).items():
                self.average.weights[name].copy_(weight)
            self.average.count = record["averaged"]
        self.best = _below("best", tensors)
        self.step = record["step"]
        self.learning_rate = record["learning_rate"]
        self.history = record["history"]
        self.learning_samples = record["learning_samples"]
        self._seconds_before = record["seconds"]
        self._started = time.perf_counter()


def _gathered(state: State | None, processes: Processes) -> dict[str, Tensor]:
    """Return the recurrent state of the streams of all processes."""
    return {str(index): processes.gather(part) for index, part in enumerate(state or ())}


def _shared(parts: Mapping[str, Tensor], processes: Processes) -> State | None:
    """Return the recurrent state of this process's streams; the inverse of `_gathered`."""
    return tuple(processes.share(parts[name]) for name in sorted(parts)) or None


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names have a prefix, without it; the inverse of `_prefixed`."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
