"""`charlm reproduce`: repeat the run that made some results, and compare."""

import tempfile
from contextlib import nullcontext

import click

from charlm.cli.output import write


@click.command("reproduce", short_help="Repeat the run that made some results, and compare.")
@click.argument("folder", metavar="FOLDER")
@click.option("--directory", help="Empty folder to run in  [default: a temporary folder]")
@click.option("--cores", default="all", show_default=True, help="Number of cores.")
def command(folder: str, directory: str | None, cores: str) -> int:
    """Repeat the run that made the results in FOLDER, and compare.

    Run the recorded workflow with the recorded configuration in another folder, and print one line
    for each file that differs. If the corpus is a file, start this where the first run was started.
    This runs the code that FOLDER's record names, and prints its digest before: use it only if you
    trust the source.
    """
    from charlm.pipeline.reproduction import reproduce

    different = False
    with nullcontext(directory) if directory else tempfile.TemporaryDirectory() as place:
        for line in reproduce(folder, place, cores=cores):
            different |= not line.startswith("note:")
            write(f"{line}\n")
    if not different:
        write("all files are the same\n")
    return int(different)
