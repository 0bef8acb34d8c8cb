"""The command `charlm`: run the workflow, sample from models, score text, verify results."""

import sys
from collections.abc import Sequence

import click

from charlm import __version__
from charlm.cli import (
    audit,
    clean,
    config,
    export,
    init,
    reproduce,
    run,
    sample,
    score,
    status,
    train,
    verify,
)
from charlm.cli.output import discard_output
from charlm.errors import CharlmError
from charlm.escaping import terminal_text
from charlm.files import describe_os_error

EXAMPLES = """\b
Examples:
  charlm init posts.csv --output posts.yaml
  charlm run --dry-run sample my.yaml
  charlm status results/my my.yaml
  charlm sample results/movie-reviews/models/lstm --prompt "The film "
  charlm sample results/movie-reviews/models/gru --temperature 0.5 --stop . --num-samples 5
  charlm sample results/movie-reviews/models/gru --prompts prompts.txt --json > samples.jsonl
  charlm score results/movie-reviews/models/lstm review.txt another.txt
  sort -u titles.txt | charlm score --lines results/movie-reviews/models/lstm | sort -g
  charlm clean --explain my.yaml --rows 5
  charlm config my.yaml > my.json && charlm train my.json lstm
  charlm export hub results/movie-reviews/models/lstm my-model
  charlm audit results/movie-reviews/models/lstm
  charlm verify results/movie-reviews
"""


@click.group(epilog=EXAMPLES, no_args_is_help=False)
@click.version_option(__version__, message="charlm %(version)s")
def commands() -> None:
    """Train character language models on your own text, and use them."""


for _module in (
    *(init, run, status, sample, score, clean, config),
    *(train, export, audit, verify, reproduce),
):
    commands.add_command(_module.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `charlm`.

    Args:
        arguments: The words after `charlm` on the command line; None for those of this process.

    Returns:
        The exit status: 0 for success, 1 after an error message, 2 for wrong usage.
    """
    status: int | None = None
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        with commands.make_context("charlm", given) as context:
            status = commands.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        context_of_error = getattr(error, "ctx", None)
        path = context_of_error.command_path if context_of_error else "charlm"
        message = " ".join(error.format_message().split())
        stop = "" if message.endswith((".", "?")) else "."
        return _fail(f"{message}{stop} See {path} --help.", error.exit_code)
    except BrokenPipeError:  # the reader needs no more, as `head` does
        discard_output()
    except KeyboardInterrupt:
        return 130
    except CharlmError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(describe_os_error(error, "name another"))
    except MemoryError:
        return _fail("out of memory; close other programs, or give less text at a time")
    return status or 0


def _fail(line: str, status: int = 1) -> int:
    print(f"charlm: {terminal_text(line)}", file=sys.stderr)
    return status
