"""Results to report on, and a browser to open the report in."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from playwright.sync_api import Browser, Page, sync_playwright

from charlm.model.network import CharacterLanguageModel
from charlm.model.store import save_model
from charlm.pipeline.config import resolve
from charlm.report.report import write_report
from charlm.settings import Architecture
from charlm.text.vocabulary import Vocabulary

HOSTILE = (
    "</title></style></script><script>document.title = 'run'</script>"
    "<img src=x onerror=\"document.title = 'run'\"><!-- {{ 7 * 7 }} \u202egnp.exe\u202c\u2028\x07"
    "<a href='https://example.org/'>"
)
CONFIG: dict[str, Any] = {
    "corpus": {"name": "tiny", "source": "/home/somebody/texts.csv", "keep_columns": ["label"]},
    "sampling": {"prompts": ["", "A </p>"], "temperatures": [0.5, 1.0]},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder of two models, with hostile text in every text field."""
    return write_results(tmp_path / "results" / "tiny")


def write_results(folder: Path) -> Path:
    """Write the results of two models and return their folder."""
    folder.mkdir(parents=True)
    texts = [HOSTILE, "W" * 1_000_000, "Good. " * 30, "Bad. " * 30, "", "So, so. " * 30]
    splits = ["test", "test", "test", "validation", "validation", "train"]
    ids = pa.array(range(6), pa.int64())
    pq.write_table(
        pa.table({"doc_id": ids, "text": texts, "label": [HOSTILE, None, "1", "2", "3", "4"]}),
        folder / "documents.parquet",
    )
    pq.write_table(
        pa.table({"doc_id": ids, "split": splits, "text": texts}), folder / "corpus.parquet"
    )
    pq.write_table(
        pa.table(
            {
                "source": ["texts.csv"],
                "row": pa.array([7], pa.int64()),
                "reason": [HOSTILE],
                "excerpt": [HOSTILE],
            }
        ),
        folder / "rejected.parquet",
    )
    rows = [(split, len(text)) for split, text in zip(splits, texts, strict=True)]
    write_sizes(folder, rows, documents=len(rows))
    example = {"rule": "inline_tags", "before": HOSTILE, "after": HOSTILE.replace("<a ", "")}
    write_json(folder / "cleaning_examples.json", {"examples": [example]})
    (folder / "cleaning.tsv").write_text(
        "rule\tmatches\tcharacters_removed\tdocuments\nlinks\t1200\t-3\t2\n<b>\t0\t0\t0\n"
    )
    write_json(
        folder / "vocabulary.json",
        {
            "unit": "character",
            "symbols": ["a", "<", "\n", "\u202e", "\u0301", "<unknown>", "<end_of_document>"],
            "counts": [9, 8, 7, 6, 5, 0, 1],
            "special": {"unknown": 5, "end_of_document": 6},
        },
    )
    write_json(
        folder / "baselines.json",
        {
            "ngram": {"order": 5, "validation": _score(2.0), "test": _score(2.0)},
            "xz": {"validation": _score(3.0), "test": _score(3.0)},
        },
    )
    for name, bits in (("lstm", 1.84), ("gru", 2.2)):
        _write_model(folder / "models" / name, bits, texts, splits)
    write_comparison(folder, ["lstm", "gru"])
    return folder


def write_comparison(folder: Path, models: list[str]) -> None:
    """Write the results that concern all models together."""
    known = {*models, "ngram", "xz"}
    differences = [
        {"better": better, "worse": worse, "bits_per_character": bits, "interval": interval}
        for better, worse, bits, interval in (
            ("lstm", "gru", 0.36, [-0.01, 0.5]),
            ("lstm", "ngram", 0.16, [0.1, 0.2]),
            ("ngram", "xz", 1.0, None),
        )
        if {better, worse} <= known
    ]
    seeds = [
        {"name": name, "seeds": 2, "bits_per_character": 2.125, "standard_deviation": 0.0625}
        for name in dict.fromkeys(model.split(".seed")[0] for model in models if ".seed" in model)
    ]
    split = {"documents": 3, "differences": differences, "seeds": seeds}
    write_json(folder / "comparison.json", {"validation": split, "test": split})
    none = {"documents": 0, "characters": 0}
    copied = {"longest": [5, 25], "share": 0.25, "passages": [[0, 60]]}
    write_json(
        folder / "memorization.json",
        {"run": 50, "models": {model: [copied] * 8 for model in models}}
        | {"held_out": [{"longest": [0, 31], "share": None, "passages": []}]}
        | {"near_duplicates": {"validation": none, "test": none}},
    )


def _write_model(model: Path, bits: float, texts: list[str], splits: list[str]) -> None:
    model.mkdir(parents=True)
    symbols = [*"ab <\u202e", HOSTILE, "<unknown>", "<end_of_document>"]
    vocabulary = Vocabulary(symbols, [1] * 8, {"unknown": 6, "end_of_document": 7})
    architecture = Architecture.from_mapping(
        {"cell": model.name, "hidden_size": 6, "embedding_size": 4, "mixture": None}, "test"
    )
    torch.manual_seed(0)
    network = CharacterLanguageModel(8, architecture)
    save_model(model, network, vocabulary=vocabulary, architecture=architecture, training={})
    (model / "history.csv").write_text(
        "step,epoch,characters,learning_rate,train_bits_per_character,validation_bits_per_character\n"
        f"10,0.5,1000,0.003,4.5,4.1\n20,1.0,2000,0.001,{bits + 0.1},{bits}\n"
    )
    (model / "network").mkdir()
    write_json(
        model / "network/learning_samples.json",
        {
            "samples": [
                {"step": step, "temperature": 0.5, "text": f"{HOSTILE} after {step} steps"}
                for step in (10, 20)
            ]
        },
    )
    write_json(model / "timing.json", {"seconds": 12.5, "characters_per_second": 160, "threads": 2})
    write_json(
        model / "metrics.json",
        {"validation": _score(bits), "test": _score(bits), "parameters": 1234, "steps": 20}
        | {"device": "cpu", "engine": "fused", "precision": "float32", "gate_learned_on": None},
    )
    details = {
        "position": [{"from": 0, "to": 1, "symbols": 9, "bits_per_symbol": 5.0}],
        "class": [{"class": "letter within a word", "symbols": 9, "bits_per_symbol": 5.0}],
        "calibration": {
            "expected_calibration_error": 0.0321,
            "bins": [{"symbols": 9, "confidence": 0.5, "accuracy": 0.4}],
        },
    }
    write_json(model / "diagnostics.json", {"validation": details, "test": details})
    held_out = [number for number, split in enumerate(splits) if split != "train"]
    pq.write_table(
        pa.table(
            {
                "doc_id": pa.array(held_out, pa.int64()),
                "split": [splits[number] for number in held_out],
                "characters": pa.array([len(texts[number]) for number in held_out], pa.int64()),
                "bits_per_character": [9.0, 8.0, 1.0, 2.0, 0.0],
            }
        ),
        model / "document_scores.parquet",
    )
    samples = [
        {"prompt": prompt, "temperature": temperature, "top_k": None, "top_p": None}
        | {"seed": seed, "text": f"{HOSTILE} says {model.name}", "finish_reason": "length"}
        for prompt in CONFIG["sampling"]["prompts"]
        for temperature in CONFIG["sampling"]["temperatures"]
        for seed in (0, 1)
    ]
    (model / "samples.jsonl").write_text(
        "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
    )


def _score(bits: float) -> dict[str, Any]:
    return {
        "nats_per_character": bits * 0.6931,
        "bits_per_character": bits,
        "bits_per_character_interval": [bits - 0.05, bits + 0.05],
        "characters": 500,
    }


def write_sizes(folder: Path, rows: list[tuple[str, int]], documents: int) -> None:
    """Write the sizes of the splits, given the split and length of each row of the corpus."""
    sizes = {"all": {"documents": documents, "characters": sum(length for _, length in rows)}}
    for split in ("train", "validation", "test"):
        lengths = [length for name, length in rows if name == split]
        sizes[split] = {"documents": len(lengths), "characters": sum(lengths)}
    (folder / "tokens").mkdir(exist_ok=True)
    write_json(folder / "tokens/summary.json", {"one_stream": False, "sizes": sizes})
    documents = pa.table(
        {"start": [0, 20], "tokens": [20, 20], "characters": [20, 20], "unknown_characters": [0, 0]}
    )
    for split in ("validation", "test"):
        np.save(folder / f"tokens/{split}.npy", np.arange(40, dtype=np.uint8) % 4)
        pq.write_table(documents, folder / f"tokens/{split}.documents.parquet")


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False))


def report_of(results: Path, **config: Any) -> str:
    resolved = resolve(CONFIG | config)
    output = results / "report.html"
    write_report(
        results, output, results / "without.html", models=list(resolved["models"]), config=resolved
    )
    return output.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Headless Chromium; tests are skipped if it is not installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no browser on the PATH: {', '.join(names)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Page]:
    """An empty page in a browser profile of its own."""
    page = chromium.new_page()
    page.set_default_timeout(120_000)
    yield page
    page.close()


def console(page: Page) -> list[str]:
    """Return the messages and errors in the console of a page."""
    return [message.text for message in page.console_messages()] + list(
        map(str, page.page_errors())
    )


def open_report(page: Page, path: Path) -> None:
    """Open a report and wait until its scripts have run."""
    page.goto(path.as_uri())
    page.locator(".document-table tbody tr").first.wait_for()


def assert_fits(page: Page, width: int) -> None:
    """Assert that a page is no wider than the window."""
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
