"""What `auto` picks on a GPU, with cards that are not there."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from charlm.recurrent import selection
from charlm.recurrent.engines.base import Cell, Precision
from charlm.recurrent.gpu import measured
from charlm.recurrent.gpu.measured import FASTEST_LOOP, H200, Card, Shape, fastest_loop


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """An H200 with Triton, to be changed by a test."""
    properties = SimpleNamespace(
        major=9, minor=0, multi_processor_count=132, shared_memory_per_block_optin=232448
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(selection, "find_spec", lambda name: object())
    measured.card_of.cache_clear()
    selection._fastest.cache_clear()
    yield properties
    measured.card_of.cache_clear()
    selection._fastest.cache_clear()


def pick(
    cell: Cell = "lstm",
    size: int = 512,
    precision: Precision = "bfloat16",
    dtype: torch.dtype = torch.float32,
) -> str:
    return selection.pick_engine(
        "auto",
        cell,
        hidden_size=size,
        precision=precision,
        device=torch.device("cuda"),
        dtype=dtype,
    )


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_auto_is_the_fused_engine_on_a_measured_card(cell: Cell) -> None:
    assert [pick(cell, size) for size in (64, 256, 640, 1024)] == ["fused"] * 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"major": 7, "minor": 5}, "cannot multiply bfloat16"),
        ({"major": 8, "multi_processor_count": 108}, "the card was not measured"),
        ({"multi_processor_count": 114}, "the card was not measured"),
        ({"shared_memory_per_block_optin": 101376}, "the card was not measured"),
    ],
)
def test_auto_is_torch_on_other_cards_and_says_so_once(
    card: SimpleNamespace,
    change: dict[str, int],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    vars(card).update(change)
    with caplog.at_level("INFO", "charlm.recurrent.selection"):
        assert [pick(), pick()] == ["torch", "torch"]
    (line,) = [each.message for each in caplog.records]
    assert "torch for lstm" in line
    assert reason in line


@pytest.mark.usefixtures("card")
def test_auto_is_torch_where_nothing_was_measured(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "charlm.recurrent.selection"):
        assert pick(size=1025) == "torch"
        assert pick(precision="float32") == "torch"
        assert pick(dtype=torch.float64) == "torch"
        monkeypatch.setattr(selection, "find_spec", lambda name: None)
        assert pick(size=513) == "torch"
    reasons = [each.message.rpartition(": ")[2] for each in caplog.records]
    assert reasons == [
        "no size above 1024 was measured",
        "only bfloat16 was measured",
        "the kernels do not compute in float64",
        "Triton is missing",
    ]


@pytest.mark.usefixtures("card")
def test_the_loop_of_a_layer_is_the_measured_one() -> None:
    plan = pytest.importorskip("charlm.recurrent.gpu.plan")
    shapes: list[tuple[int, int]] = [(512, 64), (1024, 32), (1024, 128), (640, 32)]
    for dtype, expected in (
        (torch.bfloat16, [True, False, False, False]),
        (torch.float32, [False] * 4),
    ):
        plans = [plan.plan_for_device("lstm", *shape, dtype, torch.device("cuda"))
                 for shape in shapes]  # fmt: skip
        assert [each.resident for each in plans] == expected


def test_the_nearest_measured_shape_decides_the_loop() -> None:
    assert all(fastest_loop(H200, shape) == loop for shape, loop in FASTEST_LOOP[H200].items())
    assert fastest_loop(H200, Shape("lstm", 128, 16)) == "resident"
    assert fastest_loop(H200, Shape("lstm", 512, 1000)) == "resident"
    assert fastest_loop(H200, Shape("lstm", 900, 128)) == "replayed"
    assert fastest_loop(H200, Shape("gru", 640, 64)) == "resident"
    assert fastest_loop(Card((8, 0), 108, 163 * 1024), Shape("lstm", 512, 64)) is None
