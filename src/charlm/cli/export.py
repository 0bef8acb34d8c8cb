"""`charlm export`: a model for other programs."""

import click

from charlm.cli.model_options import model_argument
from charlm.cli.output import write


@click.group("export", short_help="Export a model for other programs.")
def command() -> None:
    """Export a trained model for other programs."""


@command.command("hub", short_help="Make a repository of the Hugging Face Hub.")
@model_argument
@click.argument("destination", metavar="DESTINATION")
def hub(model: str, destination: str) -> None:
    """Write the model in folder MODEL into the folder DESTINATION, ready for the Hub.

    The library transformers loads the folder without charlm, and computes the same scores. The
    model is complete: network, n-grams and words. Nothing is uploaded.
    """
    # PyTorch takes seconds to import; --help and errors do not wait for it.
    from charlm.model.hub.export_hub import export_hub

    export_hub(model, destination)
    write(f"{destination}: written; AutoModelForCausalLM needs trust_remote_code=True\n")


@command.command("space", short_help="Make a static Space of the Hugging Face Hub.")
@click.argument("results", metavar="RESULTS")
@click.argument("destination", metavar="DESTINATION")
def space(results: str, destination: str) -> None:
    """Write the report in folder RESULTS into the folder DESTINATION, as a page for the Hub.

    Visitors read the report and run the models in their browsers. Nothing is uploaded.
    """
    from charlm.pipeline.project import check_installed

    check_installed("export")
    from charlm.report.export_space import export_space

    export_space(results, destination)
    write(f"{destination}: written\n")
