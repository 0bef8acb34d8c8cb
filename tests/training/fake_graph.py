"""A stand-in for CUDA graphs on a CPU: records PyTorch's operations and repeats them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS_ON_HOST = {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero"}


@dataclass
class Call:
    """An operation with its arguments and results."""

    operation: Callable[..., object]
    arguments: tuple[object, ...]
    keywords: dict[str, object]
    results: object


def changed_tensors(operation: Any, arguments: tuple[object, ...]) -> list[Tensor]:
    """Return the arguments that an operation changes in place."""
    found = []
    for described, given in zip(operation._schema.arguments, arguments, strict=False):
        if described.alias_info is not None and described.alias_info.is_write:
            found += [each for each in tree_leaves(given) if isinstance(each, Tensor)]
    return found


@dataclass
class Recording(TorchDispatchMode):
    """Records operations; what they change in place is put back at the end."""

    calls: list[Call] = field(default_factory=list)
    before: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[object, ...] = (), kwargs: Any = None
    ) -> object:
        if func._schema.name in READS_ON_HOST:
            raise RuntimeError(f"{func} reads a tensor on the host during a capture")
        self.before += [(each, each.clone()) for each in changed_tensors(func, args)]
        self.before += [(each, each.clone()) for each in tree_leaves((kwargs or {}).get("out"))
                        if isinstance(each, Tensor)]  # fmt: skip
        results = func(*args, **(kwargs or {}))
        self.calls.append(Call(func, args, kwargs or {}, results))
        return results

    def undo(self) -> None:
        for tensor, content in reversed(self.before):
            tensor.copy_(content)


@dataclass
class FakeGraph:
    """Captures as a CUDA graph does.

    A capture changes nothing, random numbers included, and fails if a tensor is read on the host. A
    replay repeats the recorded operations on the same memory, with new random numbers.

    Attributes:
        captures: Number of captures.
        replays: Number of replays.
    """

    captures: int = 0
    replays: int = 0

    @torch.no_grad()
    def _repeat(self, calls: list[Call]) -> None:
        self.replays += 1
        for call in calls:
            new = tree_leaves(call.operation(*call.arguments, **call.keywords))
            for old, other in zip(tree_leaves(call.results), new, strict=True):
                # Views and changes in place are where they were.
                if isinstance(old, Tensor) and old.data_ptr() != other.data_ptr():
                    old.copy_(other)

    def capture(self, work: Callable[[], None]) -> Callable[[], object]:
        """Record what a function does; see `charlm.training.cuda_graph.Capture`."""
        generator = torch.get_rng_state()
        recording = Recording()
        try:
            with recording:
                work()
        finally:
            with torch.no_grad():
                recording.undo()
            torch.set_rng_state(generator)
        self.captures += 1
        return lambda: self._repeat(recording.calls)
