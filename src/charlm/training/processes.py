"""Communication between the processes that train a model together.

Each process reads its share of the streams. After each backward pass they average their gradients,
so that all make the same update. The result is that of one process with the whole batch, except
for the order in which gradients are added up, and for dropout, which each process draws for itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed


class Processes:
    """The processes of a training, of which this is one.

    Attributes:
        rank: The number of this process, from 0.
        count: The number of processes.
    """

    def __init__(self) -> None:
        several = distributed.is_available() and distributed.is_initialized()
        self.rank: int = distributed.get_rank() if several else 0
        self.count: int = distributed.get_world_size() if several else 1

    def share(self, streams: Tensor) -> Tensor:
        """Return this process's part of all streams, which are in dimension 1."""
        return streams.chunk(self.count, dim=1)[self.rank].contiguous()

    def gather(self, part: Tensor) -> Tensor:
        """Return the streams of all processes in order; the inverse of `share`."""
        if self.count == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.count)]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts, dim=1)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all processes, in one exchange."""
        if self.count == 1:
            return
        joined = torch.cat([tensor.float().flatten() for tensor in tensors])
        distributed.all_reduce(joined)
        joined /= self.count
        start = 0
        for tensor in tensors:
            tensor.copy_(joined[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def maximum(self, number: int, device: torch.device) -> int:
        """Return the largest of the numbers that the processes give."""
        if self.count == 1:
            return number
        largest = torch.tensor(number, device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)
