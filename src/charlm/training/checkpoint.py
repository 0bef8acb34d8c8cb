"""Checkpoints: all that a training needs to go on as if it had never stopped.

A checkpoint is one safetensors file: the tensors of weights, optimizer and recurrent state, and in
its header a JSON record of the rest. Nothing in it can run code. It is written whole or not at
all, its name holds a digest of its bytes, and it says by a fingerprint which training it belongs
to. The last two are kept, so that one that was damaged leaves another.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from charlm.files import atomic

log = logging.getLogger(__name__)

KEPT = 2


def fingerprint(settings: Mapping[str, Any], files: Iterable[str | Path]) -> dict[str, str]:
    """Return digests of all that makes a training what it is, each under its name.

    Args:
        settings: Settings by name; what they hold must be plain values.
        files: Files whose content counts, not their place.
    """
    plain = {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in plain.items()}
    return digests | {Path(file).name: _digest(Path(file)) for file in files}


def save_checkpoint(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    record: Mapping[str, Any],
    belongs: Mapping[str, str],
) -> None:
    """Write a checkpoint of the training with the fingerprint `belongs`, and drop the oldest.

    A checkpoint that cannot be written, on a full disk say, is a warning: training goes on, and
    the one before it stands.
    """
    folder = Path(folder)
    header = {"record": json.dumps(record), "fingerprint": json.dumps(belongs)}
    # Copies: the file format has no place for weights that share their memory.
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    written = folder / "new.safetensors"
    try:
        for part in folder.glob(f".{written.name}.*"):  # of a process killed while it wrote
            part.unlink()
        with atomic(written) as temporary:
            temporary.write_bytes(save(copies, header))
        written.rename(folder / f"step-{record['step']:09}.{_digest(written)[:16]}.safetensors")
        for old in _newest_first(folder)[KEPT:]:
            old.unlink()
    except OSError as error:
        log.warning("%s: the checkpoint cannot be written (%s); training goes on without it",
                    folder, error.strerror or error)  # fmt: skip


def load_checkpoint(
    folder: str | Path, belongs: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the record of the newest checkpoint in `folder` that is usable.

    None where there is none. Of each that is passed over the log says why: it is damaged, or what
    differs between its training and that of the fingerprint `belongs`.
    """
    for path in _newest_first(Path(folder)):
        try:
            if _digest(path)[:16] != path.name.split(".")[1]:
                log.warning("%s: damaged; trying the one before it", path)
                continue
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
            made_by = json.loads(header["fingerprint"])
            if made_by == belongs:
                return load_file(path), json.loads(header["record"])
            other = [
                name for name in {**belongs, **made_by} if made_by.get(name) != belongs.get(name)
            ]
            log.warning("%s: of a training with other %s; not used", path, ", ".join(other))
        except (OSError, SafetensorError, ValueError) as error:
            log.warning("%s: cannot be read (%s); trying the one before it", path, error)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.*.safetensors"), reverse=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
