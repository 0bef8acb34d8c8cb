"""The report of a run: one self-contained HTML file with everything worth knowing about it."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from markupsafe import Markup

from charlm import __version__
from charlm.files import write_text
from charlm.report import figures
from charlm.report.html import asset, environment, is_control, security_policy
from charlm.report.playground import pack
from charlm.report.results import (
    MOST,
    Model,
    file_hashes,
    grouped,
    read_baselines,
    read_differences,
    read_extremes,
    read_json,
    read_memorization,
    read_model,
    read_rejected,
    read_table,
    read_vocabulary,
)


def write_report(
    results: str | Path, output: str | Path, *, models: Sequence[str], config: Mapping[str, Any]
) -> None:
    """Write the report of a run as one HTML file.

    Args:
        results: The folder `results/{corpus}`; complete but for the report.
        output: The HTML file to write.
        models: Names of the trained models, `NAME.seed1` and so on where there are several seeds.
        config: The resolved configuration; see `charlm.pipeline.config.resolve`.
    """
    results = Path(results)
    names = list(dict.fromkeys(label.split(".")[0] for label in models))
    trained = [
        read_model(results / "models" / label, config["models"][label], names) for label in models
    ]
    baselines = read_baselines(results / "baselines.json")
    split = next(
        (name for name in ("test", "validation") if any(m.metrics[name] for m in trained)), None
    )
    ranking = _rank(trained, baselines, split)
    best = next((entry["model"] for entry in ranking if entry["model"]), trained[0])
    scores = pq.read_table(results / "models" / best.label / "document_scores.parquet")
    speakers = _speakers(trained)
    playground, too_large = pack([results / "models" / model.label for model in speakers])

    library = Markup(figures.library().replace("</script", r"<\/script"))
    scripts = [library, asset("charts.js"), asset("playground.js")]
    style = asset("page.css")
    write_text(
        output,
        environment()
        .get_template("page.html")
        .render(
            corpus=config["corpus"]["name"],
            seeds=_spread_of_seeds(trained, split),
            hashes=file_hashes(results, trained),
            source=_without_folders(config["corpus"]["source"]),
            sizes=read_json(results / "tokens/summary.json")["sizes"],
            split=split,
            ranking=ranking,
            best=best,
            models=trained,
            speakers=speakers,
            baselines=baselines,
            prompts=_samples_by_prompt(speakers),
            memorized=read_memorization(results / "memorization.json", speakers),
            quoted=_quoted(best),
            playground=playground,
            too_large=too_large,
            curves=_learning_curves(trained, baselines),
            counted=[model.label for model in trained if model.settings.get("ngram_order")],
            differences=read_differences(results, split, trained),
            trouble=_trouble(speakers, split),
            histogram=_histogram(scores, best),
            extremes=read_extremes(results, scores),
            cleaning=read_table(results / "cleaning.tsv", "\t"),
            examples=grouped(
                (example["rule"], example)
                for example in read_json(results / "cleaning_examples.json")
            ),
            rejected=read_rejected(results / "rejected.parquet"),
            vocabulary=read_vocabulary(results / "vocabulary.json"),
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
            policy=security_policy(scripts, style),
        ),
    )


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


def _spread_of_seeds(models: Sequence[Model], split: str | None) -> list[dict[str, Any]]:
    """Return the spread of the scores of each model that was trained with several seeds."""
    seeds = grouped(
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


def _speakers(models: Sequence[Model]) -> list[Model]:
    """Return one model of each name: the first of several seeds."""
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
                    grouped(
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


def _quoted(model: Model) -> Mapping[str, Any] | None:
    """Return the sample to quote: of the middle temperature, with a prompt if there is one."""
    temperatures = sorted({sample["temperature"] for sample in model.samples})
    middle = temperatures[len(temperatures) // 2 :][:1]
    return min(
        (sample for sample in model.samples if sample["temperature"] in middle),
        key=lambda sample: not sample["prompt"].strip(),
        default=None,
    )


def _learning_curves(
    models: Sequence[Model], baselines: Mapping[str, Mapping[str, Any]]
) -> figures.Figure:
    """Draw each model's learning curve: the mean over its seeds and their range."""
    points = grouped(
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


def _trouble(models: Sequence[Model], split: str | None) -> dict[str, Any] | None:
    """Return where models go wrong: charts by position and by confidence, classes of characters."""
    if split is None:
        return None
    details = {model.name: model.diagnostics[split] for model in models}
    classes = grouped((row["class"], row) for each in details.values() for row in each["class"])
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


def _histogram(scores: pa.Table, model: Model) -> figures.Figure | None:
    """Draw the scores of the documents that are not empty; None if all are."""
    bits = scores.filter(pc.greater(scores["characters"], 0))["bits_per_character"]
    return figures.document_histogram(bits.to_numpy(), model.color) if len(bits) else None


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
    if any(map(is_control, text)):
        text = yaml.safe_dump(whole, sort_keys=False, width=88)
    return text


def _without_folders(source: str | Sequence[str]) -> Any:
    """Return a source; an absolute path loses its folders, which are private."""
    if not isinstance(source, str):
        return [_without_folders(entry) for entry in source]
    return Path(source).name if Path(source).is_absolute() else source
