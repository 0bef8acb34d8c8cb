"""Assembly of the page: the results, as its templates show them."""

import platform
from dataclasses import dataclass
from importlib.metadata import version

from charlm import __version__
from charlm.files import sha256_of
from charlm.report import figures
from charlm.report.advice import find_defeats
from charlm.report.configuration import as_yaml, without_folders
from charlm.report.corpus import (
    read_cleaning,
    read_examples,
    read_rejected,
    read_sizes,
    split_rows,
)
from charlm.report.curves import curve_points, learning_stages, validation_bits
from charlm.report.documents import document_bits, document_table, find_extremes
from charlm.report.error_analysis import accuracy, analyze_errors
from charlm.report.html import asset, environment, icon, security_policy
from charlm.report.limits import LIMITS
from charlm.report.lineage import STAGES, draw_graph
from charlm.report.playground import embed
from charlm.report.ranking import bar_scale, find_differences, rank, seed_rows
from charlm.report.results import Results
from charlm.report.samples import (
    copied_passages,
    samples_by_prompt,
    samples_to_quote,
    summarize_memorization,
)
from charlm.report.symbols import read_vocabulary
from charlm.report.usage import Usage
from charlm.text.splits import LITTLE_TEXT
from charlm.text.tables import read_table

SCRIPTS = (
    *("navigation.js", "charts.js", "learning.js", "tables.js"),
    *("model.js", "mixture.js", "playground.js"),
)
"""The scripts of the page, each of which may use those before it."""


@dataclass(frozen=True)
class Page:
    """The page as HTML documents that load nothing."""

    whole: str
    without_playground: str
    """A browser opens it as a data address, which must be below 2 MB, in Snakemake's report."""


def render(results: Results, usage: Usage | None = None) -> Page:
    """Return the page of some results.

    Args:
        results: The results.
        usage: What the jobs of the run took, if that is known.
    """
    folder, config, models = results.folder, results.config, results.models
    first_seeds = results.first_seeds
    ranking = rank(results)
    best = next((system for system in ranking if system.model), None)
    best_model = best.model if best and best.model else models[0]
    scores = read_table(folder / "models" / best_model.label / "document_scores.parquet")
    bits = document_bits(scores)
    sizes = read_sizes(folder / "tokens")
    examples, cleaning_checksum = read_examples(folder / "cleaning_examples.json")
    diagnostics = best_model.diagnostics[results.split] if results.split else None
    best_first = sorted(first_seeds, key=lambda model: model.name != best_model.name)
    scripts = list(map(asset, SCRIPTS))
    style = asset("page.css")
    content = {
        "corpus": config["corpus"]["name"],
        "source": without_folders(config["corpus"]["source"]),
        "sizes": sizes,
        "splits": split_rows(sizes),
        "split_settings": config["splits"],
        "little_text": LITTLE_TEXT,
        "split": results.split,
        "ranking": ranking,
        "bar_scale": bar_scale(ranking),
        "best": best,
        "best_model": best_model,
        "models": models,
        "first_seeds": first_seeds,
        "baselines": results.baselines,
        "seeds": seed_rows(results),
        "differences": find_differences(results),
        "prompts": samples_by_prompt(first_seeds),
        "quoted": samples_to_quote(best_model),
        "accuracy": accuracy(diagnostics) if diagnostics else None,
        "defeats": find_defeats(ranking, config, sizes["train"]),
        "memorization": summarize_memorization(results, first_seeds),
        "copied_passages": copied_passages(results, first_seeds),
        "near_duplicates": results.memorization["near_duplicates"],
        "playground": embed(
            [folder / "models" / model.label for model in best_first],
            folder / "tokens",
            results.split,
        ),
        "learning": [
            (model, stages) for model in first_seeds if (stages := learning_stages(model))
        ],
        "curves": figures.learning_curves(curve_points(models), validation_bits(results.baselines)),
        "in_sample": [
            model.label for model in models if model.metrics["gate_learned_on"] == "validation"
        ],
        "audited": [model for model in models if model.audit],
        "mixtures": [model.label for model in models if config["models"][model.label]["mixture"]],
        "error_analysis": analyze_errors(first_seeds, results.split),
        "histogram": figures.document_histogram(bits, best_model.color) if len(bits) else None,
        "extremes": find_extremes(folder, scores, best_model.label),
        "document_table": document_table(folder, scores),
        "scored_documents": len(scores),
        "cleaning": read_cleaning(folder / "cleaning.tsv", cleaning_checksum),
        "examples": examples,
        "rejected": read_rejected(folder / "rejected.parquet", LIMITS.rejected),
        "vocabulary": read_vocabulary(folder / "vocabulary.json"),
        "configuration": as_yaml(config),
        "versions": {
            "charlm": __version__,
            "Python": platform.python_version(),
            "PyTorch": version("torch"),
            "NumPy": version("numpy"),
            "Numba": version("numba"),
        },
        "checksums": _checksums(results),
        "stages": STAGES,
        "usage": usage,
        "graph": draw_graph(usage) if usage else None,
        "limits": LIMITS,
        "style": style,
        "icon": icon(),
        "scripts": scripts,
        "policy": security_policy(scripts, style),
    }
    page = environment().get_template("page.html")
    return Page(page.render(content), page.render(content | {"playground": None}))


def _checksums(results: Results) -> dict[str, str]:
    """Return the SHA-256 of the files that are the same in a reproduced run, by name."""
    files = ["documents.parquet", "corpus.parquet", "vocabulary.json"]
    for model in results.models:
        files += [f"models/{model.label}/{file}" for file in ("model.safetensors", "model.json")]
    return {name: sha256_of(results.folder / name) for name in files}
