"""One of the processes of a training, started by `torchrun -m charlm.training.worker ARGUMENTS`."""

import json
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from charlm.errors import CharlmError
from charlm.training.launch import PREFIX
from charlm.training.trainer import train

TIMEOUT = "CHARLM_PEER_TIMEOUT"
"""Environment variable: seconds after which a process gives up on one that does not answer."""


def main() -> None:
    """Run a training as one of several processes."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    timeout = timedelta(seconds=float(os.environ.get(TIMEOUT, "300")))
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=timeout)
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
            f"{timeout.seconds} s ({TIMEOUT}); see that all hosts are up, and run again to go on "
            "from the last checkpoint",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
