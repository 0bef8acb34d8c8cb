"""Checkpoints: all that a training needs to go on as if it had never stopped.

A checkpoint is one safetensors file: the tensors of weights, optimizer and recurrent state, and in
its header a JSON record of the rest. Nothing in it can run code. It is written whole or not at
all, and names the training it belongs to by a fingerprint.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from charlm.files import atomic

log = logging.getLogger(__name__)

FILE = "last.safetensors"


def fingerprint(settings: Mapping[str, Any], files: Iterable[str | Path]) -> str:
    """Return a digest of all that makes a training what it is: its settings and its files."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for file in files:
        with Path(file).open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def save_checkpoint(
    folder: str | Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any], belongs: str
) -> None:
    """Write the checkpoint of the training with the fingerprint `belongs`, atomically."""
    header = {"record": json.dumps(record), "fingerprint": belongs}
    with atomic(Path(folder) / FILE) as temporary:
        save_file(
            # Copies: the file format has no place for weights that share their memory.
            {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()},
            temporary,
            metadata=header,
        )


def load_checkpoint(
    folder: str | Path, belongs: str
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the record of the checkpoint in `folder`.

    None where there is none that belongs to the training with the fingerprint `belongs`; the log
    says why one that is there is not used.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("fingerprint") != belongs:
                log.warning(
                    "%s: of a training with other settings, text or code; starting afresh", path
                )
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(header["record"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        log.warning("%s: cannot be read (%s); starting afresh", path, error)
        return None
