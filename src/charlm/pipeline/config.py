"""Read a configuration, check it and fill in its defaults.

Only the workflow and the command line import this module. The stages take plain arguments.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from charlm.errors import CharlmError
from charlm.pipeline.config_conflicts import find_conflicts
from charlm.pipeline.config_errors import describe_errors
from charlm.pipeline.config_schema import Config, Model, Training
from charlm.pipeline.json_object import JsonObject

MOST_VALUES = 100_000
"""A configuration with more values is refused: YAML aliases can make any number of a few lines."""


def resolve(values: Mapping[str, object], file: str = "config") -> JsonObject:
    """Check a configuration and fill in its defaults.

    Args:
        values: The user's configuration: the YAML file with the changes of `--config`.
        file: The name of the configuration, for errors.

    Returns:
        Plain values, with all keys. Each of `models` holds its architecture and, under `training`,
        all settings of its training. A model with several seeds becomes several models,
        `NAME.seed1` and so on.

    Raises:
        CharlmError: One line per mistake: the file, the key, what is wrong and what to do.
    """
    if _expanded_size(values, {}) > MOST_VALUES:
        raise CharlmError(
            f"{file}: its YAML aliases make more than {MOST_VALUES:,} values; fix them"
        )
    try:
        config = Config.model_validate(dict(values))
    except ValidationError as error:
        lines = describe_errors(error, Config)
    else:
        lines = find_conflicts(config)
    if lines:
        raise CharlmError("\n".join(f"{file}: {line}" for line in lines))
    plain = config.model_dump(mode="json")
    plain["models"] = {
        trained: settings
        for name, model in config.models.items()
        for trained, settings in _trained_models(name, model, config.training)
    }
    return plain


def _expanded_size(value: object, known: dict[int, float]) -> float:
    """Return the number of values in a value, each alias counted; infinity if it holds itself."""
    if not isinstance(value, Mapping | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf
        parts = value.values() if isinstance(value, Mapping) else value
        known[id(value)] = 1 + sum(_expanded_size(part, known) for part in parts)
    return known[id(value)]


def _trained_models(
    name: str, model: Model, training: Training
) -> Iterator[tuple[str, JsonObject]]:
    """Yield the name and the settings of each model to train, one for each seed."""
    settings = model.training_settings(training)
    seeds = list(dict.fromkeys(settings.pop("seeds") or [settings["seed"]]))
    architecture = model.model_dump(mode="json", exclude=set(Training.model_fields))
    for seed in seeds:
        trained = name if len(seeds) == 1 else f"{name}.seed{seed}"
        yield trained, architecture | {"training": settings | {"seed": seed}}


def load_file(path: str | Path) -> JsonObject:
    """Read a YAML file of settings.

    Raises:
        CharlmError: The file is missing or is not a YAML mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CharlmError(f"{path}: no such file; name another") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" line {place.line + 1}:" if place else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise CharlmError(f"{path}:{line} {problem}; fix the YAML") from None
    if not isinstance(values, dict):
        raise CharlmError(f"{path}: holds no keys; see config/README.md for the keys it may hold")
    return values
