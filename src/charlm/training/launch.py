"""Training in several processes, which `torchrun` starts.

On a machine with GPUs each process has one of them; otherwise they share the cores. If torchrun's
own variables (`PET_NNODES` and others) describe several hosts, each host runs an equal number of
processes: the first host starts them here, the others by
`torchrun -m charlm.training.worker CHECKPOINTS/arguments.json`.
"""

import logging
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from charlm.errors import CharlmError
from charlm.training.interruption import Interruption
from charlm.training.job import TrainingJob

log = logging.getLogger(__name__)

WORKER = "charlm.training.worker"
"""The module that each process runs; named, because it imports the module that calls `launch`."""

PREFIX = "charlm: "
"""Marks the log lines of a worker among those of torchrun."""


def launch(job: TrainingJob, environment: Mapping[str, str]) -> None:
    """Train in several processes.

    SIGINT and SIGTERM are passed on to the processes, which save a checkpoint before they stop.

    Args:
        job: The arguments of the training.
        environment: The environment of the processes.

    Raises:
        CharlmError: The training failed, or the hosts cannot share the processes evenly.
        SystemExit: A signal stopped the training.
    """
    processes = job.training.processes
    hosts = int(environment.get("PET_NNODES", "1").split(":")[-1])
    if processes % hosts:
        raise CharlmError(
            f"training.processes: {processes} cannot be shared evenly among {hosts} hosts; "
            "choose a multiple"
        )
    threads = max(1, torch.get_num_threads() * hosts // processes)
    with tempfile.TemporaryDirectory() as folder:
        # Other hosts find the file beside the checkpoints.
        file = Path(folder if hosts == 1 else job.checkpoints) / "arguments.json"
        job.write(file)
        process = subprocess.Popen(
            _command(processes, hosts, file),
            env={**environment, "OMP_NUM_THREADS": str(threads)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        with Interruption(lambda: process.send_signal(signal.SIGTERM)) as interruption:
            errors = _relay(process.stderr)
            status = process.wait()
    if interruption.signal:
        raise SystemExit(128 + interruption.signal)
    if errors:
        raise CharlmError(errors[0])
    if status:
        raise CharlmError(
            "training: one of its processes died; run again to go on from the last checkpoint"
        )


def _command(processes: int, hosts: int, arguments: Path) -> list[str]:
    """Return the command that starts this host's processes."""
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *(["--standalone"] if hosts == 1 else []),
        *("--nproc-per-node", str(processes // hosts)),
        *("-m", WORKER, str(arguments)),
    ]


def _relay(lines: Iterable[str]) -> list[str]:
    """Log the workers' lines and return their errors."""
    errors = []
    for line in lines:
        if line.startswith(PREFIX + "error: "):
            errors.append(line.removeprefix(PREFIX + "error: ").strip())
        elif line.startswith(PREFIX):
            log.info(line.removeprefix(PREFIX).rstrip())
        else:
            log.debug(line.rstrip())
    return errors
