"""The memory pool: passes reuse blocks, unused blocks are freed, and no two tensors share one."""

import gc
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import SupportsIndex

import pytest
import torch
from torch import Tensor

from charlm.recurrent import LSTM
from charlm.recurrent.cpu import memory
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
    """Run a sequence forward and backward; its gates take 8 KiB per step."""
    outputs, _ = layer(torch.zeros(steps, 8, 16))
    outputs.sum().backward()


def test_sequences_of_many_lengths_do_not_fill_the_memory(traced: None) -> None:
    layer = LSTM(16, 64, engine="fused")
    for steps in range(40, 60):
        train_on(layer, steps)
    some = held()
    assert some > 2**20
    for steps in range(60, 160):
        train_on(layer, steps)
    # The sequences are up to three times as long; all of them together need ten times the memory.
    assert held() < 5 * some


def test_the_memory_of_a_long_sequence_is_freed(traced: None) -> None:
    layer = LSTM(16, 64, engine="fused")
    for _ in range(20):
        train_on(layer, 20)
    before = held()
    train_on(layer, 4000)
    assert held() > before + 30 * 2**20
    for _ in range(20):
        train_on(layer, 20)
    assert held() < before + 2**20


def test_a_free_block_is_reused_once_and_only_for_the_same_size() -> None:
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


def test_threads_that_allocate_at_once_get_different_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SlowList(list[memory.FreeBlock]):
        def __delitem__(self, place: SupportsIndex | slice) -> None:
            time.sleep(0.2)  # another thread could now find the same block
            super().__delitem__(place)

    monkeypatch.setattr(memory, "free_blocks", SlowList())
    tensors = [empty(1000, 100) for _ in range(2)]
    tensors.clear()
    assert len(memory.free_blocks) == 2
    barrier = Barrier(2)

    def allocate(_: int) -> Tensor:
        barrier.wait()
        return empty(1000, 100)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(allocate, range(2))
    assert first.data_ptr() != second.data_ptr()
