"""`charlm audit`: what a model gives away about its training text."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from charlm.cli.model_options import device_option, model_argument
from charlm.cli.output import write

if TYPE_CHECKING:
    from charlm.evaluation.audit import Audit


@click.command("audit", short_help="Measure how much a model remembers of its training text.")
@model_argument
@click.option("--output", metavar="FILE", help="JSON file to write as well.")
@device_option
def command(model: str, output: str | None, device: str) -> None:
    """Measure what the model in folder MODEL gives away about its training text.

    MODEL is results/CORPUS/models/NAME, beside the corpus that it was trained on. Print how many
    passages of the training text the model continues word for word, whether its scores tell
    training documents from others, and the exposure of the canaries (corpus.canaries).
    """
    # PyTorch takes seconds to import; --help and errors do not wait for it.
    from charlm.evaluation.audit import audit

    results = Path(model).absolute().parent.parent
    write(describe(audit(model, results, output, device=device)))


def describe(record: "Audit") -> str:
    """Return the findings in words, one per line."""
    lines = []
    for kind, found in record["extraction"].items():
        for who, result in found.items():
            lines.append(
                f"{kind.replace('_', '-')} passages continued word for word by the "
                f"{'n-gram model' if who == 'ngram' else who}: {result['extracted']} of "
                f"{result['passages']} ({result['mean_length']:.1f} of {record['secret']} "
                "characters on average)"
            )
    membership = record["membership"]
    if membership:
        low_high = membership["auc_interval"]
        bounds = " ({:.3f} to {:.3f})".format(*low_high) if low_high else ""
        lines.append(
            f"membership: a training document scores better than a held-out one with probability "
            f"{membership['auc']:.3f}{bounds}; chance is 0.5"
        )
    exposure = record["exposure"]
    if exposure:
        bits = exposure["bits"]
        lines.append(
            f"exposure of {exposure['canaries']} canaries: {sum(bits) / len(bits):.1f} bits on "
            f"average, {max(bits):.1f} at most, of {exposure['most']:.0f}; chance is 1.4"
        )
    return "\n".join(lines) + "\n"
