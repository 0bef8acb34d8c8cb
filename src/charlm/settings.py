"""The settings of a model and of its training.

`charlm.pipeline.config_schema` checks a configuration. These records carry it to the code that
trains, which does not need pydantic. A test keeps their fields and defaults equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self, TypeGuard, get_args, get_origin, get_type_hints

from charlm.errors import CharlmError
from charlm.json_types import fits, options

Auto = Literal["auto"]
"""A value that depends on the training text; see `charlm.training.automatic`."""

Cell = Literal["lstm", "gru"]
Device = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Literal["auto", "reference", "fused", "torch"]
OptimizerName = Literal["muon", "adamw", "rmsprop", "sgd", "ntasgd"]
ScheduleName = Literal["cosine", "step", "constant"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base class of settings that can be read from JSON values."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], where: str) -> Self:
        """Check `values` and return them as a record. Missing keys take their defaults.

        Args:
            values: The settings by name.
            where: The file and the place in it, for error messages.

        Raises:
            CharlmError: A key is unknown, or a value has the wrong type.

        >>> Architecture.from_mapping({"cell": "gru"}, "my.json: models.gru").cell
        'gru'
        >>> Architecture.from_mapping({"cell": "rnn"}, "my.json: models.gru")
        Traceback (most recent call last):
        charlm.errors.CharlmError: my.json: models.gru.cell: expected 'lstm' or 'gru', got 'rnn'
        """
        hints = get_type_hints(cls)
        names = [field.name for field in fields(cls)]
        converted: dict[str, object] = {}
        for key, value in values.items():
            if key not in names:
                raise CharlmError(f"{where}: unknown key {key!r}; remove it")
            allowed = options(hints[key])
            if isinstance(value, Mapping):
                record = next(filter(_is_record, allowed), None)
                value = record.from_mapping(value, f"{where}.{key}") if record else value
            elif isinstance(value, list):
                value = tuple(value)
            if not fits(value, hints[key]):
                expected = " or ".join(map(_description, allowed))
                raise CharlmError(f"{where}.{key}: expected {expected}, got {value!r}")
            converted[key] = value
        return cls(**converted)

    @classmethod
    def from_optional(cls, values: Mapping[str, object] | None, where: str) -> Self | None:
        """Return the record of `values`, or None for None; see `from_mapping`."""
        return None if values is None else cls.from_mapping(values, where)


def _is_record(option: object) -> TypeGuard[type[Settings]]:
    return isinstance(option, type) and issubclass(option, Settings)


def _description(option: object) -> str:
    if option is None:
        return "null"
    if get_origin(option) is tuple:
        return f"a list of {_description(get_args(option)[0])}"
    return option.__name__ if isinstance(option, type) else repr(option)


GateSplit = Literal["validation", "train_head"]
"""The text that a mixture's gate learned on; see `charlm.training.gating.split_gate_text`."""


@dataclass(frozen=True, kw_only=True)
class MixtureSettings(Settings):
    """The experts that predict beside a network: the keys of `models.NAME.mixture`."""

    experts: tuple[str, ...] = ("word", "word1", "word2", "skip", "word1_suffix3")
    order: int = 10
    max_megabytes: float = 40.0


@dataclass(frozen=True, kw_only=True)
class Architecture(Settings):
    """The architecture of a model: the keys of `models.NAME` that are not in `training`."""

    cell: Cell = "lstm"
    members: int = 1
    mixture: MixtureSettings | None = MixtureSettings()
    hidden_size: int | Literal["vocabulary"] | Auto = "auto"
    num_layers: int = 1
    embedding_size: int | Auto = "auto"
    one_hot: bool = False
    tie_weights: bool = False
    embedding_dropout: float = 0.0
    layer_dropout: float = 0.0
    output_dropout: float = 0.0
    weight_dropout: float = 0.0
    locked_dropout: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """How a model is trained: the keys of `training`, with one of the `seeds` as `seed`."""

    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    epochs: float | Auto = "auto"
    batch_size: int | Auto = "auto"
    sequence_length: int | Auto = "auto"
    optimizer: OptimizerName = "muon"
    learning_rate: float | Auto = "auto"
    schedule: ScheduleName = "cosine"
    warmup_steps: int = 100
    weight_decay: float = 0.01
    average: float | None = None
    clip_norm: float | None = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Device = "auto"
    processes: int = 1
    engine: EngineName = "auto"
    validate_every: int | None = None
    keep: Literal["last", "best"] | Auto = "auto"
    patience: int | Auto | None = "auto"
    checkpoint_every: int = 200
    sample_while_training: int = 150
    mlflow: str | None = None
    init_from: str | None = None
    teacher: str | None = None
    teacher_weight: float = 0.5


@dataclass(frozen=True, kw_only=True)
class SplitSettings(Settings):
    """How documents are split into training, validation and test text: the keys of `splits`."""

    method: Literal["auto", "document", "contiguous"] = "auto"
    validation: float = 0.05
    test: float = 0.05
    key: str = "charlm"
