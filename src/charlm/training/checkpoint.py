"""Checkpoints: all that a training needs to go on as if it had never stopped.

A checkpoint is one safetensors file: the tensors of weights, optimizer and recurrent state, and in
its header a JSON record of the rest. Nothing in it can run code. It is written whole or not at
all, its name holds a digest of its bytes, and it says by a fingerprint which training it belongs
to. The last two of a training are kept, so that one that was damaged leaves another.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from charlm.files import atomic, sha256_of

log = logging.getLogger(__name__)

KEPT = 2


def fingerprint(settings: Mapping[str, Any], files: Mapping[str, str | Path]) -> dict[str, str]:
    """Return digests of all that makes a training what it is, each under its name.

    Args:
        settings: Settings by name; what they hold must be plain values.
        files: Files by name, whose content counts, not their place.
    """
    plain = {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in plain.items()}
    return digests | {name: sha256_of(file) for name, file in files.items()}


class Checkpoints:
    """The checkpoints of one training, in a folder that may hold those of others.

    Args:
        folder: Where they are.
        belongs: The training's `fingerprint`.
    """

    def __init__(self, folder: str | Path, belongs: Mapping[str, str]) -> None:
        self.folder = Path(folder)
        self.belongs = belongs
        self._own: list[Path] = []

    def save(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Write a checkpoint and drop all but this training's last `KEPT`.

        Those of other trainings, and damaged ones, are deleted only now that there is one to go on
        from. A checkpoint that cannot be written, on a full disk say, is a warning: training goes
        on, and the ones before it stand.
        """
        header = {"record": json.dumps(record), "fingerprint": json.dumps(self.belongs)}
        # Copies: the file format has no place for weights that share their memory.
        copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        written = self.folder / "new.safetensors"
        try:
            for part in self.folder.glob(f".{written.name}.*"):  # of a process killed on the way
                part.unlink()
            with atomic(written) as temporary:
                temporary.write_bytes(save(copies, header))
            name = f"step-{record['step']:09}.{sha256_of(written)[:16]}.safetensors"
            self._own = [*self._own, written.rename(self.folder / name)][-KEPT:]
            for path in self._newest_first():
                if path not in self._own:
                    path.unlink()
        except OSError as error:
            log.warning("%s: the checkpoint cannot be written (%s); training goes on without it",
                        self.folder, error.strerror or error)  # fmt: skip

    def load(
        self, fits: Callable[[Mapping[str, Any]], bool]
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the tensors and the record of the newest usable checkpoint; None without one.

        Of each that is passed over the log says why: it is damaged, or what differs between its
        training and this one.

        Args:
            fits: Whether the learning curve of a record is the one that this training would have.
        """
        for path in self._newest_first():
            try:
                if sha256_of(path)[:16] != path.name.split(".")[1]:
                    log.warning("%s: damaged; trying the one before it", path)
                    continue
                with safe_open(path, framework="pt") as file:
                    header = file.metadata()
                made_by = json.loads(header["fingerprint"])
                record = json.loads(header["record"])
                other = [
                    name
                    for name in {**self.belongs, **made_by}
                    if made_by.get(name) != self.belongs.get(name)
                ]
                if not other and not fits(record):
                    other = ["validate_every"]
                if not other:
                    tensors = load_file(path)
                    self._own = [path]
                    return tensors, record
                log.warning("%s: of a training with other %s; not used", path, ", ".join(other))
            except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
                log.warning("%s: cannot be read (%s); trying the one before it", path, error)
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.*.safetensors"), reverse=True)
