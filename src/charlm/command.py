"""The command `charlm`: let a trained model write, score text, train one, or check results."""

import argparse
import json
import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

from charlm import __version__
from charlm.errors import CharlmError

EXAMPLES = """\
examples:
  charlm sample results/movie-reviews/models/lstm --prompt "The film "
  charlm sample results/movie-reviews/models/gru --temperature 0.5 --stop . --number 5
  charlm sample results/movie-reviews/models/gru --prompts beginnings.txt --json > samples.jsonl
  charlm score results/movie-reviews/models/lstm review.txt another.txt
  charlm config my.yaml > my.json && charlm train my.json lstm
  sort -u titles.txt | charlm score --lines results/movie-reviews/models/lstm | sort -g
  charlm verify results/movie-reviews
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 1 after lines that say what is wrong."""
    options = _parser().parse_args(arguments)
    status: int | None = None
    try:
        status = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. What Python still holds for it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    except CharlmError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}; name another")
    return status or 0


def _failed(line: str) -> int:
    print(f"charlm: {line}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="charlm",
        description="Work with the models that a run of the workflow has trained, or check it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"charlm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sample = commands.add_parser(
        "sample",
        help="let a model write",
        description="Let a model write. One sample appears as it is drawn. The same seed gives the "
        "same text.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    sample.set_defaults(run=_sample)
    beginning = sample.add_mutually_exclusive_group()
    beginning.add_argument("--prompt", default="", help="text to go on from")
    beginning.add_argument("--prompts", metavar="FILE", help="file of prompts, one a line")
    sample.add_argument("--length", type=int, default=400, help="the most symbols to write")
    sample.add_argument(
        "--temperature", type=float, default=0.8, help="low is safe, high is bold, 0 the likeliest"
    )
    sample.add_argument("--top-k", type=int, help="draw from that many likeliest symbols")
    sample.add_argument("--top-p", type=float, help="draw from the likeliest of this probability")
    sample.add_argument("--stop", metavar="TEXT", help="end a sample where this would stand")
    sample.add_argument("--seed", type=int, default=0, help="of the first sample of each prompt")
    sample.add_argument("--number", type=int, default=1, help="samples of each prompt")
    sample.add_argument(
        "--on-unknown",
        choices=["error", "replace", "skip"],
        default="error",
        help="what to do with characters of a prompt that the model does not know",
    )
    sample.add_argument(
        "--json", action="store_true", help="write JSON lines, all settings in each"
    )

    score = commands.add_parser(
        "score",
        help="say how well a model foresees a text",
        description="Print, for each file as a document of its own, the bits that a character "
        "costs the model, the number of characters, and the file. The fewer bits, the less the "
        "text surprises it.",
    )
    score.set_defaults(run=_score)
    score.add_argument("--lines", action="store_true", help="score each line, and print it")

    for command in (sample, score):
        command.add_argument("model", metavar="MODEL", help="folder of a trained model")
        command.add_argument(
            "--device",
            choices=["auto", "cpu", "cuda", "mps"],
            default="cpu",
            help="where to compute",
        )
    score.add_argument(
        "files", metavar="FILE", nargs="*", default=["-"], help="default: -, the input"
    )
    _add_training(commands)
    _add_checks(commands)
    return parser


def _add_training(commands: Any) -> None:
    config = commands.add_parser(
        "config",
        help="print a configuration with all its defaults, as JSON",
        description="Check a configuration and print it with every key, as JSON that `charlm "
        "train` takes on a machine without pydantic and YAML.",
    )
    config.set_defaults(run=_config)
    config.add_argument("config", metavar="FILE", help="a configuration, in YAML")

    train = commands.add_parser(
        "train",
        help="train a model as the workflow does, without Snakemake",
        description="Train a model of an encoded corpus: what the workflow has made up to "
        "`snakemake encode`. A training that was interrupted goes on when this is run again.",
    )
    train.set_defaults(run=_train)
    train.add_argument("config", metavar="CONFIG", help="a configuration in YAML, or its JSON")
    train.add_argument("model", metavar="MODEL", help="which of its models, NAME.seed1 say")
    train.add_argument(
        "--results",
        metavar="FOLDER",
        help="where vocabulary.json and tokens/ are, and models/MODEL/ goes "
        "(default: results/ and the corpus's name)",
    )


def _add_checks(commands: Any) -> None:
    verify = commands.add_parser(
        "verify",
        help="say whether results are those of their record",
        description="Hash the files of a folder of results again and print a line for each that is "
        "missing, changed or added since `snakemake --cores all crate` recorded them. The record "
        "is trusted as far as its digest, which is printed: compare it with one from its maker.",
    )
    verify.set_defaults(run=_verify)
    verify.add_argument("folder", metavar="FOLDER", help="folder of the results of a corpus")

    reproduce = commands.add_parser(
        "reproduce",
        help="run again what made results, and compare",
        description="Run again, elsewhere, with the configuration and the workflow of the record, "
        "and print a line for each file that came out otherwise. Run this where the first run was, "
        "if its corpus is a file there, and only for a folder whose code you would run.",
    )
    reproduce.set_defaults(run=_reproduce)
    reproduce.add_argument("folder", metavar="FOLDER", help="folder of results with their record")
    reproduce.add_argument("--directory", help="where to run; default: a temporary folder")
    reproduce.add_argument("--cores", default="all", help="cores to use; default: all")


def _verify(options: argparse.Namespace) -> int:
    from charlm.verification import Record

    record = Record(options.folder)
    different = False
    for line in record.differences():
        different = True
        print(line, flush=True)
    if not different:
        print(f"all {len(record.hashes)} files are as recorded; the record is {record.digest}")
    return int(different)


def _reproduce(options: argparse.Namespace) -> int:
    from charlm.verification import reproduce

    different = False
    with (
        nullcontext(options.directory)
        if options.directory
        else tempfile.TemporaryDirectory() as directory
    ):
        for line in reproduce(options.folder, directory, cores=options.cores):
            different |= not line.startswith("note:")
            print(line, flush=True)
    if not different:
        print("the same files came out")
    return int(different)


# PyTorch takes seconds to import: help and mistakes need not wait for it.


def _sample(options: argparse.Namespace) -> None:
    from charlm.sampling import Request, load, read_prompts, sample_record

    requests = [
        Request(
            prompt,
            options.length,
            options.temperature,
            options.top_k,
            options.top_p,
            options.seed + number,
            options.stop,
            options.on_unknown,
        )
        for prompt in (read_prompts(options.prompts) if options.prompts else [options.prompt])
        for number in range(options.number)
    ]
    model = load(options.model, device=options.device)
    if options.json:
        for request, text in zip(requests, model.draw(requests), strict=True):
            print(json.dumps(sample_record(request, text), ensure_ascii=False))
    elif len(requests) == 1:
        pieces = model.pieces(requests[0])
        first = next(pieces)  # an unknown character of the prompt is an error before any output
        for piece in chain([requests[0].prompt, first], pieces, ["\n"]):
            print(piece, end="", flush=True)
    else:
        for request, text in zip(requests, model.draw(requests), strict=True):
            print(f"{request.prompt}{text}\n")


def _score(options: argparse.Namespace) -> None:
    from charlm.sampling import load

    model = load(options.model, device=options.device)
    for name, text in _texts(options.files, options.lines):
        bits = model.score(text) / math.log(2)
        print(f"{bits:.4f}\t{len(text)}\t{name}", flush=True)


def _texts(files: Sequence[str], lines: bool) -> Iterator[tuple[str, str]]:
    """Yield each file's name and text, or each line that is not empty, as its own name."""
    for file in files:
        with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as opened:
            for part in opened if lines else [opened.read()]:
                try:
                    text = part.decode("utf-8")
                except UnicodeDecodeError:
                    raise CharlmError(f"{file}: not UTF-8; save it as UTF-8") from None
                if lines:
                    text = text.rstrip("\r\n")
                if text or not lines:
                    yield text if lines else file, text


def _config(options: argparse.Namespace) -> None:
    print(json.dumps(_resolved(options.config), indent=1, ensure_ascii=False))


def _train(options: argparse.Namespace) -> None:
    config = _resolved(options.config)
    if options.model not in config["models"]:
        raise CharlmError(
            f"{options.config}: there is no model '{options.model}'; "
            f"choose one of {', '.join(config['models'])}"
        )
    from charlm.origins import Origins

    results = Path(options.results or Path("results", config["corpus"]["name"]))
    Origins(config, results, models=[options.model]).check(options.config)
    from charlm.training.trainer import train

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    architecture = dict(config["models"][options.model])
    training = architecture.pop("training")
    train(
        results / "vocabulary.json",
        results / "tokens",
        results / "models" / options.model,
        results / "checkpoints" / options.model,
        architecture=architecture,
        training=training,
    )


def _resolved(file: str) -> dict[str, Any]:
    """Return a configuration with all keys: from YAML, or as JSON that `charlm config` printed."""
    if file.endswith(".json"):
        try:
            config: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
            if all("training" in model for model in config["models"].values()):
                return config
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise CharlmError(f"{file}: not what `charlm config` prints; make it from the YAML anew")
    try:
        from charlm.config import load_file, resolve
    except ImportError as error:
        raise CharlmError(
            f"{file}: {error.name} is missing here; where it is not, "
            f"run `charlm config {file} > config.json`, and use that"
        ) from None
    return resolve(load_file(file), file)


if __name__ == "__main__":
    sys.exit(main())
