"""The learning curve: as CSV, as TensorBoard events, and what the loop reads from it."""

import csv
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from charlm.training.history import HistoryRow, LiveCurve, as_csv, best_row, bits, has_stalled


def row(step: int, train: float, validation: float | None) -> HistoryRow:
    return {
        "step": step,
        "epoch": str(step / 100),
        "characters": 10 * step,
        "learning_rate": str(step / 1000),
        "train_bits_per_character": bits(train),
        "validation_bits_per_character": bits(validation),
    }


HISTORY = [row(10, 2.0, 2.1), row(20, 1.5, 1.8), row(30, 1.2, None), row(40, 1.1, 1.8)]


def test_the_curve_as_csv() -> None:
    rows = list(csv.DictReader(as_csv(HISTORY).splitlines()))
    assert [each["step"] for each in rows] == ["10", "20", "30", "40"]
    assert list(rows[0]) == list(HISTORY[0])
    assert rows[0]["train_bits_per_character"] == "2.88539"
    assert rows[2]["validation_bits_per_character"] == ""


def test_the_best_row_is_the_first_one_with_the_lowest_loss() -> None:
    assert best_row(HISTORY) == 1


@pytest.mark.parametrize(
    ("losses", "interval", "stalled"),
    [
        ([3.0, 2.0, 2.5], 0, True),
        ([3.0, 2.0, 2.5], 1, False),  # only 3.0 counts
        ([2.0, 3.0, 2.5], 1, True),
        ([2.0, 3.0, 2.5], 2, False),  # no loss counts
        ([2.0, 2.0], 0, False),
        ([2.0], 0, False),
        ([None, None, None], 0, False),
    ],
)
def test_the_loss_has_stalled_above_one_before_the_interval(
    losses: list[float | None], interval: int, stalled: bool
) -> None:
    history = [row(step, 1.0, loss) for step, loss in enumerate(losses)]
    assert has_stalled(history, interval) == stalled


def test_the_live_curve_and_its_events(tmp_path: Path) -> None:
    curve = LiveCurve(tmp_path)
    for length in (2, 4):
        curve.show(HISTORY[:length])
    assert (tmp_path / "history.csv").read_text() == as_csv(HISTORY)
    data = (tmp_path / "events.out.tfevents").read_bytes()
    events = []
    while data:  # TFRecord: length, its checksum, the record, its checksum
        (size,) = struct.unpack("<Q", data[:8])
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert events[0].file_version == "brain.Event:2"
    points: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        for value in event.summary.value:
            points.setdefault(value.tag, []).append((event.step, round(value.simple_value, 3)))
    assert points == {
        "learning_rate": [(10, 0.01), (20, 0.02), (30, 0.03), (40, 0.04)],
        "train_bits_per_character": [(10, 2.885), (20, 2.164), (30, 1.731), (40, 1.587)],
        "validation_bits_per_character": [(10, 3.03), (20, 2.597), (40, 2.597)],
    }
