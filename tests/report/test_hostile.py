"""Hostile text passes through the whole workflow and stays text in the browser."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from playwright.sync_api import Page
from tests.conftest import Checkout
from tests.report.conftest import HOSTILE, assert_fits, console, open_report

CONFIG = {
    "corpus": {"name": "hostile", "source": "texts.csv", "keep_columns": [HOSTILE[:60]]},
    "cleaning": {
        "profile": "none",
        "rules": [{"name": "</style><b>", "pattern": "^MM", "replacement": "VM"}],
    },
    "splits": {"method": "document", "validation": 0.3, "test": 0.3},
    "models": {"lstm": {"cell": "lstm", "hidden_size": 16, "embedding_size": 8}},
    "training": {"steps": 4, "batch_size": 2, "sequence_length": 16},
    "sampling": {
        "prompts": ["", HOSTILE],
        "temperatures": [0.0, 1.0],
        "length": 60,
        "on_unknown": "replace",
    },
}


def test_hostile_text_through_the_whole_workflow(checkout: Checkout, browser: Page) -> None:
    texts = [f"{number} {HOSTILE}{'é<b onclick=alert(1)>' * number}" for number in range(30)]
    with (checkout.folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", HOSTILE[:60]])
        rows.writerows([text, HOSTILE] for text in ["M" * 1_000_000, *texts])
    (checkout.folder / "hostile.yaml").write_text(yaml.safe_dump(CONFIG, allow_unicode=True))
    done = checkout.snakemake("--configfile", "hostile.yaml")
    assert done.returncode == 0, done.stdout + done.stderr

    results = checkout.folder / "results" / "hostile"
    corpus = pq.read_table(results / "corpus.parquet").to_pandas()
    assert set(corpus["split"]) == {"train", "validation", "test"}
    # If it were held out, scoring would take a million steps.
    assert corpus["split"][corpus["text"].str.len() == 1_000_000].tolist() == ["train"]
    assert (corpus["text"].str.contains(HOSTILE, regex=False)).sum() == len(texts)
    assert_harmless(results / "report.html", browser)


def assert_harmless(path: Path, page: Page) -> None:
    """Assert that nothing runs on a page or leaves it, and that its console is empty."""
    open_report(page, path)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    for width in (1280, 390):
        assert_fits(page, width)
    assert page.locator("img, b[onclick], iframe, a:not([href^='#'])").count() == 0
    shown = page.locator("main").inner_text()
    assert "onerror=" in shown
    assert not set(shown) & set("\u202e\u202c\u2028\x07")
    assert page.title().startswith("hostile")
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
    assert console(page) == []
