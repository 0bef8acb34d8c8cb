"""The models that a training starts from (`init_from`) or learns from (`teacher`).

They are checked before any job runs, because Snakemake deletes a finished model as soon as the job
that would replace it starts.
"""

import difflib
import graphlib
import json
import os.path
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from charlm.errors import CharlmError
from charlm.pipeline.json_object import JsonObject
from charlm.pipeline.model_compatibility import architecture_mismatch, vocabulary_mismatch

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
        config: JsonObject,
        results: str | Path,
        *,
        models: Iterable[str] | None = None,
        prefix: str = "",
    ) -> None:
        self.vocabulary: JsonObject = config["vocabulary"]
        self.results = Path(results)
        self.models: dict[str, JsonObject] = {
            name: config["models"][name] for name in models or config["models"]
        }
        self.prefix = prefix

    def folder(self, model: str) -> Path:
        """Return the folder of a model of the run."""
        return self.results / "models" / model

    def trained_here(self, folder: str) -> str | None:
        """Return the name of the run's model whose folder the configuration names, if any."""
        return self._model_at(os.path.join(self.prefix, folder))

    def _model_at(self, folder: str) -> str | None:
        return next((name for name in self.models if _same(folder, self.folder(name))), None)

    def of(self, model: str) -> Iterator[tuple[str, str]]:
        """Yield the key and the folder of each model that `model` depends on."""
        for key in KEYS:
            if folder := self.models[model]["training"][key]:
                yield key, folder

    def check(self, file: str) -> None:
        """Check what can be known before training: that the models to depend on can be used.

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
                    mistake: str | None = self._is_itself(name, key, folder)
                elif other:
                    waits[name].add(other)
                    mistake = self._mismatch(name, key, self.models[other], None)
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

    def _is_itself(self, name: str, key: str, folder: str) -> str:
        """Return the mistake of a model that depends on its own folder."""
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
        """Return why a model cannot use one that the run does not train, or None if it can."""
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
            symbols = len(description["vocabulary"]["symbols"])
            # Old models have no `members`.
            architecture = {"members": 1, **description["architecture"]}
            return vocabulary_mismatch(
                self.vocabulary, description["vocabulary"]
            ) or self._mismatch(name, key, architecture, symbols)
        except (ValueError, LookupError, RecursionError, TypeError):
            return "holds a model.json that charlm did not write; train that model again"

    def _mismatch(
        self, name: str, key: str, architecture: JsonObject, symbols: int | None
    ) -> str | None:
        """Return why `init_from` cannot load another model's weights, or None if it can.

        A teacher may have any architecture.
        """
        if key != "init_from":
            return None
        return architecture_mismatch(self.models[name], architecture, symbols)


def _same(one: str | Path, other: str | Path) -> bool:
    """Return whether two paths lead to the same folder, which need not exist."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
