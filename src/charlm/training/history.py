"""The learning curve: a row for each validation, and how it is shown while training runs."""

import csv
import io
import logging
import math
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from charlm.files import atomic, write_text

try:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter
    from tensorboardX.summary import scalar
except ImportError:
    RecordWriter = None

log = logging.getLogger(__name__)

COLUMNS = (
    "step",
    "epoch",
    "characters",
    "learning_rate",
    "train_bits_per_character",
    "validation_bits_per_character",
)
"""Characters are code points, whatever the vocabulary's unit.

`characters` is the number read so far: symbols times the training text's mean of characters per
symbol. Both scores count as the metrics do: not the ends of documents, and unknown characters at
the same cost. The training score is the mean since the row before; of an ensemble it is the mean
of its members' scores, and with a teacher it is measured against the mixture that is learned. The
validation score reads the text as streams side by side, not document by document.
"""


def bits(nats: float | None) -> str:
    """Return nats as bits, to five places; nothing for None."""
    return "" if nats is None else f"{nats / math.log(2):.5f}"


def as_csv(history: Sequence[dict[str, Any]]) -> str:
    """Return the rows of the learning curve as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def best_row(history: Sequence[dict[str, Any]]) -> int:
    """Return the index of the row of the lowest validation loss, the first of several."""
    losses = [float(row["validation_bits_per_character"] or "inf") for row in history]
    return losses.index(min(losses))


class LiveCurve:
    """The curve beside the checkpoints: `history.csv` and, with tensorboardX, its events."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def show(self, history: Sequence[dict[str, Any]]) -> None:
        """Write the curve up to now. A full disk loses the picture, not the training."""
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


def write_events(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write the whole curve as TensorBoard events, at once: its own writer is a thread."""
    with atomic(path) as temporary, closing(RecordWriter(str(temporary))) as writer:
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for row in history:
            for name in COLUMNS[3:]:
                if row[name]:
                    event = Event(step=row["step"], summary=scalar(name, float(row[name])))
                    event.wall_time = time.time()
                    writer.write(event.SerializeToString())
