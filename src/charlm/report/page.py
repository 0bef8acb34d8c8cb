"""Assembly of the page: the results, as its templates show them."""

import platform
from importlib.metadata import version

from markupsafe import Markup

from charlm import __version__
from charlm.files import sha256_of
from charlm.report import figures
from charlm.report.configuration import as_yaml, without_folders
from charlm.report.corpus import (
    read_cleaning,
    read_examples,
    read_rejected,
    read_sizes,
    split_rows,
)
from charlm.report.curves import curve_points, validation_bits
from charlm.report.documents import document_bits, find_extremes
from charlm.report.error_analysis import analyze_errors
from charlm.report.html import asset, environment, security_policy
from charlm.report.limits import LIMITS
from charlm.report.playground import embed
from charlm.report.ranking import bar_scale, find_differences, rank, seed_rows
from charlm.report.results import Results
from charlm.report.samples import sample_to_quote, samples_by_prompt, summarize_memorization
from charlm.report.symbols import read_vocabulary
from charlm.text.splits import LITTLE_TEXT
from charlm.text.tables import read_table


def render(results: Results) -> str:
    """Return the page as one HTML document that loads nothing."""
    folder, config, models = results.folder, results.config, results.models
    first_seeds = results.first_seeds
    ranking = rank(results)
    best = next((system for system in ranking if system.model), None)
    best_model = best.model if best and best.model else models[0]
    scores = read_table(folder / "models" / best_model.label / "document_scores.parquet")
    bits = document_bits(scores)
    sizes = read_sizes(folder / "tokens")
    examples, cleaning_checksum = read_examples(folder / "cleaning_examples.json")
    embedded, too_large = embed([folder / "models" / model.label for model in first_seeds])

    library = Markup(figures.library().replace("</script", r"<\/script"))
    scripts = [library, asset("charts.js"), asset("playground.js")]
    style = asset("page.css")
    page = environment().get_template("page.html")
    return page.render(
        corpus=config["corpus"]["name"],
        source=without_folders(config["corpus"]["source"]),
        sizes=sizes,
        splits=split_rows(sizes),
        split_settings=config["splits"],
        little_text=LITTLE_TEXT,
        split=results.split,
        ranking=ranking,
        bar_scale=bar_scale(ranking),
        best=best,
        best_model=best_model,
        models=models,
        first_seeds=first_seeds,
        baselines=results.baselines,
        seeds=seed_rows(results),
        differences=find_differences(results),
        prompts=samples_by_prompt(first_seeds),
        quoted=sample_to_quote(best_model),
        memorization=summarize_memorization(results, first_seeds),
        near_duplicates=results.memorization["near_duplicates"],
        embedded=embedded,
        too_large=too_large,
        curves=figures.learning_curves(curve_points(models), validation_bits(results.baselines)),
        in_sample=[
            model.label for model in models if model.metrics["gate_learned_on"] == "validation"
        ],
        mixtures=[model.label for model in models if model.architecture.mixture],
        error_analysis=analyze_errors(first_seeds, results.split),
        histogram=figures.document_histogram(bits, best_model.color) if len(bits) else None,
        extremes=find_extremes(folder, scores),
        cleaning=read_cleaning(folder / "cleaning.tsv", cleaning_checksum),
        examples=examples,
        rejected=read_rejected(folder / "rejected.parquet", LIMITS.rejected),
        vocabulary=read_vocabulary(folder / "vocabulary.json"),
        configuration=as_yaml(config),
        versions={
            "charlm": __version__,
            "Python": platform.python_version(),
            "PyTorch": version("torch"),
            "NumPy": version("numpy"),
            "Numba": version("numba"),
        },
        checksums=_checksums(results),
        limits=LIMITS,
        style=style,
        scripts=scripts,
        policy=security_policy(scripts, style),
    )


def _checksums(results: Results) -> dict[str, str]:
    """Return the SHA-256 of the files that are the same in a reproduced run, by name."""
    files = ["documents.parquet", "corpus.parquet", "vocabulary.json"]
    for model in results.models:
        files += [f"models/{model.label}/{file}" for file in ("model.safetensors", "model.json")]
    return {name: sha256_of(results.folder / name) for name in files}
