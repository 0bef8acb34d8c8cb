"""The live curve: as CSV, and as events that TensorBoard reads."""

import csv
import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

from charlm.training.history import LiveCurve, as_csv, best_row, bits

HISTORY = [
    dict(zip(("step", "epoch", "characters", "learning_rate"), row, strict=True))
    | {"train_bits_per_character": bits(train), "validation_bits_per_character": bits(held_out)}
    for row, train, held_out in (
        ((10, "0.1", 100, "0.01"), 2.0, 2.1),
        ((20, "0.2", 200, "0.02"), 1.5, 1.8),
        ((30, "0.3", 300, "0.03"), 1.2, None),
        ((40, "0.4", 400, "0.04"), 1.1, 1.8),
    )
]


def test_the_curve_as_csv() -> None:
    rows = list(csv.DictReader(as_csv(HISTORY).splitlines()))
    assert [row["step"] for row in rows] == ["10", "20", "30", "40"]
    assert rows[0]["train_bits_per_character"] == "2.88539"
    assert rows[2]["validation_bits_per_character"] == ""


def test_the_best_row_is_the_first_of_the_lowest() -> None:
    assert best_row(HISTORY) == 1


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
    points = [
        (event.step, round(value.simple_value, 3))
        for event in events
        for value in event.summary.value
        if value.tag == "validation_bits_per_character"
    ]
    assert points == [(10, 3.03), (20, 2.597), (40, 2.597)]
