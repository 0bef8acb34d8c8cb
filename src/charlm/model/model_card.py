"""The model card: what a model is, how good it is, and how to use it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import yaml

from charlm.checksums import read_json
from charlm.files import write_text
from charlm.model.baseline_labels import baseline_label
from charlm.model.store import read_description
from charlm.settings import Architecture, Cell, GateSplit

IN_SAMPLE = """
The gate of the mixture learned on the validation text, so the validation score is in-sample. The
test score is not.
"""

CARD = """\
---
{header}---

# {name}

A character language model: it predicts the next character of a text, and can so generate text.
Trained by charlm on the corpus `{corpus}`.
{description}
| | |
| --- | --- |
| architecture | {architecture}, {parameters:,} parameters |
| vocabulary | {vocabulary_size:,} symbols ({unit}s) |
| training | {steps:,} steps, {device}, {precision} |

## Scores

Bits per character of held-out documents; lower is better. Intervals are 95 % bootstrap intervals
over documents. Baselines marked "adapts" go on learning from the held-out text as they read it; the
model does not.

| | validation | test |
| --- | --- | --- |
{scores}

{strongest}
{footnote}
## Usage

```python
import charlm

model = charlm.load("path/of/this/folder")
print(model.generate("Once ", length=200, temperature=0.7)[0])
print(model.score("A text."), "nats per character")
```

```
charlm sample path/of/this/folder --prompt "Once "
```

`model.safetensors` holds the weights, named as in `torch.nn.{cell_name}`. `model.json` holds
everything else, including the vocabulary.

## Limitations

The model has learned how its training text is written, not what is true. It reproduces the biases
of that text and may repeat passages of it word for word.
{audit}"""

AUDIT = """
Measured: given {prefix} characters of a passage of the training text, the model continues {read} of
{passages} passages word for word for {secret} characters, and {unread} of {others} passages that it
has not read.{membership}{exposure}
"""


class Score(TypedDict):
    """The score of a split, as far as the card shows it."""

    bits_per_character: float
    bits_per_character_interval: list[float] | None


class Scores(TypedDict):
    """The scores of a model or baseline; that of an empty split is None."""

    validation: Score | None
    test: Score | None


class Extraction(TypedDict):
    """How many passages a model continues word for word."""

    passages: int
    extracted: int


class Membership(TypedDict):
    """How well scores tell training documents from others."""

    auc: float
    auc_interval: list[float] | None


class Exposure(TypedDict):
    """The exposure of canaries."""

    bits: list[float]
    most: float


class Audit(TypedDict):
    """What the card shows of `audit.json`."""

    prefix: int
    secret: int
    extraction: Mapping[str, Mapping[str, Extraction]]
    membership: Membership | None
    exposure: Exposure | None


class Metrics(Scores):
    """What the card shows of `metrics.json`."""

    parameters: int
    steps: int
    device: str
    precision: str
    gate_learned_on: GateSplit | None


def write_model_card(
    model_folder: str | Path,
    metrics: str | Path,
    baselines: str | Path,
    card: str | Path,
    *,
    corpus: str,
    prompts: Sequence[str] = (),
    license: str | None = None,
    languages: Sequence[str] = (),
    dataset: str | None = None,
    description: str | None = None,
) -> None:
    """Write the model card: Markdown with the metadata header of the Hugging Face Hub.

    Args:
        model_folder: The folder of the trained model, and of its `audit.json` if it was audited.
        metrics: The file of its scores, `metrics.json`.
        baselines: The file of the baselines' scores, `baselines.json`.
        card: The file to write, `README.md`.
        corpus: The name of the corpus.
        prompts: Texts to continue, which the Hub offers to try.
        license: The license of the model.
        languages: The languages of the text.
        dataset: The data set that the text is from.
        description: A paragraph about the text.

    Raises:
        CharlmError: The model cannot be read.
    """
    name = Path(model_folder).name
    audit = Path(model_folder) / "audit.json"
    model = read_description(model_folder)
    architecture, vocabulary = model.architecture, model.vocabulary
    scores = read_json(metrics, Metrics)
    others = read_json(baselines, dict[str, Scores])
    rows: dict[str, Scores] = {name: scores}
    rows |= {baseline_label(key, record): record for key, record in others.items()}
    header = _header(name, dataset or corpus, architecture.cell, scores)
    stated: dict[str, object] = {
        "license": license,
        "language": list(languages),
        "datasets": [dataset] if dataset else [],
        "widget": [{"text": prompt} for prompt in prompts if prompt],
    }
    header = {key: value for key, value in stated.items() if value} | header
    text = CARD.format(
        header=yaml.safe_dump(header, sort_keys=False),
        name=name,
        corpus=corpus,
        description=f"\n{description.strip()}\n" if description else "",
        architecture=_describe(architecture, len(vocabulary)),
        parameters=scores["parameters"],
        vocabulary_size=len(vocabulary),
        unit=vocabulary.unit,
        steps=scores["steps"],
        device=scores["device"],
        precision=scores["precision"],
        scores="\n".join(
            f"| {label} | {_format(record['validation'])} | {_format(record['test'])} |"
            for label, record in rows.items()
        ),
        strongest=_describe_strongest(scores, others),
        footnote=IN_SAMPLE if scores["gate_learned_on"] == "validation" else "",
        cell_name=architecture.cell.upper(),
        audit=_describe_audit(read_json(audit, Audit)) if audit.exists() else "",
    )
    write_text(card, text)


def _describe_strongest(scores: Scores, baselines: Mapping[str, Scores]) -> str:
    """Say which baseline is the strongest on the test split, or else on the validation split."""
    split: Literal["test", "validation"] = "test" if scores["test"] else "validation"
    bits = {
        baseline_label(name, record): score["bits_per_character"]
        for name, record in baselines.items()
        if (score := record[split])
    }
    if not bits:
        return "No baseline was scored."
    return f"The strongest baseline on the {split} split is {min(bits, key=bits.__getitem__)}."


def _describe(architecture: Architecture, vocabulary_size: int) -> str:
    """Return the architecture in words."""
    size = architecture.hidden_size
    if size == "vocabulary":
        size = vocabulary_size
    layers = f"{architecture.num_layers} × {architecture.cell.upper()}, {size} hidden units"
    network = (
        layers
        if architecture.members == 1
        else f"an ensemble of {architecture.members}, each {layers}"
    )
    if not architecture.mixture:
        return network
    words = ", with experts of words" if architecture.mixture.experts else ""
    return (
        f"{network}, in a gated mixture with the n-grams of its training text up to n = "
        f"{architecture.mixture.order}{words}"
    )


def _describe_audit(audit: Audit) -> str:
    """Return a paragraph on what the model gives away about its training text."""
    read, unread = (audit["extraction"][kind]["model"] for kind in ("training", "held_out"))
    membership, exposure = audit["membership"], audit["exposure"]
    told_apart = exposed = ""
    if membership:
        interval = membership["auc_interval"]
        bounds = "; 95 % interval {:.3f} to {:.3f}".format(*interval) if interval else ""
        told_apart = (
            " A training document scores better than another one with probability "
            f"{membership['auc']:.3f} (chance is 0.5{bounds})."
        )
    if exposure:
        mean = sum(exposure["bits"]) / len(exposure["bits"])
        exposed = (
            f" The exposure of {len(exposure['bits'])} canaries is {mean:.1f} of "
            f"{exposure['most']:.0f} bits on average (chance is 1.4)."
        )
    return AUDIT.format(
        prefix=audit["prefix"],
        secret=audit["secret"],
        read=read["extracted"],
        passages=read["passages"],
        unread=unread["extracted"],
        others=unread["passages"],
        membership=told_apart,
        exposure=exposed,
    )


def _header(name: str, dataset: str, cell: Cell, scores: Scores) -> dict[str, object]:
    """Return the metadata for the Hub, which calls the scores a model index."""
    splits = {"validation": scores["validation"], "test": scores["test"]}
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": dataset, "type": dataset, "split": split},
            "metrics": [
                {
                    "name": "bits per character",
                    "type": "bits_per_character",
                    "value": round(score["bits_per_character"], 4),
                }
            ],
        }
        for split, score in splits.items()
        if score
    ]
    return {
        "library_name": "charlm",
        "pipeline_tag": "text-generation",
        "tags": ["character-language-model", cell],
        "model-index": [{"name": name, "results": results}],
    }


def _format(score: Score | None) -> str:
    """Return a score as a cell of the table.

    >>> _format({"bits_per_character": 2.1, "bits_per_character_interval": [2.0, 2.25]})
    '2.100 (2.000 to 2.250)'
    """
    if score is None:
        return "–"
    text = f"{score['bits_per_character']:.3f}"
    if score["bits_per_character_interval"]:
        text += " ({:.3f} to {:.3f})".format(*score["bits_per_character_interval"])
    return text
