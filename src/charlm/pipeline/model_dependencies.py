"""The models that a training starts from (`init_from`) or learns from (`teacher`).

They are checked before any job runs, because Snakemake deletes a finished model as soon as the job
that would replace it starts.
"""

import difflib
import graphlib
import json
import os.path
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from charlm.errors import CharlmError

KEYS = ("init_from", "teacher")
FILES = ("model.safetensors", "model.json")


class ModelDependencies:
    """The models that each model of a run starts from or learns from.

    Args:
        config: The resolved configuration; see `charlm.pipeline.config.resolve`.
        results: The folder of the corpus's results.
        models: The names of the models that the run trains; None for all.
        prefix: The prefix of Snakemake for the paths of a workflow that is used as a module. The
            configuration names the run's models without it.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        results: str | Path,
        *,
        models: Iterable[str] | None = None,
        prefix: str = "",
    ) -> None:
        self.config = config
        self.results = Path(results)
        self.models = {name: config["models"][name] for name in models or config["models"]}
        self.prefix = prefix

    def folder(self, model: str) -> Path:
        """Return the folder of a model of the run."""
        return self.results / "models" / model

    def trained_here(self, folder: str) -> str | None:
        """Return the name of the run's model whose folder the configuration names, if any."""
        return self._model_at(os.path.join(self.prefix, folder))

    def _model_at(self, place: str) -> str | None:
        return next((name for name in self.models if _same(place, self.folder(name))), None)

    def of(self, model: str) -> Iterator[tuple[str, str]]:
        """Yield the key and the folder of each model that `model` depends on."""
        for key in KEYS:
            if folder := self.models[model]["training"][key]:
                yield key, folder

    def check(self, file: str) -> None:
        """Raise an error if a model is already known to be unable to use its dependencies.

        Args:
            file: The name of the configuration, for errors.

        Raises:
            CharlmError: One line per mistake: a dependency is the model itself, is missing, has
                another vocabulary or, for `init_from`, another architecture, or is circular.
        """
        mistakes = []
        waits: dict[str, set[str]] = {name: set() for name in self.models}
        for name in self.models:
            for key, folder in self.of(name):
                other = self.trained_here(folder)
                if name in (other, self._model_at(folder)):
                    mistake: str | None = self._itself(name, key, folder)
                elif other:
                    waits[name].add(other)
                    mistake = self._other_architecture(name, key, self.models[other], None)
                else:
                    mistake = self._unusable(name, key, folder)
                if mistake:
                    mistakes.append(f"{file}: models.{name}.{key}: {folder} {mistake}")
        try:
            graphlib.TopologicalSorter(waits).prepare()
        except graphlib.CycleError as error:
            mistakes.append(
                f"{file}: models: {' <- '.join(error.args[1])}: each of these needs the one before "
                "it, so none can be trained first; leave out an 'init_from' or a 'teacher'"
            )
        if mistakes:
            raise CharlmError("\n".join(mistakes))

    def _itself(self, name: str, key: str, folder: str) -> str:
        own = self.folder(name)
        if not all((own / file).is_file() for file in FILES):
            return f"is the folder of this model itself, which is not trained yet; leave out {key}"
        copy = f"{self.results.name}-{name}"
        while os.path.lexists(copy):
            copy += "-copy"
        return (
            "is the folder of this model itself, which training replaces; to go on from a copy, "
            f"run `cp -r {shlex.quote(str(own))} {copy}` and set `{key}: {copy}`"
        )

    def _unusable(self, name: str, key: str, folder: str) -> str | None:
        if made := self._model_at(folder):
            plain = os.path.relpath(self.folder(made), self.prefix)
            return f"is a model of this run; name it without the module's prefix: {plain}"
        for file in FILES:
            if not Path(folder, file).is_file():
                known = [str(self.folder(model)) for model in self.models if model != name]
                near = difflib.get_close_matches(os.path.normpath(folder), known, 1, 0.8)
                hint = f"did you mean {near[0]}?" if near else "name the folder of a trained model"
                return f"holds no {file}, and this run does not make it; {hint}"
        try:
            description = json.loads(Path(folder, "model.json").read_bytes())
            symbols = description["vocabulary"]["symbols"]
            difference = _other_vocabulary(self.config["vocabulary"], description["vocabulary"])
            if difference:
                return difference
            return self._other_architecture(
                name, key, {"members": 1, **description["architecture"]}, len(symbols)
            )
        except (ValueError, LookupError, TypeError):
            return "holds a model.json that charlm did not write; train that model again"

    def _other_architecture(
        self, name: str, key: str, other: Mapping[str, Any], symbols: int | None
    ) -> str | None:
        """Return how the weights of another model differ in shape, if `init_from` loads them.

        `symbols` is the size of both models' vocabulary, None if it is not known yet.
        """
        if key != "init_from":
            return None
        here = _shape(self.models[name], symbols)
        there = _shape(other, symbols)
        for setting, value in here.items():
            if None not in (value, there[setting]) and value != there[setting]:
                return (
                    f"has another architecture ({setting}: {there[setting]}, here {value}); give "
                    "this model the same"
                )
        if self.models[name]["tie_weights"] and not other["tie_weights"]:
            return "has weights that are not tied; leave out 'tie_weights'"
        return None


def _shape(architecture: Mapping[str, Any], symbols: int | None) -> dict[str, Any]:
    """Return the settings that determine the shapes of the weights; None for unknown ones."""
    keys = ("cell", "members", "num_layers", "one_hot", "hidden_size", "embedding_size")
    shape = {key: architecture[key] for key in keys}
    if shape["hidden_size"] == "vocabulary":
        shape["hidden_size"] = symbols
    if shape["one_hot"]:
        shape["embedding_size"] = None
    return shape


def _other_vocabulary(settings: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return how another model's vocabulary differs from any that the settings can give."""
    unknown = settings["unit"] != "byte" and (
        settings["fit_on"] == "train" or settings["min_count"] > 1
    )
    for name, here, there in (
        ("unit", settings["unit"], other["unit"]),
        ("unknown symbol", unknown, other["special"]["unknown"] is not None),
        (
            "end of document",
            settings["end_of_document"],
            other["special"]["end_of_document"] is not None,
        ),
    ):
        if here != there:
            words = {True: "yes", False: "no"}
            return (
                f"has another vocabulary ({name}: {words.get(there, there)}, here "
                f"{words.get(here, here)}); name a model of the same corpus and vocabulary"
            )
    return None


def _same(one: str | Path, other: str | Path) -> bool:
    """Return whether two paths are the same folder, which may not exist."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
