"""One of the processes of a training; started by `torchrun -m charlm.training.worker ARGUMENTS`."""

import logging
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import torch
from torch import distributed

from charlm.errors import CharlmError
from charlm.training.job import TrainingJob
from charlm.training.launch import PREFIX
from charlm.training.train_model import run_job

TIMEOUT = "CHARLM_PEER_TIMEOUT"
"""Environment variable: seconds after which a process that does not answer is given up."""


def main() -> None:
    """Train as one of several processes."""
    local_rank = int(os.environ["LOCAL_RANK"])
    timeout = timedelta(seconds=float(os.environ.get(TIMEOUT, "300")))
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=timeout)
    logging.basicConfig(
        level=logging.INFO if distributed.get_rank() == 0 else logging.ERROR,
        format=PREFIX + "%(message)s",
        stream=sys.stderr,
    )
    try:
        run_job(TrainingJob.read(Path(sys.argv[1])))
    except CharlmError as error:
        _fail(str(error))
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        _fail(
            f"training: another process died or has not answered for {timeout.seconds} s "
            f"({TIMEOUT}); see that all hosts are up, and run again to go on from the last "
            "checkpoint"
        )
    finally:
        distributed.destroy_process_group()


def _fail(message: str) -> NoReturn:
    print(f"{PREFIX}error: {message}", file=sys.stderr)
    raise SystemExit(1) from None


if __name__ == "__main__":
    main()
