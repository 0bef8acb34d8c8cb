"""`charlm init`: write a first configuration for a file."""

import sys
from pathlib import Path

import click

from charlm.cli.output import write
from charlm.errors import CharlmError
from charlm.files import write_text


@click.command("init", short_help="Look at a file of yours, and write a configuration for it.")
@click.argument("file", metavar="FILE")
@click.option("--column", help="The column with the text  [default: the likeliest, or asked for]")
@click.option("--output", default="my.yaml", show_default=True, help="Configuration to write.")
def command(file: str, column: str | None, output: str) -> None:
    """Look at a FILE (.csv, .tsv, .jsonl, .parquet or .txt), and write a configuration for it.

    Print what the file seems to hold. Then `charlm run` trains models of its text.
    """
    from charlm.pipeline.project import check_installed

    check_installed("init")
    from charlm.pipeline.first_config import LITTLE, first_config, look_at

    if Path(output).exists():
        raise CharlmError(f"{output}: exists already; remove it, or name another by --output")
    source = look_at(file)
    names = list(source.columns)
    if column is None:
        column = _choose(file, source.likely_columns() or names)
    elif column not in names:
        raise CharlmError(f"{file}: no column '{column}'; choose one of {', '.join(names)}")
    chosen = f", column '{column}'" if source.format != "text" else ""
    write(f"{file}: {source.format}{chosen}, {source.describe(column)}\n")
    if source.characters(column) < LITTLE:
        write("That is little text: samples will hardly make sense. Ten times as much helps.\n")
    write_text(output, first_config(source, column, output))
    write(f"{output} is written. Next: charlm run {output}\n")


def _choose(file: str, likely: list[str]) -> str:
    """Return the likeliest column, or the one that the user chooses if several are likely."""
    if len(likely) == 1 or not (sys.stdin and sys.stdin.isatty()):
        if len(likely) > 1:
            others = ", ".join(likely[1:])
            write(f"{file}: several columns hold text; --column takes another: {others}\n")
        return likely[0]
    return str(
        click.prompt(
            f"{file}: which column holds the text?",
            type=click.Choice(likely),
            default=likely[0],
            err=True,
        )
    )
