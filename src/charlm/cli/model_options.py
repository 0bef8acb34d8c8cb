"""The argument and the option of all commands that load a model."""

from pathlib import Path

import click

from charlm.errors import CharlmError

model_argument = click.argument("model", metavar="MODEL")
device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Device: auto, cpu, cuda, cuda:N or mps.",
)


def check_model(model: str) -> None:
    """Check that a folder is not one of results, which holds several models.

    Raises:
        CharlmError: It is; the message names its models.
    """
    from charlm.evaluation.leaders import model_folders

    if not Path(model, "model.json").exists() and (found := model_folders(model)):
        names = ", ".join(map(str, found.values()))
        raise CharlmError(f"{model}: a folder of results; name one of its models: {names}")


def best_model() -> str:
    """Return the folder of the best model of the results in this folder.

    Raises:
        CharlmError: This folder has no results, or those of several corpora.
    """
    from charlm.evaluation.leaders import leaders, model_folders

    places = [each for each in (Path(), *sorted(Path().glob("results/*"))) if model_folders(each)]
    if not places:
        raise CharlmError("no results here; name the folder of a model, results/…/models/…")
    if len(places) > 1:
        names = ", ".join(f"{place}/models/…" for place in places)
        raise CharlmError(f"the results of several corpora are here; name a model: {names}")
    models, best = model_folders(places[0]), leaders(places[0])
    return str(models[best.model.name] if best else next(iter(models.values())))
