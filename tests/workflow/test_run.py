"""The whole workflow: the files that it makes, and the stages that it runs again after a change."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import charlm
from charlm.checksums import read_json
from charlm.evaluation.audit import Audit
from tests.conftest import TINY, Checkout

CONFIG = ("--configfile", TINY)
MODELS = ("lstm", "gru")
STAGES = (
    *("ingest", "clean", "vocabulary", "encode", "baseline"),
    *("train", "evaluate", "sample", "report"),
)
OF_EACH_MODEL = (
    *("model.safetensors", "model.json", "history.csv", "timing.json"),
    *("metrics.json", "document_scores.parquet", "diagnostics.json", "samples.jsonl"),
    *("network/model.safetensors", "network/model.json", "network/learning_samples.json"),
    "README.md",
)

AFTER_SAMPLING = {"memorization", "report", "all"}
AFTER_MIXING = {"evaluate_model", "compare", "model_card", "sample_model"} | AFTER_SAMPLING
AFTER_TRAINING = {"mix_model"} | AFTER_MIXING


@pytest.fixture
def results(tiny_run: Checkout) -> Path:
    return tiny_run.folder / "results/tiny"


def test_all_promised_files_are_made(results: Path) -> None:
    files = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
    assert files >= {
        "documents.parquet",
        "rejected.parquet",
        "corpus.parquet",
        *("cleaning.tsv", "cleaning_examples.json"),
        "vocabulary.json",
        *("tokens/train.npy", "tokens/summary.json"),
        *("baselines.json", "baseline_scores.parquet", "comparison.json", "memorization.json"),
        *("report.html", "report_without_playground.html"),
        *(f"models/{model}/{file}" for model in MODELS for file in OF_EACH_MODEL),
    }
    assert not (results / "checkpoints").exists() or not any((results / "checkpoints").iterdir())


def test_the_tables_have_the_promised_columns(results: Path) -> None:
    columns = {
        "documents.parquet": {"doc_id": "int64", "text": "string"},
        "corpus.parquet": {
            "doc_id": "int64",
            "split": "string",
            "text": "string",
            "continues": "bool",
        },
        "models/lstm/document_scores.parquet": {
            "doc_id": "int64",
            "split": "string",
            "characters": "int64",
            "bits_per_character": "double",
        },
    }
    for file, wanted in columns.items():
        schema = pq.read_schema(results / file)
        assert {name: str(schema.field(name).type) for name in schema.names} == wanted
    assert pq.read_schema(results / "rejected.parquet").names == [
        "source",
        "row",
        "reason",
        "excerpt",
    ]
    with (results / "cleaning.tsv").open() as opened:
        assert next(csv.reader(opened, delimiter="\t")) == [
            "rule",
            "matches",
            "characters_removed",
            "documents",
        ]


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_the_mean_over_all_characters(results: Path, model: str) -> None:
    metrics = json.loads((results / f"models/{model}/metrics.json").read_text())
    baselines = read_json(results / "baselines.json", dict[str, Any])
    corpus = pq.read_table(results / "corpus.parquet").to_pandas()
    loaded = charlm.load(results / f"models/{model}")
    assert metrics["parameters"] == sum(p.numel() for p in loaded.model.parameters())
    assert metrics["steps"] == 40
    assert baselines["ngram"]["order"] == 5
    for split in ("validation", "test"):
        texts = corpus.loc[corpus["split"] == split, "text"]
        record = metrics[split]
        assert record["characters"] == sum(map(len, texts))
        assert record["characters"] == baselines["ngram"][split]["characters"]
        nats = sum(loaded.score(text) * len(text) for text in texts) / record["characters"]
        assert record["nats_per_character"] == pytest.approx(nats, rel=1e-5)
        assert record["bits_per_character"] == pytest.approx(nats / np.log(2), rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_the_line_of_a_sample_is_enough_to_draw_it_again(results: Path, model: str) -> None:
    loaded = charlm.load(results / f"models/{model}")
    lines = [
        json.loads(line)
        for line in (results / f"models/{model}/samples.jsonl").read_text().splitlines()
    ]
    assert len(lines) == 4
    for line in lines:
        text = line.pop("text")
        assert 0 < len(text) <= 100
        assert line.pop("finish_reason") in ("end", "length")
        assert loaded.generate(line.pop("prompt"), length=100, **line) == [text]


def test_a_second_run_does_nothing(tiny_run: Checkout) -> None:
    assert tiny_run.planned(*CONFIG) == set()


def test_a_touch_reruns_nothing(tiny_copy: Checkout) -> None:
    for path in tiny_copy.folder.rglob("*.py"):
        path.touch()
    assert tiny_copy.planned(*CONFIG) == set()


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("src/charlm/model/sample_model.py", {"sample_model", *AFTER_SAMPLING}),
        ("workflow/scripts/sample_model.py", {"sample_model", *AFTER_SAMPLING}),
        ("src/charlm/report/page.py", {"report", "all"}),
        ("src/charlm/report/templates/page.css", {"report", "all"}),
        (
            "src/charlm/evaluation/ngrams.py",
            {"baseline", "compare", "model_card", "report", "all"},
        ),
        ("src/charlm/training/trainer.py", {"train_model", *AFTER_TRAINING}),
    ],
)
def test_an_edited_module_reruns_the_stages_that_use_it(
    tiny_copy: Checkout, file: str, stages: set[str]
) -> None:
    with (tiny_copy.folder / file).open("a") as opened:
        opened.write("\n# edited\n")
    assert tiny_copy.planned(*CONFIG) == stages


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ("sampling={temperatures: [0.7]}", {"sample_model", *AFTER_SAMPLING}),
        ("training={learning_rate: 1e-3}", {"train_model", *AFTER_TRAINING}),
        ("models={gru: {mixture: {order: 8}}}", {"mix_model", *AFTER_MIXING}),
        ("training={checkpoint_every: 7}", {"report", "all"}),
        ("training={validate_every: 4}", {"report", "all"}),  # a tenth of the steps, like null
        ("training={validate_every: 5}", {"train_model", *AFTER_TRAINING}),
        (
            "vocabulary={min_count: 2}",
            {"vocabulary", "encode", "baseline", "train_model", *AFTER_TRAINING},
        ),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(
    tiny_run: Checkout, change: str, stages: set[str]
) -> None:
    assert tiny_run.planned(*CONFIG, "--config", change) == stages


def test_a_setting_of_one_model_reruns_only_that_model(tiny_copy: Checkout) -> None:
    preset = tiny_copy.folder / TINY
    preset.write_text(preset.read_text().replace("cell: gru\n", "cell: gru\n    clip_norm: 0.5\n"))
    done = tiny_copy.snakemake("train", "--dry-run", *CONFIG)
    assert set(re.findall(r"wildcards: model=(\w+)", done.stdout + done.stderr)) == {"gru"}


def test_charlm_train_makes_the_same_model_as_the_rule(tiny_copy: Checkout, results: Path) -> None:
    shutil.rmtree(tiny_copy.folder / "results/tiny/models/lstm")
    shutil.rmtree(tiny_copy.folder / ".snakemake")
    # Snakemake takes a benchmark for an output, and compares its time with those of the inputs.
    shutil.rmtree(tiny_copy.folder / "logs")

    def charlm_command(*arguments: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-m", "charlm.cli", *arguments],
            cwd=tiny_copy.folder,
            env=os.environ | {"PYTHONPATH": "src"},
            check=True,
            stdout=subprocess.PIPE,
        ).stdout

    (tiny_copy.folder / "tiny.json").write_bytes(charlm_command("config", TINY))
    charlm_command("train", "tiny.json", "lstm")
    for file in ("model.safetensors", "model.json", "history.csv", "network/model.safetensors"):
        made = tiny_copy.folder / "results/tiny/models/lstm" / file
        assert made.read_bytes() == (results / "models/lstm" / file).read_bytes()
    planned = tiny_copy.planned(*CONFIG)
    assert "evaluate_model" in planned
    assert not {"train_model", "mix_model"} & planned


@pytest.mark.parametrize("key", ["init_from", "teacher"])
def test_a_model_can_depend_on_another_of_the_same_run(tiny_copy: Checkout, key: str) -> None:
    preset = tiny_copy.folder / TINY
    more = f"  more: {{hidden_size: 32, embedding_size: 16, {key}: results/tiny/models/lstm/}}"
    preset.write_text(preset.read_text().replace("models:\n", f"models:\n{more}\n"))
    file = "results/tiny/models/more/model.safetensors"
    done = tiny_copy.snakemake(file, *CONFIG)
    assert done.returncode == 0, done.stderr
    assert tiny_copy.planned(file, *CONFIG) == set()
    preset.write_text(preset.read_text().replace("cell: lstm\n", "cell: lstm\n    seed: 5\n"))
    done = tiny_copy.snakemake(file, "--dry-run", *CONFIG)
    printed = done.stdout + done.stderr
    assert set(re.findall(r"wildcards: model=(\w+)", printed)) == {"lstm", "more"}


def test_the_name_of_every_stage_is_a_target(checkout: Checkout) -> None:
    rules = checkout.planned(*STAGES, *CONFIG)
    assert set(STAGES) <= rules
    assert "all" not in rules


def test_a_file_of_a_stage_is_a_target(tiny_copy: Checkout) -> None:
    file = "results/tiny/models/gru/samples.jsonl"
    (tiny_copy.folder / file).unlink()
    assert tiny_copy.planned(file, *CONFIG) == {"sample_model"}


def test_the_corpus_is_written_as_plain_text_on_demand(tiny_copy: Checkout) -> None:
    done = tiny_copy.snakemake("results/tiny/corpus.txt", *CONFIG)
    assert done.returncode == 0, done.stderr
    corpus = pq.read_table(tiny_copy.folder / "results/tiny/corpus.parquet")["text"].to_pylist()
    text = (tiny_copy.folder / "results/tiny/corpus.txt").read_bytes().decode()
    assert text == "\n\n".join(corpus)


def test_a_model_is_exported_on_demand(tiny_copy: Checkout) -> None:
    pytest.importorskip("onnx")
    file = "results/tiny/models/gru/model.onnx"
    done = tiny_copy.snakemake(file, *CONFIG)
    assert done.returncode == 0, done.stderr
    assert (tiny_copy.folder / file).stat().st_size > 10_000


def test_an_audit_reaches_the_card_and_the_report(tiny_copy: Checkout) -> None:
    model = tiny_copy.folder / "results/tiny/models/gru"
    done = tiny_copy.snakemake("results/tiny/models/gru/audit.json", *CONFIG)
    assert done.returncode == 0, done.stderr
    assert tiny_copy.planned(*CONFIG) == {"model_card", "report", "all"}
    done = tiny_copy.snakemake(*CONFIG)
    assert done.returncode == 0, done.stderr
    audit = read_json(model / "audit.json", Audit)
    extracted = audit["extraction"]["training"]["model"]["extracted"]
    assert f"continues {extracted} of\n200 passages" in (model / "README.md").read_text("utf-8")
    assert "Measured" not in (model / "../lstm/README.md").read_text("utf-8")
    assert 'href="#audit"' in (tiny_copy.folder / "results/tiny/report.html").read_text("utf-8")
    assert tiny_copy.planned(*CONFIG) == set()


def test_prompts_are_read_from_a_file(tiny_copy: Checkout) -> None:
    (tiny_copy.folder / "prompts.txt").write_text("A\nThe é\n")
    change = ("--config", "sampling={prompts_file: prompts.txt, length: 5, on_unknown: skip}")
    file = "results/tiny/models/gru/samples.jsonl"
    done = tiny_copy.snakemake(file, *CONFIG, *change)
    assert done.returncode == 0, done.stderr
    lines = (tiny_copy.folder / file).read_text().splitlines()
    assert {json.loads(line)["prompt"] for line in lines} == {"A", "The é"}
    (tiny_copy.folder / "prompts.txt").write_text("B\n")
    assert tiny_copy.planned(file, *CONFIG, *change) == {"sample_model"}


def test_snakemakes_report_has_the_items(tiny_copy: Checkout) -> None:
    done = tiny_copy.snakemake(*CONFIG, "--report", "report.html")
    assert done.returncode == 0, done.stderr
    page = (tiny_copy.folder / "report.html").read_text()
    for words in (
        "learning curve",
        "effect of each rule",
        "which differences are significant",
        "model card",
    ):
        assert words in page
    # Chromium opens no data address above 2 MB.
    item = tiny_copy.folder / "results/tiny/report_without_playground.html"
    assert item.stat().st_size * 4 / 3 < 2_000_000


def test_any_number_of_shards_gives_the_same_corpus(checkout: Checkout, results: Path) -> None:
    done = checkout.snakemake("clean", "--set-scatter", "clean=3", *CONFIG)
    assert done.returncode == 0, done.stderr
    made = checkout.folder / "results/tiny"
    for file in ("corpus.parquet", "cleaning.tsv", "cleaning_examples.json"):
        assert (made / file).read_bytes() == (results / file).read_bytes()
    assert not (made / "shards").exists()
