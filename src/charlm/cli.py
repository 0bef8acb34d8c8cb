"""The command `charlm`: let a trained model write, score text, train one, or check results."""

import codecs
import errno
import json
import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import tee
from pathlib import Path
from typing import Any

import click

from charlm import __version__
from charlm.errors import CharlmError
from charlm.settings import Architecture, TrainingSettings

EXAMPLES = """\b
Examples:
  charlm sample results/movie-reviews/models/lstm --prompt "The film "
  charlm sample results/movie-reviews/models/gru --temperature 0.5 --stop . --number 5
  charlm sample results/movie-reviews/models/gru --prompts beginnings.txt --json > samples.jsonl
  charlm score results/movie-reviews/models/lstm review.txt another.txt
  charlm config my.yaml > my.json && charlm train my.json lstm
  sort -u titles.txt | charlm score --lines results/movie-reviews/models/lstm | sort -g
  charlm verify results/movie-reviews
"""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What follows `charlm` on the command line; None for the process's own.

    Returns:
        The exit status: 0; 1 after lines that say what is wrong; 2 where the usage is wrong.
    """
    status: int | None = None
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        with commands.make_context("charlm", given) as context:
            status = commands.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        place = where.command_path if where else "charlm"
        message = " ".join(error.format_message().split())
        stop = "" if message.endswith((".", "?")) else "."
        return _failed(f"{message}{stop} See {place} --help.", error.exit_code)
    except BrokenPipeError:
        _discard_output()  # the reader has seen enough
    except KeyboardInterrupt:
        return 130
    except CharlmError as error:
        return _failed(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        full = error.errno in FULL
        advice = "free some space, or write elsewhere" if full else "name another"
        return _failed(f"{place}{error.strerror or error}; {advice}")
    except MemoryError:
        return _failed("out of memory; close other programs, or give less text at a time")
    return status or 0


def _failed(line: str, status: int = 1) -> int:
    print(f"charlm: {line}", file=sys.stderr)
    return status


def _write(text: str) -> None:
    """Write to standard output at once, as UTF-8; file names that are not UTF-8 as they are.

    An unbuffered stream may write a part and report no error, so what is left is written again.
    """
    if sys.stdout is None:
        raise CharlmError("standard output: closed; give it a file, a pipe or a terminal")
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[sys.stdout.buffer.write(data) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        error.filename = "standard output"
        raise


def _discard_output() -> None:
    """Let what Python still holds for standard output go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(epilog=EXAMPLES, no_args_is_help=False)
@click.version_option(__version__, message="charlm %(version)s")
def commands() -> None:
    """Work with the models that a run of the workflow has trained, or check it."""


model_argument = click.argument("model", metavar="MODEL")
device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Where to compute: auto, cpu, cuda, cuda:N or mps.",
)

# PyTorch takes seconds to import: help and mistakes need not wait for it.


@commands.command("sample", short_help="Let a model write.")
@model_argument
@click.option("--prompt", help="Text to go on from.")
@click.option("--prompts", metavar="FILE", help="File of prompts, one a line.")
@click.option(
    "--length", type=int, default=400, show_default=True, help="The most symbols to write."
)
@click.option(
    "--temperature",
    type=float,
    default=0.8,
    show_default=True,
    help="Low is safe, high is bold, 0 the likeliest.",
)
@click.option("--top-k", type=int, help="Draw from that many likeliest symbols.")
@click.option("--top-p", type=float, help="Draw from the likeliest of this probability.")
@click.option("--stop", metavar="TEXT", help="End a sample where this would stand.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the first sample of each prompt."
)
@click.option("--number", type=int, default=1, show_default=True, help="Samples of each prompt.")
@click.option(
    "--on-unknown",
    type=click.Choice(["error", "replace", "skip"]),
    default="error",
    show_default=True,
    help="What to do with characters of a prompt that the model does not know.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines, all settings in each.")
@device_option
def _sample(
    model: str,
    prompt: str | None,
    prompts: str | None,
    number: int,
    as_json: bool,
    device: str,
    **settings: Any,
) -> None:
    """Let the model in folder MODEL write.

    One sample appears as it is drawn. The same seed gives the same text.
    """
    if prompt is not None and prompts is not None:
        raise click.UsageError("--prompt and --prompts exclude each other.")
    if number < 1:
        raise CharlmError(f"--number: {number} is not 1 or more")
    from charlm.model.generation import encode_prompt
    from charlm.model.sample_model import read_prompts, sample_record
    from charlm.model.sampling import SampleRequest
    from charlm.model.trained_model import load

    seed = settings.pop("seed")
    firsts = [
        SampleRequest(each, seed=seed, **settings)
        for each in ([prompt or ""] if prompts is None else read_prompts(prompts))
    ]
    trained = load(model, device=device)
    for first in firsts:
        encode_prompt(first, trained.vocabulary)  # refuse unknown characters before any output
    if number == len(firsts) == 1 and not as_json:
        _write(firsts[0].prompt)
        for piece in trained.pieces(firsts[0]):
            _write(piece)
        _write("\n")
        return
    requests = (replace(first, seed=seed + count) for first in firsts for count in range(number))
    again, drawn = tee(requests)
    for request, text in zip(again, trained.texts(drawn), strict=True):
        if as_json:
            _write(json.dumps(sample_record(request, text), ensure_ascii=False) + "\n")
        else:
            _write(f"{request.prompt}{text}\n\n")


@commands.command("score", short_help="Say how well a model foresees a text.")
@model_argument
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--lines", is_flag=True, help="Score each line, and print it.")
@device_option
def _score(model: str, files: Sequence[str], lines: bool, device: str) -> None:
    """Say how well the model in folder MODEL foresees a text.

    Print, for each FILE as a document of its own, the bits that a character costs the model, the
    number of characters, and the file. The fewer bits, the less the text surprises it. Without a
    FILE, or for -, read standard input.
    """
    from charlm.model.trained_model import load

    trained = load(model, device=device)
    for name, text in _texts(files or ["-"], lines):
        bits = trained.score(text) / math.log(2)
        _write(f"{bits:.4f}\t{len(text)}\t{name}\n")


def _texts(files: Sequence[str], lines: bool) -> Iterator[tuple[str, str]]:
    """Yield each file's name and text, or each line that is not empty, as its own name."""
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


@commands.command("config", short_help="Print a configuration with all its defaults, as JSON.")
@click.argument("file", metavar="FILE")
def _config(file: str) -> None:
    """Check the configuration in a YAML FILE, and print it with every key, as JSON.

    `charlm train` takes that JSON on a machine without pydantic and YAML.
    """
    _write(json.dumps(_resolved(file), indent=1, ensure_ascii=False) + "\n")


@commands.command("train", short_help="Train a model as the workflow does, without Snakemake.")
@click.argument("config", metavar="CONFIG")
@click.argument("model", metavar="MODEL")
@click.option(
    "--results",
    metavar="FOLDER",
    help="Where vocabulary.json and tokens/ are, and models/MODEL/ goes  [default: results/ and "
    "the corpus's name]",
)
def _train(config: str, model: str, results: str | None) -> None:
    """Train a MODEL (NAME.seed1, say) of a CONFIG, in YAML or its JSON.

    It is trained on an encoded corpus: what the workflow has made up to `snakemake encode`. A
    training that was interrupted goes on when this is run again.
    """
    resolved = _resolved(config)
    models = resolved["models"]
    if model not in models:
        raise CharlmError(
            f"{config}: there is no model '{model}'; choose one of {', '.join(models)}"
        )
    folder = Path(results or Path("results", resolved["corpus"]["name"]))
    values = dict(models[model])
    place = f"{config}: models.{model}"
    training = TrainingSettings.from_mapping(values.pop("training"), f"{place}.training")
    architecture = Architecture.from_mapping(values, place)
    from charlm.pipeline.model_dependencies import ModelDependencies
    from charlm.training.train_model import train_model

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    models[model] = asdict(architecture) | {"training": asdict(training)}
    ModelDependencies(resolved, folder, models=[model]).check(config)
    train_model(
        folder / "vocabulary.json",
        folder / "tokens",
        folder / "models" / model,
        folder / "checkpoints" / model,
        architecture=architecture,
        training=training,
    )


def _resolved(file: str) -> dict[str, Any]:
    """Return a configuration with all keys: from YAML, or as JSON that `charlm config` printed."""
    if file.endswith(".json"):
        try:
            config: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8-sig"))
            if config["corpus"]["name"] and all(
                isinstance(model["training"], dict) for model in config["models"].values()
            ):
                return config
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        raise CharlmError(f"{file}: not what `charlm config` prints; make it from the YAML anew")
    try:
        from charlm.pipeline.config import load_file, resolve
    except ImportError as error:
        raise CharlmError(
            f"{file}: {error.name} is missing here; where it is not, "
            f"run `charlm config {file} > config.json`, and use that"
        ) from None
    return resolve(load_file(file), file)


@commands.command("verify", short_help="Say whether results are those of their record.")
@click.argument("folder", metavar="FOLDER")
def _verify(folder: str) -> int:
    """Say whether the results in FOLDER are those of their record.

    Hash the files again and print a line for each that is missing, changed or added since
    `snakemake --cores all crate` recorded them. The record is trusted as far as its digest, which
    is printed: compare it with one from its maker.
    """
    from charlm.pipeline.verification import Record

    record = Record(folder)
    different = False
    for line in record.differences():
        different = True
        _write(f"{line}\n")
    if not different:
        _write(f"all {len(record.hashes)} files are as recorded; the record is {record.digest}\n")
    return int(different)


@commands.command("reproduce", short_help="Run again what made results, and compare.")
@click.argument("folder", metavar="FOLDER")
@click.option("--directory", help="Where to run  [default: a temporary folder]")
@click.option("--cores", default="all", show_default=True, help="Cores to use.")
def _reproduce(folder: str, directory: str | None, cores: str) -> int:
    """Run again what made the results in FOLDER, and compare.

    Run again, elsewhere, with the configuration and the workflow of the record, and print a line
    for each file that came out otherwise. Run this where the first run was, if its corpus is a file
    there, and only for a folder whose code you would run.
    """
    from charlm.pipeline.verification import reproduce

    different = False
    with nullcontext(directory) if directory else tempfile.TemporaryDirectory() as place:
        for line in reproduce(folder, place, cores=cores):
            different |= not line.startswith("note:")
            _write(f"{line}\n")
    if not different:
        _write("the same files came out\n")
    return int(different)


if __name__ == "__main__":
    sys.exit(main())
