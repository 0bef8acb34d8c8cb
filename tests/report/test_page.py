"""The report: one file, whole, the same each time, and deaf to what the corpus says."""

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from charlm.config import resolve
from charlm.report.page import compared, shown, write_report

HOSTILE = (
    "</title></style></script><script>document.title = 'run'</script>"
    "<img src=x onerror=\"document.title = 'run'\"><!-- {{ 7 * 7 }} \u202egnp.exe\u202c\u2028\x07"
    "<a href='https://example.org/'>"
)
CONFIG = {
    "corpus": {"name": "tiny", "source": "/home/somebody/texts.csv", "keep_columns": ["label"]},
    "sampling": {"prompts": ["", "A </p>"], "temperatures": [0.5, 1.0]},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a results folder of two models, with hostile text wherever text can come from."""
    folder = tmp_path / "results" / "tiny"
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
    (folder / "cleaning.tsv").write_text(
        "rule\tmatches\tcharacters_removed\tdocuments\nlinks\t1200\t-3\t2\n<b>\t0\t0\t0\n"
    )
    _write_json(
        folder / "vocabulary.json",
        {
            "unit": "character",
            "symbols": ["a", "<", "\n", "\u202e", "\u0301", "<unknown>", "<end_of_document>"],
            "counts": [9, 8, 7, 6, 5, 0, 1],
            "special": {"unknown": 5, "end_of_document": 6},
        },
    )
    _write_json(
        folder / "baselines.json",
        {
            "ngram": {"order": 5, "validation": _score(2.0), "test": _score(2.0)},
            "xz": {"validation": _score(3.0), "test": _score(3.0)},
        },
    )
    for name, bits in (("lstm", 1.84), ("gru", 2.2)):
        _write_model(folder / "models" / name, bits, texts, splits)
    return folder


def _write_model(model: Path, bits: float, texts: list[str], splits: list[str]) -> None:
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights of " + model.name.encode())
    (model / "model.json").write_text("{}")
    (model / "history.csv").write_text(
        "step,epoch,characters,learning_rate,train_bits_per_character,validation_bits_per_character\n"
        f"10,0.5,1000,0.003,4.5,4.1\n20,1.0,2000,0.001,{bits + 0.1},{bits}\n"
    )
    _write_json(model / "timing.json", {"seconds": 12.5, "characters_per_second": 160})
    _write_json(
        model / "metrics.json",
        {"validation": _score(bits), "test": _score(bits), "parameters": 1234, "steps": 20}
        | {"device": "cpu", "engine": "fused", "precision": "float32"},
    )
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
        | {"seed": seed, "text": f"{HOSTILE} says {model.name}"}
        for prompt in CONFIG["sampling"]["prompts"]
        for temperature in CONFIG["sampling"]["temperatures"]
        for seed in (0, 1)
    ]
    (model / "samples.jsonl").write_text(
        "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
    )


def _score(bits: float) -> dict[str, Any]:
    return {"nats_per_character": bits * 0.6931, "bits_per_character": bits, "characters": 500}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False))


def _report(results: Path, **config: Any) -> str:
    resolved = resolve(CONFIG | config)
    output = results / "report.html"
    write_report(results, output, models=list(resolved["models"]), config=resolved)
    return output.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Collects the elements of a page, and the text outside of scripts and style sheets."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.text += data


def _flowing(page: str) -> str:
    """Return the text of a page, its lines run together."""
    return re.sub("[ \n]+", " ", Elements(page).text)


def test_the_page_says_how_good_the_best_model_is(results: Path) -> None:
    text = _flowing(_report(results))
    assert "the lstm needs 1.84 bits a character, 8\u2009% fewer than the 5-gram" in text
    assert "39\u2009% fewer than xz" in text


def test_text_of_the_corpus_becomes_no_element_and_no_control(results: Path) -> None:
    page = Elements(_report(results))
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 4
    assert page.text.count(HOSTILE.split("\u202e")[0]) >= 10
    assert not set(page.text) & set("\u202e\u202c\u2028\x07")


def test_a_very_long_word_is_cut(results: Path) -> None:
    page = _report(results)
    assert "W" * 300 in page
    assert "W" * 400 not in page


def test_the_page_loads_nothing(results: Path) -> None:
    page = _report(results)
    links = [
        value
        for _, attributes in Elements(page).elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "srcset", "xlink:href", "style")
        or name.startswith("on")
    ]
    assert links
    assert all(link and link.startswith("#") for link in links)
    assert "@import" not in page
    assert "default-src &#39;none&#39;" in page
    assert len(page.encode()) < 1_500_000


def test_the_page_can_be_walked_without_eyes_or_a_mouse(results: Path) -> None:
    elements = Elements(_report(results)).elements
    tags = [tag for tag, _ in elements]
    assert tags.count("main") == tags.count("h1") == tags.count("nav") == 1
    assert tags.count("caption") == tags.count("table") > 5
    names = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(set(names)) == len(names)
    targets = {attributes["href"] for tag, attributes in elements if tag == "a"}
    assert targets <= {f"#{name}" for name in names}
    pictures = [attributes for _, attributes in elements if attributes.get("role") == "img"]
    assert len(pictures) == 2
    assert all(attributes["aria-label"] for attributes in pictures)


def test_the_same_results_give_the_same_bytes_anywhere(results: Path, tmp_path: Path) -> None:
    page = _report(results)
    elsewhere = tmp_path / "else" / "where"
    shutil.copytree(results, elsewhere)
    assert _report(elsewhere) == page
    assert str(tmp_path) not in page
    assert "/home/somebody" not in page


def test_clock_values_stand_in_one_section_only(results: Path) -> None:
    page = _report(results)
    for model in ("lstm", "gru"):
        timing = {"seconds": 99.5, "characters_per_second": 77}
        _write_json(results / "models" / model / "timing.json", timing)
    without = re.compile(r'<section id="timing".*?</section>', re.DOTALL)
    other = _report(results)
    assert other != page
    assert without.sub("", other) == without.sub("", page)


def test_without_held_out_text_the_page_says_so(results: Path) -> None:
    _without_validation(results)
    for model in ("lstm", "gru"):
        path = results / "models" / model / "metrics.json"
        _write_json(path, json.loads(path.read_text()) | {"test": None})
    _write_json(
        results / "baselines.json", {"ngram": {"order": 5, "validation": None, "test": None}}
    )
    for model in ("lstm", "gru"):
        path = results / "models" / model / "document_scores.parquet"
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    text = Elements(_report(results)).text
    assert "No text was held out" in text
    assert "No document was held out" in text


def test_without_validation_the_test_text_speaks(results: Path) -> None:
    _without_validation(results)
    text = _flowing(_report(results))
    assert "1.84 bits a character" in text
    assert "Bits per character on the test text" in text


def _without_validation(results: Path) -> None:
    for model in ("lstm", "gru"):
        folder = results / "models" / model
        metrics = json.loads((folder / "metrics.json").read_text())
        _write_json(folder / "metrics.json", metrics | {"validation": None})
        history = (folder / "history.csv").read_text()
        (folder / "history.csv").write_text(re.sub(r",[\d.]+$", ",", history, flags=re.MULTILINE))


def test_one_model_alone(results: Path) -> None:
    text = _flowing(_report(results, models={"gru": {"cell": "gru"}}))
    assert "the gru needs 2.20 bits a character, 10\u2009% more than the 5-gram" in text


def test_seeds_of_a_model_share_a_colour_and_one_writes_the_samples(results: Path) -> None:
    for seed in (1, 2):
        shutil.copytree(results / "models" / "lstm", results / "models" / f"lstm.seed{seed}")
    page = _report(results, models={"lstm": {"seeds": [1, 2]}, "gru": {"cell": "gru"}})
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
    write_report(results, results / "report.html", models=list(resolved["models"]), config=resolved)
    page = (results / "report.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'id="configuration".*?<code>(.*?)</code>', page, re.DOTALL)
    again = resolve(yaml.safe_load(html.unescape(text)))
    assert again["models"] == resolved["models"]
    assert again == resolved


def test_shown_writes_out_what_is_invisible() -> None:
    assert shown("a\u200db\n") == "<bdi>a\u200db\n</bdi>"
    assert shown("\x00") == ('<bdi><span class="code-point" title="null">U+0000</span></bdi>')
    assert shown("abcdef", 3) == "<bdi>abc…</bdi>"
    assert shown("<&>") == "<bdi>&lt;&amp;&gt;</bdi>"


def test_compared() -> None:
    assert compared(1.84, 2.0) == "8\u2009% fewer than"
    assert compared(2.2, 2.0) == "10\u2009% more than"
    assert compared(2.0, 2.001) == "about as many as"


# In a browser -----------------------------------------------------------------------------------

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


def _opened(page: Path, profile: Path) -> tuple[str, str]:
    """Return the page's elements after its scripts ran, and what the console said."""
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-extensions "
    options += "--disable-background-networking --disable-component-update --disable-sync "
    options += "--enable-logging=stderr --v=0 --virtual-time-budget=5000 --dump-dom"
    done = subprocess.run(
        [CHROMIUM, *options.split(), f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "HOME": str(profile)},
    )
    return done.stdout, "\n".join(re.findall(r".*CONSOLE.*", done.stderr))


@pytest.mark.skipif(
    not CHROMIUM, reason="no chromium, chromium-browser or google-chrome on the PATH"
)
def test_in_a_browser_hostile_text_stays_text(results: Path, tmp_path: Path) -> None:
    page = _report(results)
    dom, console = _opened(results / "report.html", tmp_path / "profile")
    assert console == ""
    assert "<title>tiny" in dom
    assert dom.count('class="picture vega-embed') == 2, "the charts have come alive"

    # The same page with its hostile text unescaped: the policy is the second line of defence, and
    # this shows that the console would have told.
    broken = results / "broken.html"
    broken.write_text(page.replace("</h1>", f"</h1>{HOSTILE}", 1), encoding="utf-8")
    dom, console = _opened(broken, tmp_path / "profile")
    assert "Content Security Policy" in console
    assert "<title>tiny" in dom
