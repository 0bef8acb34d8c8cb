"""Hostile text goes through the whole workflow and stays text in a browser."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from tests.conftest import Checkout
from tests.report.conftest import HOSTILE, Browser

CONFIG = {
    "corpus": {"name": "hostile", "source": "texts.csv", "keep_columns": [HOSTILE[:60]]},
    "cleaning": {
        "profile": "none",
        "rules": [{"name": "</style><b>", "pattern": "^MM", "replacement": "VM"}],
    },
    "splits": {"validation": 0.3, "test": 0.3},
    "models": {"lstm": {"cell": "lstm", "hidden_size": 16, "embedding_size": 8}},
    "training": {"steps": 4, "batch_size": 2, "sequence_length": 16},
    "sampling": {
        "prompts": ["", HOSTILE],
        "temperatures": [0.0, 1.0],
        "length": 60,
        "on_unknown": "replace",
    },
}


def test_hostile_text_through_the_whole_workflow(checkout: Checkout, browser: Browser) -> None:
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
    # Held out, it would have all others wait: scoring takes as many steps as the longest has.
    assert corpus["split"][corpus["text"].str.len() == 1_000_000].tolist() == ["train"]
    assert (corpus["text"].str.contains(HOSTILE, regex=False)).sum() == len(texts)
    assert_harmless(results / "report.html", browser)


def assert_harmless(page: Path, browser: Browser) -> None:
    """Assert that nothing runs on a page or leaves it, and that the console is silent."""
    browser.open(page)
    while browser.evaluate("document.querySelectorAll('.picture.vega-embed').length") < 4:
        pass
    browser.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    for width in (1280, 390):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    foreign = "document.querySelectorAll('img, b[onclick], iframe, a:not([href^=\"#\"])').length"
    assert browser.evaluate(foreign) == 0
    shown = browser.evaluate("document.querySelector('main').innerText")
    assert "onerror=" in shown
    assert not set(shown) & set("\u202e\u202c\u2028\x07")
    assert browser.evaluate("document.title").startswith("hostile")
    assert browser.evaluate("performance.getEntriesByType('resource').length") == 0
    assert browser.console == []
