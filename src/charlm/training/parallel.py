"""Training by several processes, on one GPU each or on shares of the cores.

Each reads its share of the streams; after each backward pass all take the mean of their gradients
and so make the same update. The result is that of one process with the joint batch, but for the
order in which gradients are added up (and for dropout, which each draws for itself).

Run as a program it is one of the processes, started by `torchrun`. Where torchrun's own variables
(PET_NNODES and others) tell of several hosts, the processes are shared among these: the first host
runs the stage, each other one `torchrun -m charlm.training.parallel CHECKPOINTS/arguments.json`.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from charlm.errors import CharlmError
from charlm.files import write_text

log = logging.getLogger(__name__)

PREFIX = "charlm: "
"""Marks the lines of our own among those that torchrun prints."""

PATIENCE = "CHARLM_PEER_TIMEOUT"
"""Variable that holds the seconds after which a process gives up one that does not answer."""


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


def launch(processes: int, arguments: Mapping[str, Any]) -> None:
    """Run `charlm.training.trainer.train` with `arguments` in several processes.

    SIGINT and SIGTERM are handed on, so that the training saves before it ends.

    Raises:
        CharlmError: The training failed; says what its processes said.
    """
    hosts = int(os.environ.get("PET_NNODES", "1").split(":")[-1])
    if processes % hosts:
        raise CharlmError(
            f"training.processes: {processes} cannot be shared evenly among {hosts} hosts; "
            "choose a multiple"
        )
    with tempfile.TemporaryDirectory() as folder:
        # Beside the checkpoints the other hosts find it.
        file = Path(folder if hosts == 1 else arguments["checkpoints"]) / "arguments.json"
        write_text(file, json.dumps(arguments, default=str))
        environment = dict(os.environ)
        environment["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() * hosts // processes))
        command = [sys.executable, "-m", "torch.distributed.run"]
        command += ["--standalone"] if hosts == 1 else []
        command += ["--nproc-per-node", str(processes // hosts)]
        command += ["-m", "charlm.training.parallel", str(file)]
        process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        received = 0

        def hand_on(number: int, _frame: Any) -> None:
            nonlocal received
            received = number
            process.send_signal(signal.SIGTERM)

        before = {
            number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)
        }
        errors, others = [], []
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith(PREFIX + "error: "):
                    errors.append(line.removeprefix(PREFIX + "error: ").strip())
                elif line.startswith(PREFIX):
                    log.info(line.removeprefix(PREFIX).rstrip())
                else:
                    others.append(line)
            status = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if received:
            raise SystemExit(128 + received)
        if errors:
            raise CharlmError(errors[0])
        if status:
            log.debug("".join(others))
            raise CharlmError(
                "training: one of its processes died; run again to go on from the last checkpoint"
            )


def main() -> None:
    """Be one of the processes of a training."""
    from charlm.training.trainer import train

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    patience = timedelta(seconds=float(os.environ.get(PATIENCE, "300")))
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=patience)
    logging.basicConfig(
        level=logging.INFO if distributed.get_rank() == 0 else logging.ERROR,
        format=PREFIX + "%(message)s",
        stream=sys.stderr,
    )
    arguments = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        train(**arguments)
    except CharlmError as error:
        print(f"{PREFIX}error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        print(
            f"{PREFIX}error: training: another process died or has not answered for "
            f"{patience.seconds} s ({PATIENCE}); see that all hosts are up, and run again to go on "
            "from the last checkpoint",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
