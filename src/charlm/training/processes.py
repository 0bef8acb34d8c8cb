"""What each of several processes of a training knows of the others.

Each reads its share of the streams; after each backward pass all take the mean of their gradients
and so make the same update. The result is that of one process with the joint batch, except for the
order in which gradients are added up (and for dropout, which each process draws for itself).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed


class Processes:
    """What a process of a training knows of the others; a single one has nothing to agree on."""

    def __init__(self) -> None:
        together = distributed.is_available() and distributed.is_initialized()
        self.rank: int = distributed.get_rank() if together else 0
        self.count: int = distributed.get_world_size() if together else 1

    def share(self, streams: Tensor, dimension: int = 1) -> Tensor:
        """Return this process's part of all streams, which lie along `dimension`."""
        return streams.chunk(self.count, dimension)[self.rank].contiguous()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean over all processes in the place of each tensor, in one exchange."""
        if self.count == 1:
            return
        joined = torch.cat([tensor.float().flatten() for tensor in tensors])
        distributed.all_reduce(joined)
        joined /= self.count
        place = 0
        for tensor in tensors:
            tensor.copy_(joined[place : place + tensor.numel()].view_as(tensor))
            place += tensor.numel()

    def gather(self, part: Tensor, dimension: int = 1) -> Tensor:
        """Return the streams of all processes, in their order; the reverse of `share`."""
        if self.count == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.count)]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts, dimension)

    def agree(self, number: int, device: torch.device) -> int:
        """Return the largest of the numbers that the processes give."""
        if self.count == 1:
            return number
        largest = torch.tensor(number, device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)
