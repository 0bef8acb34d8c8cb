"""The learning curve: one row per validation, and its files while training runs."""

import csv
import io
import logging
import math
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypedDict

from charlm.files import atomic, write_text
from charlm.training.mlflow_run import MlflowRun

try:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter
    from tensorboardX.summary import scalar
except ImportError:
    RecordWriter = None

log = logging.getLogger(__name__)


class HistoryRow(TypedDict):
    """A row of the learning curve; numbers that are rounded are text.

    A character is a code point, whatever the unit of the vocabulary. Scores leave out the ends of
    documents and count unknown characters as the metrics do.
    """

    step: int
    epoch: str
    characters: int
    """Characters read so far: the tokens, times the mean characters per token of the text."""
    learning_rate: str
    train_bits_per_character: str
    """Mean since the row before. For an ensemble it is the mean of the members' scores; with a
    teacher it is measured against the mixture of text and predictions."""
    validation_bits_per_character: str
    """Score of the validation text, read as parallel streams rather than document by document;
    empty without such a text."""


COLUMNS = tuple(HistoryRow.__annotations__)
SCORES = ("learning_rate", "train_bits_per_character", "validation_bits_per_character")
"""The columns that TensorBoard and MLflow show."""


def bits(nats: float | None) -> str:
    """Return nats as bits, with five decimal places, and an empty string for None.

    >>> bits(2.0)
    '2.88539'
    """
    return "" if nats is None else f"{nats / math.log(2):.5f}"


def as_csv(history: Sequence[HistoryRow]) -> str:
    """Return the learning curve as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def best_row(history: Sequence[HistoryRow]) -> int:
    """Return the index of the row with the lowest validation loss, the first one of several."""
    losses = [float(row["validation_bits_per_character"] or "inf") for row in history]
    return losses.index(min(losses))


def has_stalled(history: Sequence[HistoryRow], interval: int) -> bool:
    """Return whether the last validation loss is above one of more than `interval` rows before."""
    losses = [float(row["validation_bits_per_character"] or 0) for row in history]
    return len(losses) > interval + 1 and losses[-1] > min(losses[: -interval - 1])


def scores(row: HistoryRow) -> dict[str, float]:
    """Return the `SCORES` of a row that are not empty."""
    return {name: float(str(value)) for name, value in row.items() if name in SCORES and value}


class LiveCurve:
    """The learning curve beside the checkpoints: `history.csv` and TensorBoard events.

    Without tensorboardX there are no events.

    Args:
        folder: The folder of the checkpoints.
        run: A run of MLflow that gets the scores, too.
    """

    def __init__(self, folder: str | Path, run: MlflowRun | None = None) -> None:
        self.folder = Path(folder)
        self.run = run

    def show(self, history: Sequence[HistoryRow]) -> None:
        """Log the last row and write the curve. Training goes on if the disk is full."""
        row = history[-1]
        log.info(
            "step %s: %s bits per character in training, %s in validation",
            row["step"],
            row["train_bits_per_character"],
            row["validation_bits_per_character"] or "none",
        )
        with suppress(OSError):
            write_text(self.folder / "history.csv", as_csv(history))
            if RecordWriter is not None:
                write_events(self.folder / "events.out.tfevents", history)
        if self.run:
            self.run.log(scores(row), row["step"])


def write_events(path: Path, history: Sequence[HistoryRow]) -> None:
    """Write the whole curve as TensorBoard events.

    tensorboardX's own writer would append to the file from a thread.
    """
    with atomic(path) as temporary, closing(RecordWriter(str(temporary))) as writer:
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for row in history:
            for name, value in scores(row).items():
                event = Event(step=row["step"], summary=scalar(name, value))
                event.wall_time = time.time()
                writer.write(event.SerializeToString())
