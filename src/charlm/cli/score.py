"""`charlm score`: bits per character of texts under a model."""

import codecs
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import click

from charlm.cli.model_options import check_model, device_option, model_argument
from charlm.cli.output import for_terminal, write
from charlm.errors import CharlmError


@click.command("score", short_help="Score text: bits per character.")
@model_argument
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--lines", is_flag=True, help="Score each line, and print it instead of the file.")
@device_option
def command(model: str, files: Sequence[str], lines: bool, device: str) -> None:
    """Score text: the bits per character of the model in folder MODEL.

    Print one line per FILE: the bits per character, the number of characters, and the file. Lower
    is better. The model reads each FILE as a separate document. Without a FILE, or for -, read
    standard input.
    """
    # PyTorch takes seconds to import; --help and errors do not wait for it.
    from charlm.model.trained_model import load

    check_model(model)
    trained = load(model, device=device)
    for name, text in _texts(files or ["-"], lines):
        bits = trained.score(text) / math.log(2)
        write(for_terminal(f"{bits:.4f}\t{len(text)}\t{name}") + "\n")


def _texts(files: Sequence[str], lines: bool) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each file, or each non-empty line as both name and text."""
    for file in files:
        if file == "-" and sys.stdin is None:
            raise CharlmError("-: standard input is closed; give it a file, a pipe or a terminal")
        with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as opened:
            for number, part in enumerate(opened if lines else [opened.read()]):
                if number == 0:
                    part = part.removeprefix(codecs.BOM_UTF8)
                try:
                    text = part.decode("utf-8")
                except UnicodeDecodeError:
                    place = f" line {number + 1}:" if lines else ""
                    raise CharlmError(f"{file}:{place} not UTF-8; save it as UTF-8") from None
                if lines:
                    text = text.rstrip("\r\n")
                elif not text:
                    raise CharlmError(f"{file}: the text is empty; give at least one character")
                if text:
                    yield text if lines else file, text
