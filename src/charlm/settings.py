"""The settings of a model and of its training, as records.

`charlm.pipeline.config_schema` checks what users write; these records carry it to the code that
computes, which need not import pydantic. A test compares their fields and defaults.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from charlm.errors import CharlmError

Cell = Literal["lstm", "gru"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Engine = Literal["auto", "reference", "fused", "torch"]
Optimizer = Literal["adamw", "rmsprop", "sgd", "ntasgd"]
Schedule = Literal["cosine", "step", "constant"]


class Settings:
    """A record of settings that can be read from plain values."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], where: str) -> Self:
        """Return the record of `values`; keys left out take their defaults.

        Args:
            values: What a JSON file, a configuration or Snakemake gives.
            where: The file and the place in it, for error messages.

        Raises:
            CharlmError: A key is unknown, or a value has the wrong type.
        """
        types_by_key = {field.name: get_type_hints(cls)[field.name] for field in fields(cls)}  # type: ignore[arg-type]
        for key, value in values.items():
            if key not in types_by_key:
                raise CharlmError(f"{where}: unknown key {key!r}; remove it")
            if not _has_type(value, types_by_key[key]):
                raise CharlmError(
                    f"{where}.{key}: {value!r} is not {_described(types_by_key[key])}; change it"
                )
        return cls(**values)


def _has_type(value: object, annotation: Any) -> bool:
    """Return whether a value has a type: a class, a literal, or a union of these."""
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_has_type(value, option) for option in get_args(annotation))
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if isinstance(value, bool):
        return annotation is bool
    return isinstance(value, (int, float) if annotation is float else annotation)


def _described(annotation: Any) -> str:
    """Return the values that an annotation allows, in words."""
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(map(_described, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return " or ".join(map(repr, get_args(annotation)))
    return "null" if annotation is types.NoneType else str(annotation.__name__)


@dataclass(frozen=True, kw_only=True)
class Architecture(Settings):
    """A model's architecture: the keys of `models.NAME` that are not in `training`."""

    cell: Cell = "lstm"
    members: int = 1
    ngram_order: int = 0
    ngram_weight: float = 0.3
    hidden_size: int | Literal["vocabulary"] = 512
    num_layers: int = 1
    embedding_size: int = 128
    one_hot: bool = False
    tie_weights: bool = False
    embedding_dropout: float = 0.0
    layer_dropout: float = 0.0
    output_dropout: float = 0.0
    weight_dropout: float = 0.0
    locked_dropout: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How a model is trained: the keys of `training`, with `seeds` resolved to one `seed`."""

    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    epochs: float = 10.0
    batch_size: int = 64
    sequence_length: int = 128
    optimizer: Optimizer = "adamw"
    learning_rate: float = 3.0e-3
    schedule: Schedule = "cosine"
    warmup_steps: int = 100
    weight_decay: float = 0.01
    average: float | None = None
    clip_norm: float | None = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Device = "auto"
    processes: int = 1
    engine: Engine = "auto"
    validate_every: int | None = None
    keep: Literal["last", "best"] = "last"
    patience: int | None = None
    checkpoint_every: int = 200
    init_from: str | None = None
    teacher: str | None = None
    teacher_weight: float = 0.5


@dataclass(frozen=True, kw_only=True)
class SplitSettings(Settings):
    """How documents are split into training, validation and test text: the keys of `splits`."""

    method: Literal["document", "contiguous"] = "document"
    validation: float = 0.05
    test: float = 0.05
    key: str = "charlm"
