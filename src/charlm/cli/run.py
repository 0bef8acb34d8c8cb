"""`charlm run`: run the workflow in this folder."""

import os
import shlex
from collections.abc import Sequence

import click

from charlm.cli.output import write


@click.command(
    "run",
    short_help="Run the workflow: from your text to models and a report.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("words", metavar="[TARGET]... [CONFIG]", nargs=-1, type=click.UNPROCESSED)
@click.option("--cores", default="all", show_default=True, help="Number of cores.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be done.")
@click.option("--verbose", is_flag=True, help="Show all messages of Snakemake.")
def command(words: Sequence[str], cores: str, dry_run: bool, verbose: bool) -> None:
    """Run the workflow in this folder, and print the command that does the same.

    A TARGET is a stage (ingest, clean, vocabulary, encode, baseline, train, evaluate, sample,
    report) or a file in results/; without one, everything is made. CONFIG is a YAML file; without
    one it is my.yaml, else config/config.yaml in this folder, else the demo. If a run was
    interrupted, the same command resumes it. Other options go to Snakemake; write their values
    with =, as in --forcerun=train.
    """
    from charlm.pipeline.project import check_installed

    check_installed("run")
    from charlm.pipeline.run import environment, python_command, snakemake_command

    flags = {"--dry-run": dry_run, "--verbose": verbose}
    options = [flag for flag, given in flags.items() if given]
    snakemake = snakemake_command(words, cores=cores, options=options)
    write(f"{shlex.join(snakemake)}\n")
    started = python_command(snakemake)
    # The exit status and the reaction to Ctrl-C are then those of Snakemake.
    os.execve(started[0], started, environment())
