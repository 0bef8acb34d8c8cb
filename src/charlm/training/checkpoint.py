"""Checkpoints: everything that a training needs to continue as if it had never stopped.

A checkpoint is a safetensors file. It holds the tensors and, in its header, a JSON record of the
rest; nothing in it can run code. Its header also holds the fingerprint of its training, and its
name a digest of its bytes. The last two checkpoints of a training are kept, in case one is damaged.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from charlm.files import atomic, sha256_of
from charlm.training.history import HistoryRow
from charlm.training.learning_samples import LearningSample

log = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that are kept."""


class Record(TypedDict):
    """The state of a training apart from its tensors."""

    step: int
    learning_rate: float
    averaged: int | None
    """Number of steps in the average of the weights; None without an average."""
    history: list[HistoryRow]
    learning_samples: list[LearningSample]
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """The state of a training."""

    tensors: dict[str, Tensor]
    record: Record


def fingerprint_of(
    settings: Mapping[str, object], files: Mapping[str, str | Path]
) -> dict[str, str]:
    """Return a digest of everything that determines the result of a training, by name.

    Args:
        settings: Settings by name; JSON values.
        files: Files by name. Only their content counts.
    """
    texts = {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    return digests | {name: sha256_of(file) for name, file in files.items()}


class Checkpoints:
    """The checkpoints of a training, in a folder that may hold those of other trainings.

    Args:
        folder: The folder.
        fingerprint: The training's fingerprint; see `fingerprint_of`.
        validate_every: Number of steps between its validations. A checkpoint of a training that
            validates at other steps can be used up to the first validation.
    """

    def __init__(
        self, folder: str | Path, fingerprint: Mapping[str, str], validate_every: int
    ) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.validate_every = validate_every
        self._own: list[Path] = []

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint and delete all but the last `KEPT` of this training.

        It also deletes damaged checkpoints and those of other trainings, which the new one
        supersedes. If the checkpoint cannot be written, because the disk is full for example,
        the earlier ones are kept and training goes on.
        """
        header = {
            "record": json.dumps(snapshot.record),
            "fingerprint": json.dumps(self.fingerprint),
            "validate_every": json.dumps(self.validate_every),
        }
        # Copies, because safetensors refuses tensors that share memory.
        copies = {name: tensor.detach().cpu().clone() for name, tensor in snapshot.tensors.items()}
        new = self.folder / "new.safetensors"
        try:
            for leftover in self.folder.glob(f".{new.name}.*"):  # of a process that was killed
                leftover.unlink()
            with atomic(new) as temporary:
                temporary.write_bytes(save(copies, header))
            name = f"step-{snapshot.record['step']:09}.{sha256_of(new)[:16]}.safetensors"
            self._own = [*self._own, new.rename(self.folder / name)][-KEPT:]
            for path in self._newest_first():
                if path not in self._own:
                    path.unlink()
        except OSError as error:
            log.warning(
                "%s: the checkpoint cannot be written (%s); training goes on without it",
                self.folder,
                error.strerror or error,
            )

    def load(self) -> Snapshot | None:
        """Return the newest usable checkpoint; None without one.

        The log says why others cannot be used: they are damaged, or something differs between their
        training and this one.
        """
        for path in self._newest_first():
            try:
                if sha256_of(path)[:16] != path.name.split(".")[1]:
                    log.warning("%s: damaged; trying the one before it", path)
                    continue
                with safe_open(path, framework="pt") as file:
                    header = file.metadata()
                record: Record = json.loads(header["record"])
                differences = self._differences(header, record)
                if differences:
                    log.warning(
                        "%s: from a training with different %s; not used",
                        path,
                        ", ".join(differences),
                    )
                    continue
                snapshot = Snapshot(load_file(path), record)
                self._own = [path]
                return snapshot
            except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
                log.warning("%s: cannot be read (%s); trying the one before it", path, error)
        return None

    def _differences(self, header: Mapping[str, str], record: Record) -> list[str]:
        """Return what differs between the training of a checkpoint and this one."""
        other: dict[str, str] = json.loads(header["fingerprint"])
        names = {**self.fingerprint, **other}
        differences = [name for name in names if other.get(name) != self.fingerprint.get(name)]
        if not differences and json.loads(header["validate_every"]) != self.validate_every:
            validated = record["history"] or record["step"] > self.validate_every
            return ["validate_every"] if validated else []
        return differences

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.*.safetensors"), reverse=True)
