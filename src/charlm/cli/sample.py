"""`charlm sample`: sample text from a model."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import tee
from typing import TYPE_CHECKING

import click

from charlm.cli.model_options import best_model, check_model, device_option
from charlm.cli.output import for_terminal, write
from charlm.errors import CharlmError
from charlm.escaping import json_text

if TYPE_CHECKING:
    from charlm.model.sampling import OnUnknown


@click.command("sample", short_help="Sample text from a model.")
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--prompt", help="Text to continue.")
@click.option("--prompts", metavar="FILE", help="File with one prompt per line.")
@click.option(
    "--length", type=int, default=400, show_default=True, help="Maximum number of symbols."
)
@click.option(
    "--temperature",
    type=float,
    default=0.8,
    show_default=True,
    help="Lower is more conservative, higher more varied; 0 always takes the likeliest symbol.",
)
@click.option("--top-k", type=int, help="Top-k sampling: draw from this many likeliest symbols.")
@click.option(
    "--top-p",
    type=float,
    help="Nucleus (top-p) sampling: draw from the likeliest symbols whose probabilities add up to "
    "this.",
)
@click.option("--stop", metavar="TEXT", help="End a sample before this text.")
@click.option(
    "--end/--no-end",
    default=True,
    show_default=True,
    help="Whether the end of a document ends a sample; otherwise it is never drawn.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of each prompt's first sample."
)
@click.option(
    "--num-samples",
    "--number",
    type=int,
    default=1,
    show_default=True,
    help="Number of samples for each prompt; their seeds count up.",
)
@click.option(
    "--on-unknown",
    type=click.Choice(["error", "replace", "skip"]),
    default="error",
    show_default=True,
    help="What to do with characters of a prompt that are not in the vocabulary.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines with all settings.")
@click.option("--raw", is_flag=True, help="Do not escape control characters on a terminal.")
@device_option
def command(
    *,
    model: str | None,
    prompt: str | None,
    prompts: str | None,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stop: str | None,
    end: bool,
    seed: int,
    num_samples: int,
    on_unknown: "OnUnknown",
    as_json: bool,
    raw: bool,
    device: str,
) -> None:
    """Sample text from the model in folder MODEL; without one, from the best of the results here.

    A single sample appears while it is drawn. The same seed gives the same text.
    """
    if prompt is not None and prompts is not None:
        raise click.UsageError("--prompt and --prompts exclude each other.")
    if num_samples < 1:
        raise CharlmError(f"--num-samples: {num_samples} is not 1 or more; change it")
    # PyTorch takes seconds to import; --help and errors do not wait for it.
    from charlm.model.generation import encode_prompt
    from charlm.model.sample_model import read_prompts, sample_record
    from charlm.model.sampling import SampleRequest
    from charlm.model.trained_model import load

    if model is None:
        model = best_model()
        click.echo(f"charlm: {model} writes", err=True)
    check_model(model)
    with errors_of_options():
        firsts = [
            SampleRequest(
                each,
                length=length,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                seed=seed,
                stop=stop,
                end=end,
                on_unknown=on_unknown,
            )
            for each in ([prompt or ""] if prompts is None else read_prompts(prompts))
        ]
        trained = load(model, device=device)
        for first in firsts:
            encode_prompt(first, trained.vocabulary)  # refuse unknown characters before any output
    show = str if raw else for_terminal
    if num_samples == len(firsts) == 1 and not as_json:
        write(show(firsts[0].prompt))
        for piece in trained.pieces(firsts[0]):
            write(show(piece))
        write("\n")
        return
    again, drawn = tee(each for first in firsts for each in first.repeated(num_samples))
    for request, sample in zip(again, trained.samples(drawn), strict=True):
        if as_json:
            write(json_text(sample_record(request, sample)) + "\n")
        else:
            write(show(f"{request.prompt}{sample.text}") + "\n\n")


@contextmanager
def errors_of_options() -> Iterator[None]:
    """Name the options of this command in errors, in place of keys of the configuration."""
    try:
        yield
    except CharlmError as error:
        named = re.sub(r"(^|set )sampling\.(\w+)", lambda m: m[1] + _option(m[2]), str(error))
        raise CharlmError(named) from None


def _option(key: str) -> str:
    """Return the option that stands for a key of `sampling`."""
    names = {"prompts": "prompt", "temperatures": "temperature"}
    return f"--{names.get(key, key).replace('_', '-')}"
