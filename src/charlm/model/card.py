"""The model card: what a model is, how good it is, and how to use it, as the Hub reads it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from charlm.files import write_text
from charlm.model.store import read_description

CARD = """\
---
{header}---

# {name}

A character language model: it guesses the next character of a text, and so can write one. Made by
charlm from the corpus `{corpus}`.

| | |
| --- | --- |
| architecture | {architecture}, {parameters:,} parameters |
| symbols | {symbols:,} ({unit}s) |
| training | {steps:,} steps, {device}, {precision} |

## How good it is

Bits per character of held-out documents, from a full pass in order; fewer are better. Intervals are
95 % bootstrap intervals over documents.

| | validation | test |
| --- | --- | --- |
{scores}

## How to use it

```python
import charlm

model = charlm.load("path/of/this/folder")
print(model.generate("Once ", length=200, temperature=0.7)[0])
print(model.score("A text."), "nats per character")
```

```
charlm sample path/of/this/folder --prompt "Once "
```

`model.safetensors` holds the weights, named as in `torch.nn.{cell_name}`; `model.json` all else,
the vocabulary too.

## What it is not good for

It has learned how its training text is spelled, not what is true. It repeats the habits of that
text, unwelcome ones too, and may repeat passages of it word for word.
"""


def write_model_card(
    model_folder: str | Path,
    metrics: str | Path,
    baselines: str | Path,
    card: str | Path,
    *,
    corpus: str,
) -> None:
    """Write the model card, Markdown with the metadata header of the Hugging Face Hub.

    Args:
        model_folder: The folder of the trained model.
        metrics: Its scores.
        baselines: The baselines' scores.
        card: The file to write, `README.md`.
        corpus: The name of the corpus.

    Raises:
        CharlmError: The model cannot be read.
    """
    name = Path(model_folder).name
    description = read_description(model_folder)
    settings, vocabulary = description["architecture"], description["vocabulary"]
    symbols = len(vocabulary["symbols"])
    scores = json.loads(Path(metrics).read_text(encoding="utf-8"))
    others = json.loads(Path(baselines).read_text(encoding="utf-8"))
    rows = {name: scores}
    for key, record in others.items():
        rows[baseline_label(key, record)] = record
    write_text(
        card,
        CARD.format(
            header=yaml.safe_dump(_header(name, corpus, settings["cell"], scores), sort_keys=False),
            name=name,
            corpus=corpus,
            cell_name=settings["cell"].upper(),
            architecture=_architecture(settings, symbols),
            symbols=symbols,
            unit=vocabulary["unit"],
            scores="\n".join(
                f"| {label} | {_score(record['validation'])} | {_score(record['test'])} |"
                for label, record in rows.items()
            ),
            **{key: scores[key] for key in ("parameters", "steps", "device", "precision")},
        ),
    )


def baseline_label(name: str, record: Mapping[str, Any]) -> str:
    """Return the name of a baseline for readers: an n-gram's is that of its order."""
    return f"{record['order']}-gram" if "order" in record else name


def _architecture(settings: Mapping[str, Any], symbols: int) -> str:
    """Say in words what the model is made of."""
    size = symbols if settings["hidden_size"] == "vocabulary" else settings["hidden_size"]
    layers = f"{settings['num_layers']} × {settings['cell'].upper()}, {size} hidden units"
    members = settings.get("members", 1)
    network = layers if members == 1 else f"an ensemble of {members}, each {layers}"
    if not settings.get("ngram_order"):
        return network
    share = (
        f"{settings['ngram_order']}-gram model of the training text ({settings['ngram_weight']:g})"
    )
    return f"{network}, averaged with the {share}"


def _header(name: str, corpus: str, cell: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata: what the Hub calls a model index holds the scores."""
    return {
        "library_name": "charlm",
        "pipeline_tag": "text-generation",
        "tags": ["character-language-model", cell],
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": corpus, "type": corpus, "split": split},
                        "metrics": [
                            {
                                "name": "bits per character",
                                "type": "bits_per_character",
                                "value": round(scores[split]["bits_per_character"], 4),
                            }
                        ],
                    }
                    for split in ("validation", "test")
                    if scores[split]
                ],
            }
        ],
    }


def _score(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "–"
    text = f"{record['bits_per_character']:.3f}"
    if record["bits_per_character_interval"]:
        text += " ({:.3f} to {:.3f})".format(*record["bits_per_character_interval"])
    return text
