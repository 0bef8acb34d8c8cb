"""The configuration, as a user would write it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from charlm.report.html import is_control
from charlm.report.results import Configuration
from charlm.text.sources.locations import local_path


def as_yaml(config: Configuration) -> str:
    """Return a resolved configuration as YAML that resolves to the same again."""
    general = config["training"]
    models: dict[str, dict[str, Any]] = {}
    for label, settings in config["models"].items():
        training = settings["training"]
        overrides = {key: value for key, value in training.items() if value != general[key]}
        model = {key: value for key, value in settings.items() if key != "training"} | overrides
        model["seed"] = training["seed"]
        first = models.setdefault(label.split(".")[0], model)
        if first is not model:
            first["seeds"] = [*first.get("seeds", [first.pop("seed", 0)]), training["seed"]]
    corpus = config["corpus"] | {"source": without_folders(config["corpus"]["source"])}
    whole = {**config, "corpus": corpus, "models": models}
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=88)
    if any(map(is_control, text)):
        text = yaml.safe_dump(whole, sort_keys=False, width=88)
    return text


def without_folders(source: str | Sequence[str]) -> str | list[str]:
    """Return the source with absolute paths cut to their file names, since folders are private.

    >>> without_folders(["/home/ada/texts.csv", "file:///home/ada/a.csv", "data/b.csv"])
    ['texts.csv', 'a.csv', 'data/b.csv']
    """
    if isinstance(source, str):
        return _without_folders(source)
    return [_without_folders(entry) for entry in source]


def _without_folders(entry: str) -> str:
    path = local_path(entry)
    return Path(path).name if Path(path).is_absolute() else entry
