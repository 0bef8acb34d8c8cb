"""The arguments of a training, as a record that its processes share."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

from charlm.errors import CharlmError
from charlm.files import write_text
from charlm.settings import Architecture, TrainingSettings


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """The arguments of `charlm.training.train_model.train_model`, which describes them."""

    vocabulary: Path
    tokens: Path
    folder: Path
    checkpoints: Path
    architecture: Architecture
    training: TrainingSettings
    mixed: bool = False
    code: str | None = None
    dependency_folders: Mapping[str, str] = field(default_factory=dict)

    def located_settings(self) -> TrainingSettings:
        """Return the settings with the dependencies' folders as they are on this machine."""
        return replace(
            self.training,
            init_from=self.dependency_folders.get("init_from", self.training.init_from),
            teacher=self.dependency_folders.get("teacher", self.training.teacher),
        )

    def write(self, file: Path) -> None:
        """Write the arguments as JSON."""
        write_text(file, json.dumps(asdict(self), default=str))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the arguments that `write` wrote.

        Raises:
            CharlmError: They are those of another version of charlm.
        """
        values = json.loads(file.read_text(encoding="utf-8"))
        try:
            return cls(
                vocabulary=Path(values["vocabulary"]),
                tokens=Path(values["tokens"]),
                folder=Path(values["folder"]),
                checkpoints=Path(values["checkpoints"]),
                architecture=Architecture.from_mapping(
                    values["architecture"], f"{file}: architecture"
                ),
                training=TrainingSettings.from_mapping(values["training"], f"{file}: training"),
                mixed=values["mixed"],
                code=values["code"],
                dependency_folders=values["dependency_folders"],
            )
        except KeyError as error:
            raise CharlmError(
                f"{file}: {error} is missing; install the same charlm on all hosts"
            ) from None
