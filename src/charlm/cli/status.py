"""`charlm status`: what is made, what is stale, and what a rerun would do."""

import click

from charlm.cli.output import write


@click.command("status", short_help="Show what is made, how long it took, and what is stale.")
@click.argument("folder", metavar="FOLDER")
@click.argument("config", metavar="[CONFIG]", required=False)
def command(folder: str, config: str | None) -> None:
    """Show each stage of the results in FOLDER: its time, the size of its files and its state.

    Run it in the folder where `charlm run` runs, with the same CONFIG.
    """
    from charlm.pipeline.project import check_installed

    check_installed("status")
    from charlm.evaluation.leaders import leaders
    from charlm.pipeline.status import describe, status

    for line in describe(status(folder, config)):
        write(f"{line}\n")
    if best := leaders(folder):
        write(f"best model: {best}\n")
