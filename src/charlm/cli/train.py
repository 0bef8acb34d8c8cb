"""`charlm train`: train a model without Snakemake."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import click

from charlm.cli.config import resolved
from charlm.errors import CharlmError
from charlm.settings import Architecture, TrainingSettings


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

    The corpus must be encoded: run `snakemake --cores all encode` first. If training was
    interrupted, the same command resumes it.
    """
    settings = resolved(config)
    models = settings["models"]
    if model not in models:
        raise CharlmError(f"{config}: unknown model '{model}'; choose one of {', '.join(models)}")
    folder = Path(results or Path("results", settings["corpus"]["name"]))
    values = dict(models[model])
    place = f"{config}: models.{model}"
    training = TrainingSettings.from_mapping(values.pop("training"), f"{place}.training")
    architecture = Architecture.from_mapping(values, place)
    from charlm.pipeline.model_dependencies import ModelDependencies
    from charlm.training.mix_model import mix_model
    from charlm.training.train_model import train_model

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    models[model] = asdict(architecture) | {"training": asdict(training)}
    ModelDependencies(settings, folder, models=[model]).check(config)
    train_model(
        folder / "vocabulary.json",
        folder / "tokens",
        folder / "models" / model / "network",
        folder / "checkpoints" / model,
        architecture=replace(architecture, mixture=None),
        training=training,
        mixed=architecture.mixture is not None,
    )
    mix_model(
        folder / "models" / model / "network",
        folder / "tokens",
        folder / "models" / model,
        mixture=architecture.mixture,
        seed=training.seed,
        device=training.device,
    )
