"""Training in several processes, on one GPU each or on shares of the cores, by `torchrun`.

Where torchrun's own variables (PET_NNODES and others) tell of several hosts, the processes are
shared among these: the first host runs the stage, each other one
`torchrun -m charlm.training.worker CHECKPOINTS/arguments.json`.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from charlm.errors import CharlmError
from charlm.files import write_text

log = logging.getLogger(__name__)

WORKER = "charlm.training.worker"
"""The program that each process runs; by name, since it imports the training that starts it."""

PREFIX = "charlm: "
"""Marks a worker's log lines among those that torchrun prints."""


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
        command += ["-m", WORKER, str(file)]
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
