"""The engine's memory for passes: used again by the next one, and given back in the end."""

import gc
import tracemalloc
from collections.abc import Iterator

import pytest
import torch

from charlm.recurrent import LSTM
from charlm.recurrent.cpu.launch import can_run_kernels
from charlm.recurrent.cpu.memory import empty

pytestmark = pytest.mark.skipif(
    not can_run_kernels(torch.float32), reason="the fused engine cannot run here"
)


@pytest.fixture
def traced() -> Iterator[None]:
    """Trace allocations, NumPy's arrays too."""
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


def held() -> int:
    """Return the bytes allocated since tracing began, and not freed."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def train_on(layer: LSTM, steps: int) -> None:
    """Run a sequence forward and back; its gates take 8 KiB a step."""
    outputs, _ = layer(torch.zeros(steps, 8, 16))
    outputs.sum().backward()


def test_sequences_of_ever_other_lengths_do_not_fill_the_memory(traced: None) -> None:
    layer = LSTM(16, 64, engine="fused")
    for steps in range(40, 60):
        train_on(layer, steps)
    some = held()
    assert some > 2**20
    for steps in range(60, 160):
        train_on(layer, steps)
    # The sequences are up to three times as long; all of them together are ten times as much.
    assert held() < 5 * some


def test_what_a_long_sequence_took_is_given_back(traced: None) -> None:
    layer = LSTM(16, 64, engine="fused")
    for _ in range(20):
        train_on(layer, 20)
    before = held()
    train_on(layer, 4000)
    assert held() > before + 30 * 2**20
    for _ in range(20):
        train_on(layer, 20)
    assert held() < before + 2**20


def test_memory_that_came_back_is_used_again_but_never_twice() -> None:
    first, second = empty(1000, 100), empty(1000, 100)
    place = first.data_ptr()
    assert place % 64 == second.data_ptr() % 64 == 0
    assert abs(second.data_ptr() - place) >= 400_000
    view = first[10:20, 5:]
    del first
    assert empty(1000, 100).data_ptr() != place, "a view still needs it"
    del view
    assert place in [each.data_ptr() for each in [empty(1000, 100) for _ in range(2)]]
    assert empty(1000, 99).data_ptr() != place, "it has another size"
