"""`charlm train`: train a model without Snakemake."""

import logging
from pathlib import Path

import click

from charlm.cli.config import resolved
from charlm.errors import CharlmError


@click.command("train", short_help="Train a model as the workflow does, without Snakemake.")
@click.argument("config", metavar="CONFIG")
@click.argument("model", metavar="MODEL")
@click.option(
    "--results",
    metavar="FOLDER",
    help="Folder with vocabulary.json and tokens/, to which models/MODEL/ is written  [default: "
    "results/ and the corpus's name]",
)
def command(config: str, model: str, results: str | None) -> None:
    """Train a MODEL (for example lstm, or lstm.seed1) of a CONFIG, in YAML or its JSON.

    The corpus must be encoded: run `snakemake encode` first. If training was interrupted, the same
    command resumes it.
    """
    settings = resolved(config)
    if model not in settings["models"]:
        raise CharlmError(
            f"{config}: there is no model '{model}'; choose one of {', '.join(settings['models'])}"
        )
    folder = Path(results or Path("results", settings["corpus"]["name"]))
    from charlm.pipeline.model_dependencies import ModelDependencies
    from charlm.training.trainer import train

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    architecture = dict(settings["models"][model])
    training = architecture.pop("training")
    try:
        ModelDependencies(settings, folder, models=[model]).check(config)
        train(
            folder / "vocabulary.json",
            folder / "tokens",
            folder / "models" / model,
            folder / "checkpoints" / model,
            architecture=architecture,
            training=training,
        )
    except KeyError as error:
        if not config.endswith(".json"):
            raise
        # Without pydantic, JSON that was edited is not checked before.
        raise CharlmError(
            f"{config}: models.{model}: no key {error}; make it again from the YAML"
        ) from error
