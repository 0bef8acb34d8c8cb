"""The contents of the results folder, as the page shows them."""

import csv
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from charlm.files import sha256_of
from charlm.model.card import baseline_label
from charlm.report import figures
from charlm.report.html import character_name

LEAST = 100
"""Documents with fewer characters have unreliable scores."""
MOST = {
    "prompts": 12,
    "open": 2,
    "samples": 4,
    "documents": 8,
    "excerpt": 320,
    "columns": 8,
    "rejected": 20,
    "symbols": 400,
    "differences": 20,
}
"""The maximum of each that the page shows (`open`: prompts that start unfolded, `excerpt`:
characters of a document)."""


@dataclass(frozen=True)
class Model:
    """What the results folder holds about one trained model."""

    label: str
    """Its name, with its seed where there are several."""
    name: str
    """Its name in the configuration."""
    color: str
    """The name of its colour; see `charlm.report.figures.series`."""
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    diagnostics: Mapping[str, Any]
    history: Sequence[Mapping[str, str]]
    samples: Sequence[Mapping[str, Any]]
    timing: Mapping[str, Any]


def read_model(folder: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Model:
    """Return what a trained model's folder holds; `names` gives models their colours."""
    name = folder.name.split(".")[0]
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").split("\n")
    copied = read_json(folder.parent.parent / "memorization.json")["models"][folder.name]
    samples = [json.loads(line) for line in lines if line]
    return Model(
        label=folder.name,
        name=name,
        color=figures.series(names.index(name)),
        settings=settings,
        metrics=read_json(folder / "metrics.json"),
        diagnostics=read_json(folder / "diagnostics.json"),
        history=read_table(folder / "history.csv", ","),
        samples=[{**sample, **runs} for sample, runs in zip(samples, copied, strict=True)],
        timing=read_json(folder / "timing.json"),
    )


def file_hashes(results: Path, models: Sequence[Model]) -> dict[str, str]:
    """Return the SHA-256 of the files that a reproduced run has in common, by name."""
    files = ["documents.parquet", "corpus.parquet", "vocabulary.json"]
    for model in models:
        files += [f"models/{model.label}/{file}" for file in ("model.safetensors", "model.json")]
    return {name: sha256_of(results / name) for name in files}


def read_baselines(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the scores of each baseline by its label."""
    return {baseline_label(name, scores): scores for name, scores in read_json(path).items()}


def read_differences(
    results: Path, split: str | None, models: Sequence[Model]
) -> list[dict[str, Any]]:
    """Return the differences between each model and the other models and baselines."""
    if split is None:
        return []
    labels = {model.label: model.label for model in models}
    ours = set(labels)
    for name, scores in read_json(results / "baselines.json").items():
        labels[name] = baseline_label(name, scores)
    rows = [
        {**row, "better": labels[row["better"]], "worse": labels[row["worse"]]}
        for row in read_json(results / "comparison.json")[split]["differences"]
        if ours & {row["better"], row["worse"]}
    ]
    # The chosen n-gram may be the 5-gram itself.
    return list({(row["better"], row["worse"]): row for row in rows}.values())


def read_memorization(path: Path, models: Sequence[Model]) -> dict[str, Any]:
    """Return how much each model copies at each temperature, and how much held-out text repeats."""
    record = read_json(path)
    temperatures = {
        model.label: grouped((sample["temperature"], sample) for sample in model.samples)
        for model in models
    }
    return {
        "run": record["run"],
        "longest": max(
            (_copied(model.samples)["longest"] for model in models if model.samples), default=0
        ),
        "copying": sum(bool(sample["passages"]) for model in models for sample in model.samples),
        "rows": {
            label: [{"temperature": number, **_copied(group)} for number, group in groups.items()]
            for label, groups in temperatures.items()
        },
        "held_out": _copied(record["held_out"]) if record["held_out"] else None,
    }


def _copied(texts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarize records of `charlm.evaluation.memorization`."""
    longest = [text["longest"][1] - text["longest"][0] for text in texts]
    shares = [text["share"] for text in texts if text["share"] is not None]
    return {
        "texts": len(texts),
        "median": float(np.median(longest)),
        "longest": max(longest),
        "share": float(np.mean(shares)) if shares else None,
    }


def read_extremes(results: Path, scores: pa.Table) -> dict[str, Any]:
    """Return the documents with the most and the fewest bits per character.

    Very short documents are left out, unless most of the documents are short.
    """
    characters = scores["characters"].to_numpy()
    least = max(1, int(min(LEAST, np.median(characters)))) if len(characters) else 1
    long = scores.filter(pa.array(characters >= least)).sort_by(
        [("bits_per_character", "descending"), ("doc_id", "ascending")]
    )
    count = min(MOST["documents"], len(long) // 2)
    strangest = long.slice(0, count).to_pylist()
    ordinary = long.slice(len(long) - count).to_pylist()[::-1]
    ids = pa.array([row["doc_id"] for row in strangest + ordinary], pa.int64())
    chosen = pc.field("doc_id").isin(ids)
    texts = {
        (row["doc_id"], row["split"]): row["text"]
        for row in pq.read_table(results / "corpus.parquet", filters=chosen).to_pylist()
    }
    documents = results / "documents.parquet"
    kept = [name for name in pq.read_schema(documents).names if name not in ("doc_id", "text")]
    beside = {
        row.pop("doc_id"): row
        for row in pq.read_table(
            documents, columns=["doc_id", *kept[: MOST["columns"]]], filters=chosen
        ).to_pylist()
    }
    for row in strangest + ordinary:
        row["text"] = texts[row["doc_id"], row["split"]]
        row["kept"] = {
            name: "" if value is None else str(value)
            for name, value in beside[row["doc_id"]].items()
        }
    return {"least": least, "strangest": strangest, "ordinary": ordinary}


def read_rejected(path: Path) -> dict[str, Any]:
    """Return the number of rejected rows and the first of them."""
    rows = pq.ParquetFile(path)
    first = next(rows.iter_batches(MOST["rejected"]), None)
    return {
        "count": rows.metadata.num_rows,
        "rows": first.to_pylist() if first is not None else [],
    }


def read_vocabulary(path: Path) -> dict[str, Any]:
    """Return the symbols, the most frequent first, and how many there are of each kind."""
    vocabulary = read_json(path)
    special = {number for number in vocabulary["special"].values() if number is not None}
    symbols = [
        {"symbol": symbol, "count": count, **_described(symbol, number in special)}
        for number, (symbol, count) in enumerate(
            zip(vocabulary["symbols"], vocabulary["counts"], strict=True)
        )
    ]
    kinds = grouped((symbol["kind"], symbol) for symbol in symbols)
    return {
        "unit": vocabulary["unit"],
        "symbols": sorted(symbols, key=lambda symbol: -(symbol["count"] or 0)),
        "kinds": sorted(
            ((kind, len(members)) for kind, members in kinds.items()), key=lambda pair: -pair[1]
        ),
    }


KINDS = {
    "L": "letters",
    "M": "combining marks",
    "N": "digits and numbers",
    "P": "punctuation marks",
    "S": "other signs",
    "Z": "spaces",
    "C": "control characters",
}


def _described(symbol: str, special: bool) -> dict[str, Any]:
    """Return the kind and the name of a symbol, and whether only its name can be shown."""
    if special:
        name = symbol.strip("<>").replace("_", " ")
        return {"kind": "special symbols", "name": name, "hidden": True}
    if symbol.startswith("<0x"):
        return {"kind": "bytes beyond ASCII", "name": symbol.strip("<>"), "hidden": True}
    name = " + ".join(map(character_name, symbol))
    if len(symbol) > 1:
        return {"kind": "clusters of characters", "name": name, "hidden": symbol.isspace()}
    category = unicodedata.category(symbol)[0]
    kind = "spaces" if symbol in "\t\n\r" else KINDS[category]
    return {"kind": kind, "name": name, "hidden": category in "ZC"}


def grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """Return the values of each key, in order."""
    groups: dict[Any, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_table(path: Path, delimiter: str) -> list[dict[str, str]]:
    """Return the rows of a table of text, by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))
