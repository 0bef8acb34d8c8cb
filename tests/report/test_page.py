"""The report: one self-contained file that is reproducible and safe against hostile text."""

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from playwright.sync_api import Page
from tests.report.conftest import (
    CONFIG,
    HOSTILE,
    assert_fits,
    console,
    open_report,
    report_of,
    write_comparison,
    write_json,
    write_sizes,
)

from charlm.pipeline.config import resolve
from charlm.report.playground import embed
from charlm.report.report import write_report


class Elements(HTMLParser):
    """Collects the elements of a page, and the text outside of scripts and style sheets."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self.text += " " * (tag in ("td", "th"))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.text += data


def text_of(page: str) -> str:
    """Return the text of a page with its lines joined."""
    return re.sub("[ \n]+", " ", Elements(page).text)


def test_the_page_begins_with_the_score_of_the_best_model(results: Path) -> None:
    text = text_of(report_of(results))
    assert "lstm has read 1 document (240 characters) and guesses the next character" in text
    assert "of unseen text right 40% of the time." in text
    assert "lstm: weights rounded to 8 bits. So it needs" in text
    strongest = "8% fewer than the strongest baseline, the 5-gram."
    assert f"It needs 1.84 bits per character, {strongest}" in text
    assert "Trained in 25 seconds on 2 cores." in text
    assert "Not better than a simple counter: gru" in text


def test_hostile_text_adds_no_elements_and_no_control_characters(results: Path) -> None:
    page = Elements(report_of(results))
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 10
    assert page.text.count(HOSTILE.split("\u202e")[0]) >= 10
    assert not set(page.text) & set("\u202e\u202c\u2028\x07")


def test_a_very_long_word_is_cut(results: Path) -> None:
    text = Elements(report_of(results)).text
    assert "W" * 300 in text
    assert "W" * 400 not in text


def test_the_page_loads_nothing(results: Path) -> None:
    page = report_of(results)
    links = [
        value
        for _, attributes in Elements(page).elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "srcset", "xlink:href", "style")
        or name.startswith("on")
    ]
    assert links
    assert all(link and link.startswith(("#", "data:image/svg+xml,")) for link in links)
    assert len([link for link in links if link and link.startswith("data:")]) == 1
    assert "@import" not in page
    assert "default-src &#39;none&#39;" in page
    assert len(page.encode()) < 400_000


def test_the_page_is_accessible_by_keyboard_and_screen_reader(results: Path) -> None:
    elements = Elements(report_of(results)).elements
    tags = [tag for tag, _ in elements]
    assert tags.count("main") == tags.count("h1") == tags.count("nav") == 1
    assert tags.count("caption") == tags.count("table") > 5
    names = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(set(names)) == len(names)
    targets = {attributes["href"] for tag, attributes in elements if tag == "a"}
    assert targets <= {f"#{name}" for name in names}
    pictures = [attributes for _, attributes in elements if attributes.get("role") == "img"]
    assert len(pictures) == 4
    assert all(attributes["aria-label"] for attributes in pictures)


def test_the_same_results_give_the_same_bytes_in_any_folder(results: Path, tmp_path: Path) -> None:
    page = report_of(results)
    elsewhere = tmp_path / "else" / "where"
    shutil.copytree(results, elsewhere)
    assert report_of(elsewhere) == page
    assert str(tmp_path) not in page
    assert "/home/somebody" not in page


def test_clock_values_are_in_marked_elements_only(results: Path) -> None:
    page = report_of(results)
    for model in ("lstm", "gru"):
        timing = {"seconds": 99.5, "characters_per_second": 77, "threads": 3}
        write_json(results / "models" / model / "timing.json", timing)
    without = re.compile(r"<(\w+)[^<>]* data-clock.*?</\1>", re.DOTALL)
    other = report_of(results)
    assert other != page
    assert without.sub("", other) == without.sub("", page)


@pytest.mark.parametrize(
    ("splits", "advice"),
    [
        ({"validation": 0, "test": 0}, "set splits.validation or splits.test above 0."),
        ({"method": "document"}, "give more documents, or set splits.method to auto: of so few"),
        ({}, "give more text: so few characters leave none to hold out."),
    ],
)
def test_without_held_out_text_the_page_says_so_and_what_to_do(
    results: Path, splits: dict[str, Any], advice: str
) -> None:
    _without_validation(results)
    for model in ("lstm", "gru"):
        path = results / "models" / model / "metrics.json"
        write_json(path, json.loads(path.read_text()) | {"test": None})
    write_json(
        results / "baselines.json", {"ngram": {"order": 5, "validation": None, "test": None}}
    )
    for model in ("lstm", "gru"):
        path = results / "models" / model / "document_scores.parquet"
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    text = " ".join(Elements(report_of(results, splits=splits)).text.split())
    assert "No text was held out" in text
    assert advice in text
    assert "No documents were held out" in text


@pytest.mark.parametrize(("characters", "little"), [(19_999, True), (20_000, False)])
def test_scores_of_little_text_are_called_that(
    results: Path, characters: int, little: bool
) -> None:
    write_sizes(results, [("train", characters - 500), ("test", 500)], 2)
    text = " ".join(Elements(report_of(results)).text.split())
    assert ("19,999 characters, 500 of them held out, so these scores mean" in text) == little


def test_without_validation_text_the_scores_are_those_of_the_test_text(results: Path) -> None:
    _without_validation(results)
    text = text_of(report_of(results))
    assert "1.84 bits per character" in text
    assert "Bits per character on the test text" in text


def _without_validation(results: Path) -> None:
    for model in ("lstm", "gru"):
        folder = results / "models" / model
        metrics = json.loads((folder / "metrics.json").read_text())
        write_json(folder / "metrics.json", metrics | {"validation": None})
        history = (folder / "history.csv").read_text()
        (folder / "history.csv").write_text(re.sub(r",[\d.]+$", ",", history, flags=re.MULTILINE))


def test_a_single_model(results: Path) -> None:
    write_comparison(results, ["gru"])
    text = text_of(report_of(results, models={"gru": {"cell": "gru"}}))
    assert (
        "It needs 2.20 bits per character, 10% more than the strongest baseline, the 5-gram" in text
    )


def test_the_page_says_that_curves_are_of_the_network_alone(results: Path) -> None:
    sentence = "The curves of lstm are those of the network alone"
    assert sentence in report_of(results, models={"lstm": {}, "gru": {"mixture": None}})
    assert sentence not in report_of(
        results, models={"lstm": {"mixture": None}, "gru": {"mixture": None}}
    )


def test_the_page_says_which_validation_scores_are_in_sample(results: Path) -> None:
    sentence = "The gate of gru learned on the validation text"
    assert sentence not in text_of(report_of(results))
    path = results / "models/gru/metrics.json"
    write_json(path, json.loads(path.read_text()) | {"gate_learned_on": "validation"})
    assert sentence in text_of(report_of(results))


def test_the_seeds_of_a_model_share_a_colour_and_the_first_one_shows_its_samples(
    results: Path,
) -> None:
    for seed in (1, 2):
        shutil.copytree(results / "models" / "lstm", results / "models" / f"lstm.seed{seed}")
    write_comparison(results, ["lstm.seed1", "lstm.seed2", "gru"])
    page = report_of(results, models={"lstm": {"seeds": [1, 2]}, "gru": {"cell": "gru"}})
    assert '<th scope="row">lstm.seed2</th>' in page
    assert re.findall(r'<h4 class="(series-\d)">(.*?)</h4>', page)[:2] == [
        ("series-0", "lstm.seed1"),
        ("series-1", "gru"),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"training": {"seeds": [3, 4], "steps": 7}},
        {"training": {"seeds": [1, 2], "steps": 7}, "models": {"a": {"seed": 5, "epochs": 2.0}}},
        {"training": {"seed": 4}, "models": {"a": {"seeds": [8, 9]}, "b": {"cell": "gru"}}},
    ],
)
def test_the_configuration_shown_resolves_to_the_same(
    results: Path, settings: dict[str, Any]
) -> None:
    config = {**CONFIG, "corpus": {"name": "tiny", "source": "texts.csv"}, **settings}
    resolved = resolve(config)
    for name in resolved["models"]:
        if not (results / "models" / name).exists():
            shutil.copytree(results / "models" / "gru", results / "models" / name)
    write_comparison(results, list(resolved["models"]))
    write_report(
        results,
        results / "report.html",
        results / "without.html",
        models=list(resolved["models"]),
        config=resolved,
    )
    page = (results / "report.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'id="configuration".*?<code>(.*?)</code>', page, re.DOTALL)
    again = resolve(yaml.safe_load(html.unescape(text)))
    assert again["models"] == resolved["models"]
    assert again == resolved


def test_the_page_compares_the_models_and_says_what_is_significant(results: Path) -> None:
    text = text_of(report_of(results))
    assert "lstm gru 0.360 -0.010 to +0.500 no" in text
    assert "lstm 5-gram 0.160 +0.100 to +0.200 yes" in text
    assert "5-gram xz (adapts)" not in text, "differences between baselines are left out"
    assert "lstm 1.840 1.790 to 1.890" in text
    assert "lstm 3.21%" in text


def test_samples_that_the_maximum_length_cut_are_marked(results: Path) -> None:
    mark = "cut at the maximum length"
    before = report_of(results).count(mark)
    path = results / "models/gru/samples.jsonl"
    samples = path.read_text()
    path.write_text(samples.replace('"length"', '"end"'))
    assert 0 < report_of(results).count(mark) < before


def test_memorization_is_compared_with_held_out_text(results: Path) -> None:
    assert "held-out text – 1 31 31 –" in text_of(report_of(results))


def test_copied_passages_and_extreme_documents_are_shaded(results: Path) -> None:
    page = report_of(results)
    for heading, items in (("Copied passages", 1), ("Hardest", 2), ("Easiest", 2)):
        (part,) = re.findall(rf">{heading}</h[34]>(.*?)</ol>", page, re.DOTALL)
        assert part.count("<li>") == items, heading
        assert part.count('<p class="excerpt"><bdi><span class="bits-') == items, heading


def test_the_samples_of_each_validation_are_shown(results: Path) -> None:
    page = report_of(results)
    stages = re.findall(r'<div class="stage"(.*?)>(.*?)</dl>', page, re.DOTALL)
    assert [hidden for hidden, _ in stages] == [" hidden", ""] * 2, "of two models"
    assert text_of(stages[0][1]).startswith(
        "step 10 1,000 characters read 4.100 bits per character"
    )
    assert "says" not in stages[0][1]
    assert "after 10 steps" in stages[0][1]
    path = results / "models/lstm/network/learning_samples.json"
    write_json(path, {"samples": []})
    assert report_of(results).count('<div class="stage"') == 2


def test_examples_of_the_cleaning_rules_are_shown(results: Path) -> None:
    text = text_of(report_of(results))
    assert "links" in text
    assert "<a href='https://example.org/'>" in text


def test_a_band_shows_the_range_of_the_seeds(results: Path) -> None:
    for seed in (1, 2):
        folder = results / "models" / f"lstm.seed{seed}"
        shutil.copytree(results / "models" / "lstm", folder)
        history = (folder / "history.csv").read_text().replace(",4.1\n", f",{4 + seed}\n")
        (folder / "history.csv").write_text(history)
    write_comparison(results, ["lstm.seed1", "lstm.seed2"])
    page = report_of(results, models={"lstm": {"seeds": [1, 2]}})
    assert "lstm, validation, step 10 (1,000 characters read): 5.500 bits per character" in page
    assert page.count('class="mark-area') == 2 * 2, "of each text, in a wide and a narrow chart"


def test_models_that_are_too_large_for_the_page_are_named(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = embed([results / "models/lstm"], results / "tokens", None)
    room = len(alone.models[0]["weights"]["data"])
    monkeypatch.setattr("charlm.report.playground.NETWORK_BYTES", room)
    text = text_of(report_of(results))
    assert "The model runs in this page" in text
    assert "gru is too large for this page." in text


def test_in_a_browser_hostile_text_stays_text(results: Path, browser: Page) -> None:
    page = report_of(results)
    open_report(browser, results / "report.html")
    for width in (1200, 360):
        assert_fits(browser, width)
    assert browser.title().startswith("tiny")
    assert console(browser) == []

    # With its hostile text unescaped, the page is still protected by its policy, and the console
    # shows the violation.
    broken = results / "broken.html"
    broken.write_text(page.replace("</h1>", f"</h1>{HOSTILE}", 1), encoding="utf-8")
    browser.goto(broken.as_uri())
    assert "Content Security Policy" in "".join(console(browser))
    assert browser.title().startswith("tiny")


def test_an_audit_has_a_section(results: Path) -> None:
    assert 'id="audit"' not in report_of(results)
    passages = {"passages": 200, "mean_length": 4.25}
    extraction = {
        kind: {"model": passages | {"extracted": first}, "ngram": passages | {"extracted": 91}}
        for kind, first in {"training": 17, "held_out": 3}.items()
    }
    membership = {"training_documents": 1, "held_out_documents": 2, "auc": 0.625}
    audit = {
        "prefix": 50,
        "secret": 50,
        "extraction": extraction,
        "membership": membership | {"auc_interval": [0.5, 0.75]},
        "exposure": {"canaries": 2, "bits": [1.5, 6.0], "most": 10.0},
    }
    write_json(results / "models/gru/audit.json", audit)
    page = report_of(results)
    assert '<a href="#audit">Audit</a>' in page
    section = text_of(page[page.index('<section id="audit"') :].split("</section>")[0])
    assert "gru training text 200 17 91 4.2 held-out text 200 3 91 4.2" in section
    assert "with probability 0.625 (95% interval 0.500 to 0.750); chance is 0.5." in section
    assert "is 3.8 bits on average and 6.0 at most, of 10; chance is 1.4." in section
    assert "lstm" not in section
