"""The page that a person opens: everything in one self-contained HTML file.

All text that comes from the corpus is untrusted. Jinja escapes it, `shown` takes the power from
control characters, and the page's content security policy runs no script but the page's own.
"""

import base64
import csv
import hashlib
import json
import platform
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise, takewhile
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from charlm import __version__
from charlm.files import write_text
from charlm.report import figures
from charlm.report.playground import pack
from charlm.text.cleaning.examples import rule_examples

TEMPLATES = Path(__file__).parent / "templates"

ALIKE = 4
"""Characters that two texts share after a change of one."""
LEAST = 100
"""Characters below which a document's score says little."""
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
"""The most of each that the page shows (`open`: prompts that are unfolded at first, `excerpt`:
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


def write_report(
    results: str | Path, output: str | Path, *, models: Sequence[str], config: Mapping[str, Any]
) -> None:
    """Write the report of a run as one HTML file.

    Args:
        results: The folder `results/{corpus}`; all its files but the report are there.
        output: The HTML file to write.
        models: Names of the trained models, `NAME.seed1` and so on where there are several seeds.
        config: The resolved configuration; see `charlm.pipeline.config.resolve`.
    """
    results = Path(results)
    names = list(dict.fromkeys(label.split(".")[0] for label in models))
    trained = [
        _read_model(results / "models" / label, config["models"][label], names) for label in models
    ]
    baselines = _read_baselines(results / "baselines.json")
    split = next(
        (name for name in ("test", "validation") if any(m.metrics[name] for m in trained)), None
    )
    ranking = _rank(trained, baselines, split)
    best = next((entry["model"] for entry in ranking if entry["model"]), trained[0])
    scores = pq.read_table(results / "models" / best.label / "document_scores.parquet")
    speakers = _speakers(trained)
    playground, too_large = pack([results / "models" / model.label for model in speakers])

    library = Markup(figures.library().replace("</script", r"<\/script"))
    scripts = [library, _own("charts.js"), _own("playground.js")]
    style = _own("page.css")
    write_text(
        output,
        _environment()
        .get_template("page.html")
        .render(
            corpus=config["corpus"]["name"],
            seeds=_spread_of_seeds(trained, split),
            hashes=_hashes(results, trained),
            source=_without_folders(config["corpus"]["source"]),
            sizes=_corpus_sizes(results / "corpus.parquet"),
            split=split,
            ranking=ranking,
            best=best,
            models=trained,
            speakers=speakers,
            baselines=baselines,
            prompts=_samples_by_prompt(speakers),
            memorized=_memorization_table(results / "memorization.json", speakers),
            quoted=_quoted(best),
            playground=playground,
            too_large=too_large,
            curves=_learning_curves(trained, baselines),
            counted=[model.label for model in trained if model.settings.get("ngram_order")],
            differences=_differences(results, split, trained),
            trouble=_trouble(speakers, split),
            histogram=_histogram(scores, best),
            extremes=_extremes(results, scores),
            cleaning=_read_table(results / "cleaning.tsv", "\t"),
            examples=_grouped(
                (example["rule"], example)
                for example in rule_examples(results / "documents.parquet", **config["cleaning"])
            ),
            rejected=_read_rejected(results / "rejected.parquet"),
            vocabulary=_read_vocabulary(results / "vocabulary.json"),
            config=_as_written(config),
            versions={
                "charlm": __version__,
                "Python": platform.python_version(),
                "PyTorch": version("torch"),
                "NumPy": version("numpy"),
                "Numba": version("numba"),
            },
            most=MOST,
            style=style,
            scripts=scripts,
            policy="; ".join(
                [
                    "default-src 'none'",
                    f"script-src {' '.join(map(_source_hash, scripts))}",
                    f"style-src {_source_hash(style)}",
                    "base-uri 'none'",
                    "form-action 'none'",
                ]
            ),
        ),
    )


# Models and baselines ---------------------------------------------------------------------------


def _read_model(folder: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Model:
    name = folder.name.split(".")[0]
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").split("\n")
    copied = _read_json(folder.parent.parent / "memorization.json")["models"][folder.name]
    samples = [json.loads(line) for line in lines if line]
    return Model(
        label=folder.name,
        name=name,
        color=figures.series(names.index(name)),
        settings=settings,
        metrics=_read_json(folder / "metrics.json"),
        diagnostics=_read_json(folder / "diagnostics.json"),
        history=_read_table(folder / "history.csv", ","),
        samples=[{**sample, **runs} for sample, runs in zip(samples, copied, strict=True)],
        timing=_read_json(folder / "timing.json"),
    )


def _hashes(results: Path, models: Sequence[Model]) -> dict[str, str]:
    """Return the SHA-256 of the files that tell whether a run was reproduced, by their names."""
    files = ["documents.parquet", "corpus.parquet", "vocabulary.json"]
    for model in models:
        files += [f"models/{model.label}/{file}" for file in ("model.safetensors", "model.json")]
    hashes = {}
    for name in files:
        with (results / name).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _read_baselines(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the scores of each baseline by the name that people know it by."""
    return {_baseline_label(name, scores): scores for name, scores in _read_json(path).items()}


def _baseline_label(name: str, scores: Mapping[str, Any]) -> str:
    return f"{scores['order']}-gram" if "order" in scores else name


def _rank(
    models: Sequence[Model], baselines: Mapping[str, Mapping[str, Any]], split: str | None
) -> list[dict[str, Any]]:
    """Return models and baselines with their scores on `split`, the best first."""
    if split is None:
        return []
    entries: list[tuple[str, Model | None, Any]] = [
        (model.label, model, model.metrics[split]) for model in models
    ]
    entries += [(name, None, scores[split]) for name, scores in baselines.items()]
    ranked = [{"label": label, "model": model, **score} for label, model, score in entries if score]
    return sorted(ranked, key=lambda entry: entry["bits_per_character"])


def _learning_curves(
    models: Sequence[Model], baselines: Mapping[str, Mapping[str, Any]]
) -> figures.Figure:
    """Draw the mean of a model's seeds, and their spread."""
    points = _grouped(
        ((model.name, text, int(row["step"]), int(row["characters"])), float(bits))
        for model in models
        for text, column in (("validation", "validation"), ("training", "train"))
        for row in model.history
        if (bits := row[f"{column}_bits_per_character"])
    )
    rows = [
        {"name": name, "text": text, "step": step, "characters": characters}
        | {"bits": round(float(np.mean(bits)), 6), "low": min(bits), "high": max(bits)}
        for (name, text, step, characters), bits in points.items()
    ]
    validated = {
        name: scores["validation"]["bits_per_character"]
        for name, scores in baselines.items()
        if scores["validation"]
    }
    return figures.learning_curves(rows, validated)


def _spread_of_seeds(models: Sequence[Model], split: str | None) -> list[dict[str, Any]]:
    """Return how far the scores of models that were trained with several seeds are apart."""
    seeds = _grouped(
        (model.name, (model, model.metrics[split]["bits_per_character"]))
        for model in models
        if split is not None
    )
    return [
        {
            "name": name,
            "color": each[0][0].color,
            "seeds": [model.settings["training"]["seed"] for model, _ in each],
            "mean": float(np.mean(bits)),
            "deviation": float(np.std(bits, ddof=1)),
            "range": (min(bits), max(bits)),
        }
        for name, each in seeds.items()
        if len(bits := [score for _, score in each]) > 1
    ]


def _differences(results: Path, split: str | None, models: Sequence[Model]) -> list[dict[str, Any]]:
    """Return how far each model is from the others and from the baselines, as labels and bits."""
    if split is None:
        return []
    labels = {model.label: model.label for model in models}
    ours = set(labels)
    for name, scores in _read_json(results / "baselines.json").items():
        labels[name] = _baseline_label(name, scores)
    rows = [
        {**row, "better": labels[row["better"]], "worse": labels[row["worse"]]}
        for row in _read_json(results / "comparison.json")[split]["differences"]
        if ours & {row["better"], row["worse"]}
    ]
    # The n-gram of the order that was chosen may be the 5-gram itself.
    return list({(row["better"], row["worse"]): row for row in rows}.values())


def _trouble(models: Sequence[Model], split: str | None) -> dict[str, Any] | None:
    """Return where models go wrong: charts by position and by confidence, classes of characters."""
    if split is None:
        return None
    details = {model.name: model.diagnostics[split] for model in models}
    classes = _grouped((row["class"], row) for each in details.values() for row in each["class"])
    return {
        "position": figures.loss_by_position(
            [
                {"name": name, "from": row["from"], "to": row["to"]}
                | {"bits": max(0.001, round(row["bits_per_symbol"], 4))}
                for name, each in details.items()
                for row in each["position"]
            ]
        ),
        "reliability": figures.reliability(
            [
                {"name": name, "symbols": row["symbols"]}
                | {key: round(row[key], 4) for key in ("confidence", "accuracy")}
                for name, each in details.items()
                for row in each["calibration"]["bins"]
            ]
        ),
        "classes": classes,
        "symbols": sum(rows[0]["symbols"] for rows in classes.values()),
    }


def _speakers(models: Sequence[Model]) -> list[Model]:
    """Return one model of each name: of several seeds the first one speaks for all."""
    return list({model.name: model for model in reversed(models)}.values())[::-1]


def _samples_by_prompt(models: Sequence[Model]) -> list[dict[str, Any]]:
    """Return for each prompt the samples of each model, temperature by temperature."""
    prompts = dict.fromkeys(sample["prompt"] for model in models for sample in model.samples)
    return [
        {
            "prompt": prompt,
            "rows": [
                (
                    model,
                    _grouped(
                        (sample["temperature"], sample)
                        for sample in model.samples
                        if sample["prompt"] == prompt
                    ),
                )
                for model in models
            ],
        }
        for prompt in prompts
    ]


def _memorization_table(path: Path, models: Sequence[Model]) -> dict[str, Any]:
    """Return how much is copied by each model at each temperature, and in held-out text."""
    record = _read_json(path)
    temperatures = {
        model.label: _grouped((sample["temperature"], sample) for sample in model.samples)
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


def _quoted(model: Model) -> Mapping[str, Any] | None:
    """Return the sample to quote: of the middle temperature, with a prompt if there is one."""
    temperatures = sorted({sample["temperature"] for sample in model.samples})
    middle = temperatures[len(temperatures) // 2 :][:1]
    return min(
        (sample for sample in model.samples if sample["temperature"] in middle),
        key=lambda sample: not sample["prompt"].strip(),
        default=None,
    )


def _copied(texts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up the records of `charlm.evaluation.memorization` of some texts."""
    longest = [text["longest"][1] - text["longest"][0] for text in texts]
    shares = [text["share"] for text in texts if text["share"] is not None]
    return {
        "texts": len(texts),
        "median": float(np.median(longest)),
        "longest": max(longest),
        "share": float(np.mean(shares)) if shares else None,
    }


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


# The corpus -------------------------------------------------------------------------------------


def _corpus_sizes(path: Path) -> dict[str, dict[str, int]]:
    """Return documents and characters of each split and, as `all`, of the whole corpus."""
    sizes = {name: [0, 0] for name in ("train", "validation", "test")}
    documents, last = 0, None
    for batch in pq.ParquetFile(path).iter_batches(columns=["doc_id", "split", "text"]):
        ids = batch["doc_id"].to_numpy()
        # The two rows of a document that a contiguous split cuts follow one another.
        documents += int((np.diff(ids, prepend=-1 if last is None else last) != 0).sum())
        last = ids[-1] if len(ids) else last
        for name, size in sizes.items():
            lengths = pc.utf8_length(batch["text"].filter(pc.equal(batch["split"], name)))
            size[0] += len(lengths)
            size[1] += pc.sum(lengths).as_py() or 0
    sizes["all"] = [documents, sum(characters for _, characters in sizes.values())]
    return {name: {"documents": size[0], "characters": size[1]} for name, size in sizes.items()}


def _histogram(scores: pa.Table, model: Model) -> figures.Figure | None:
    """Draw the scores of the documents that hold any text; None where there are none."""
    bits = scores.filter(pc.greater(scores["characters"], 0))["bits_per_character"]
    return figures.document_histogram(bits.to_numpy(), model.color) if len(bits) else None


def _extremes(results: Path, scores: pa.Table) -> dict[str, Any]:
    """Return the documents that cost the most and the least bits per character.

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


def _read_rejected(path: Path) -> dict[str, Any]:
    rows = pq.ParquetFile(path)
    first = next(rows.iter_batches(MOST["rejected"]), None)
    return {
        "count": rows.metadata.num_rows,
        "rows": first.to_pylist() if first is not None else [],
    }


def _read_vocabulary(path: Path) -> dict[str, Any]:
    """Return the symbols, the most frequent first, and how many there are of each kind."""
    vocabulary = _read_json(path)
    special = {number for number in vocabulary["special"].values() if number is not None}
    symbols = [
        {"symbol": symbol, "count": count, **_described(symbol, number in special)}
        for number, (symbol, count) in enumerate(
            zip(vocabulary["symbols"], vocabulary["counts"], strict=True)
        )
    ]
    kinds = _grouped((symbol["kind"], symbol) for symbol in symbols)
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


# What is shown ----------------------------------------------------------------------------------

CONTROLS = {"\t": "tab", "\n": "line feed", "\r": "carriage return", "\0": "null"}


def character_name(character: str) -> str:
    """Return a character's name: Unicode's, or a plain one for control characters."""
    known = CONTROLS.get(character) or unicodedata.name(character, "").lower()
    return known or f"U+{ord(character):04X}"


def shown(text: str, longest: int | None = None) -> Markup:
    """Return `text` as HTML that stays within its bounds.

    It is escaped, isolated from the direction of the text around it, cut to `longest` characters,
    and what is invisible or moves other text (control and formatting characters, but for the line
    feed, the tab and the joiners) is written out as its code point.
    """
    cut = text if longest is None or len(text) <= longest else text[:longest].rstrip() + "…"
    return Markup("<bdi>{}</bdi>").format(_escaped(cut))


def _escaped(text: str) -> Markup:
    pieces = [
        Markup('<span class="code-point" title="{}">U+{:04X}</span>').format(
            character_name(character), ord(character)
        )
        if _is_control(character)
        else escape(character)
        for character in text
    ]
    return Markup("").join(pieces)


def _is_control(character: str) -> bool:
    """Return whether a character is invisible or moves others: the joiners may stay."""
    categories = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    return unicodedata.category(character) in categories and character not in "\n\t\u200c\u200d"


def shown_sample(sample: Mapping[str, Any], longest: int) -> Markup:
    """Return a sample's text as HTML, cut to `longest` characters, with copied passages marked."""
    text = sample["text"][:longest]
    low, high = sample["longest"]
    ends = [end for passage in sample["passages"] for end in passage]
    bounds = sorted({0, len(text), *(end for end in (low, high, *ends) if end < len(text))})
    parts = []
    for start, stop in pairwise(bounds):
        part = _escaped(text[start:stop])
        if low <= start < high:
            part = Markup("<u>{}</u>").format(part)
        if any(first <= start < last for first, last in sample["passages"]):
            part = Markup('<mark class="copied">{}</mark>').format(part)
        parts.append(part)
    ending = "…" if len(sample["text"]) > longest else ""
    return Markup("<bdi>{}{}</bdi>").format(Markup("").join(parts), ending)


def shown_change(before: str, after: str) -> tuple[Markup, Markup]:
    """Return two texts as HTML, marked where they differ first, with signs for white space."""
    start = sum(takewhile(bool, map(eq, before, after)))
    # The shortest change after which both texts go on alike.
    old, new = next(
        (total - added, added)
        for total in range(len(before) + len(after) + 1)
        for added in range(max(0, total - len(before) + start), total + 1)
        if before[start + total - added :][:ALIKE] == after[start + added :][:ALIKE]
    )
    marked = []
    for text, length in ((before, old), (after, new)):
        text = text.replace("\n", "\u21b5")
        changed = text[start : start + length].replace(" ", "\u00b7").replace("\t", "\u21e5")
        mark = Markup("<mark>{}</mark>").format(_escaped(changed)) if changed else ""
        left, right = _escaped(text[:start]), _escaped(text[start + length :])
        marked.append(Markup("<bdi>{}{}{}</bdi>").format(left, mark, right))
    return marked[0], marked[1]


def compared(score: float, other: float) -> str:
    """Say how much less, or more, `score` is than `other`, in whole percent."""
    if round(other, 3) == 0:  # shown as 0.000; a share of nothing has no percent
        return "about as many as" if round(score, 3) == 0 else "more than"
    percent = round(100 * (1 - score / other))
    if percent == 0:
        return "about as many as"
    return f"{abs(percent)}\u2009% {'fewer' if percent > 0 else 'more'} than"


def percent(share: float) -> str:
    """Write a share in percent; a tiny one is not called none."""
    return "under 0.1\u2009%" if 0 < share < 0.0005 else f"{100 * share:.1f}\u2009%"


def _as_written(config: Mapping[str, Any]) -> str:
    """Return the resolved configuration as YAML that resolves to it again."""
    general = config["training"]
    models: dict[str, Any] = {}
    for label, settings in config["models"].items():
        training = settings["training"]
        own = {key: value for key, value in training.items() if value != general[key]}
        model = {key: value for key, value in settings.items() if key != "training"} | own
        model["seed"] = training["seed"]
        same = models.setdefault(label.split(".")[0], model)
        if same is not model:
            same["seeds"] = [*same.get("seeds", [same.pop("seed", 0)]), training["seed"]]
    corpus = config["corpus"] | {"source": _without_folders(config["corpus"]["source"])}
    whole = {**config, "corpus": corpus, "models": models}
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=88)
    if any(map(_is_control, text)):
        text = yaml.safe_dump(whole, sort_keys=False, width=88)
    return text


def _without_folders(source: str | Sequence[str]) -> Any:
    """Name a source as the results do: an absolute path says too much about a machine."""
    if not isinstance(source, str):
        return [_without_folders(entry) for entry in source]
    return Path(source).name if Path(source).is_absolute() else source


# Files and templates ----------------------------------------------------------------------------


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    environment.filters["number"] = "{:,}".format
    environment.filters["bits"] = "{:.3f}".format
    environment.filters["sample"] = shown_sample
    environment.filters["percent"] = percent
    environment.globals["compared"] = compared
    environment.globals["shown_change"] = shown_change
    return environment


def _own(name: str) -> Markup:
    """Return a style sheet or script of the page's own."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _source_hash(text: str) -> str:
    """Return how a content security policy names an inline script or style sheet."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_table(path: Path, delimiter: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))
