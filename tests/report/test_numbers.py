"""Every number on the page, from results in which no two numbers are equal."""

import hashlib
import html
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.report.conftest import report_of, write_json, write_results, write_sizes

from charlm.report.corpus import read_cleaning

MODELS = {"lstm": {"seeds": [1, 2, 7], "hidden_size": 77, "num_layers": 3}, "gru": {"cell": "gru"}}
SCORES = {  # validation, test
    "lstm.seed1": (1.71, 1.9),
    "lstm.seed2": (1.75, 1.84),
    "lstm.seed7": (1.73, 2.0),
    "gru": (1.5, 2.3),
    "5-gram": (2.2, 2.1),
    "Kneser-Ney, order 7": (2.05, 2.15),
    "PPMd, order 9 (adapts)": (2.01, 2.18),
    "xz (adapts)": (3.1, 3.0),
}
# doc_id, split, characters, and bits per character of the held-out rows under the best model. Two
# documents are cut by the splits, two are short, and one is empty.
ROWS = [
    (0, "train", 700, None),
    (1, "train", 40, None),
    (1, "validation", 160, 2.5),
    (2, "validation", 200, 1.5),
    (2, "test", 120, 3.5),
    (3, "test", 99, 9.0),
    (4, "test", 100, 1.25),
    (5, "test", 1250, 1.75),
    (6, "test", 130, 2.25),
    (7, "test", 20, 0.25),
    (8, "test", 0, 0.0),
    (9, "test", 140, 2.0),
]


class ParsedPage(HTMLParser):
    """Collects the rows of each table by its caption, the text of each section, and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.tables: dict[str, list[list[str]]] = {}
        self.sections: dict[str, str] = {}
        self.scripts: list[Any] = []
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._inside = ""
        self._caption = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        if tag == "section":
            self._open.append(known.get("id") or "")
        elif tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        if tag == "script":
            self._inside = "script" if known.get("type") == "application/json" else "code"
        elif tag in ("caption", "td", "th"):
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._open.pop()
        elif tag == "table":
            rows = [[" ".join(cell.split()) for cell in row] for row in self._rows]
            self.tables[" ".join(self._caption.split())] = rows
        if tag in ("caption", "td", "th", "script"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(json.loads(data))
        elif self._inside == "caption":
            self._caption += data
        elif self._inside in ("td", "th"):
            self._rows[-1][-1] += data
        if self._inside not in ("script", "code"):
            for name in self._open:
                self.sections[name] = self.sections.get(name, "") + data

    def text(self, section: str) -> str:
        """Return the text of a section with all white space as single spaces."""
        return " ".join(self.sections[section].split())

    def labels(self, chart: int) -> list[str]:
        """Return the labels of the marks of a chart, in its wide form."""
        found = re.findall(r'aria-label="([^"]*)"><div class="wide-only">(.*?)</svg>', self.page)
        (picture,) = [svg for text, svg in found if text.startswith(CHARTS[chart])]
        kind = "bar" if chart == 3 else "circle"
        marks = re.findall(rf'aria-label="([^"]*)"[^>]*aria-roledescription="{kind}"', picture)
        return [html.unescape(label) for label in marks if re.match(LABELS[chart], label)]

    def drawn(self, chart: int) -> list[str]:
        """Return the texts in a chart, in its wide form."""
        found = re.findall(r'aria-label="([^"]*)"><div class="wide-only">(.*?)</svg>', self.page)
        (picture,) = [svg for text, svg in found if text.startswith(CHARTS[chart])]
        return re.findall("<text [^>]*>(.*?)</text>", picture)


CHARTS = ("Learning curves", "Bits per symbol by position", "Calibration", "Held-out documents")
LABELS = (r".*, step ", r".*, symbols ", r".*, confidence ", r"[\d.]+ to ")


def score(label: str, split: int) -> dict[str, Any]:
    bits = SCORES[label][split]
    return {
        "nats_per_character": bits * math.log(2),
        "bits_per_character": bits,
        "bits_per_character_interval": [bits - 0.05 - 0.01 * split, bits + 0.07 + 0.01 * split],
        "characters": 360 if split == 0 else 1859,
    }


def both(label: str) -> dict[str, Any]:
    return {"validation": score(label, 0), "test": score(label, 1)}


def diagnostics(shift: float) -> dict[str, Any]:
    return {
        "position": [
            {"from": 0, "to": 1, "symbols": 9, "bits_per_symbol": 5.5 + shift},
            {"from": 1, "to": 2, "symbols": 8, "bits_per_symbol": 0.0},
        ],
        "class": [
            {"class": "letter within a word", "symbols": 30, "bits_per_symbol": 2.5 + shift},
            {"class": "space", "symbols": 10, "bits_per_symbol": 0.5 + shift},
        ],
        "calibration": {
            "expected_calibration_error": 0.0321 + shift / 100,
            "bins": [{"symbols": 40, "confidence": 0.625 + shift / 10, "accuracy": 0.5}],
        },
    }


def write_model(folder: Path, number: int) -> None:
    write_json(
        folder / "metrics.json",
        {**both(folder.name), "parameters": 1234567 + number, "steps": 20000 + number}
        | {"device": f"cpu{number}", "engine": f"engine{number}", "precision": f"float{number}"}
        | {"gate_learned_on": None},
    )
    write_json(
        folder / "diagnostics.json",
        {"validation": diagnostics(-0.2), "test": diagnostics(number / 10)},
    )
    write_json(
        folder / "timing.json",
        {"seconds": 12.25 + number, "characters_per_second": 34567 + number},
    )
    (folder / "history.csv").write_text(
        "step,epoch,characters,learning_rate,train_bits_per_character,validation_bits_per_character\n"
        f"500,0.25,32000,0.005,5.{number**2},\n1000,0.5,64000,0.003,4.{number**2}5,4.{number**2}\n"
        f"2000,1.0,128000,0.001,3.{number**2}5,\n"
    )
    # No two models have the same checksum.
    with (folder / "model.json").open("a") as file:
        file.write("\n" * number)
    samples = [
        {"prompt": "A ", "temperature": temperature, "top_k": 5, "top_p": 0.9, "seed": seed}
        | {"text": "x" * 200, "finish_reason": "length"}
        for temperature in (0.5, 1.25)
        for seed in range(6 if temperature == 0.5 else 2)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in samples))


def write_corpus(folder: Path) -> None:
    texts = [f"{number} {split} ".ljust(length, "漢")[:length] for number, split, length, _ in ROWS]
    ids, splits = [row[0] for row in ROWS], [row[1] for row in ROWS]
    table = {"doc_id": pa.array(ids, pa.int64()), "split": splits, "text": texts}
    write_sizes(folder, [(split, length) for _, split, length, _ in ROWS], documents=10)
    pq.write_table(pa.table(table), folder / "corpus.parquet", row_group_size=2)
    numbers = pa.array(range(10), pa.int64())
    table = {"doc_id": numbers, "text": ["raw"] * 10, "label": [f"l{n}" for n in range(10)]}
    pq.write_table(pa.table(table), folder / "documents.parquet")
    held_out = [row for row in ROWS if row[3] is not None]
    names = ("doc_id", "split", "characters", "bits_per_character")
    columns = dict(zip(names, zip(*held_out, strict=True), strict=True))
    pq.write_table(pa.table(columns), folder / "models/lstm.seed2/document_scores.parquet")
    rejected = {"source": ["texts.csv"] * 1025, "row": range(1001, 2026), "reason": ["why"] * 1025}
    pq.write_table(pa.table({**rejected, "excerpt": ["…"] * 1025}), folder / "rejected.parquet")
    (folder / "cleaning.tsv").write_text(
        "rule\tmatches\tcharacters_removed\tdocuments\n"
        "links\t1200\t34567\t89\nidle\t0\t0\t0\nspaces\t3000\t5000\t2345\n"
    )
    symbols = ["a", "b", "7", " ", "c", "<unknown>", "<end_of_document>"]
    vocabulary = {"unit": "character", "symbols": symbols, "counts": [5, 7000, 6, 30, 40, 0, 10]}
    write_json(
        folder / "vocabulary.json",
        {**vocabulary, "special": {"unknown": 5, "end_of_document": 6}},
    )


def write_comparison(folder: Path) -> None:
    rows = [
        ("lstm.seed2", "lstm.seed1", 0.06, [-0.01, 0.13]),
        ("lstm.seed2", "ngram", 0.26, [0.001, 0.33]),
        ("kneser_ney", "gru", 0.15, None),
        ("ngram", "ppmd", 0.08, [0.01, 0.2]),
        ("ngram", "xz", 0.9, [0.8, 1.0]),
    ]
    differences = [
        {"better": better, "worse": worse, "bits_per_character": bits, "interval": interval}
        for better, worse, bits, interval in rows
    ]
    validation = [{**each, "bits_per_character": 0.77} for each in differences]
    seeds = {"name": "lstm", "seeds": 3, "bits_per_character": 1.913, "standard_deviation": 0.081}
    write_json(
        folder / "comparison.json",
        {
            "validation": {
                "documents": 5,
                "differences": validation,
                "seeds": [{**seeds, "name": "gru"}],
            },
            "test": {"documents": 6, "differences": differences, "seeds": [seeds]},
        },
    )


def write_memorization(folder: Path) -> None:
    def copied(longest: int, share: float | None, passages: int = 0) -> dict[str, Any]:
        return {"longest": [3, 3 + longest], "share": share, "passages": [[3, 60]] * passages}

    # Six samples of the first temperature, two of the second.
    first = [copied(length, length / 1000) for length in (10, 12, 14, 17, 20, 49)]
    first += [copied(31, None), copied(1030, 0.5, 2)]
    other = [copied(5, 0.0)] * 6 + [copied(7, 0.0001), copied(52, 0.0003, 1)]
    models = {"lstm.seed1": first, "lstm.seed2": first, "lstm.seed7": first, "gru": other}
    held_out = [copied(40, 0.0), copied(61, 0.25, 1), copied(45, None)]
    near = {
        "validation": {"documents": 1, "characters": 60},
        "test": {"documents": 0, "characters": 0},
    }
    write_json(
        folder / "memorization.json",
        {"run": 50, "models": models, "held_out": held_out, "near_duplicates": near},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of four models in which no two numbers are equal."""
    made = write_results(tmp_path_factory.mktemp("results") / "tiny")
    for seed in (1, 2, 7):
        shutil.copytree(made / "models/lstm", made / f"models/lstm.seed{seed}")
    for number, name in enumerate(("lstm.seed1", "lstm.seed2", "lstm.seed7", "gru")):
        write_model(made / "models" / name, number)
    write_corpus(made)
    write_json(
        made / "baselines.json",
        {
            "ngram": {"order": 5, **both("5-gram")},
            "kneser_ney": {"order": 7, **both("Kneser-Ney, order 7")},
            "ppmd": {"order": 9, **both("PPMd, order 9 (adapts)")},
            "xz": both("xz (adapts)"),
        },
    )
    write_comparison(made)
    write_memorization(made)
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> ParsedPage:
    """The report."""
    return ParsedPage(report_of(folder, models=MODELS))


def test_the_headline(page: ParsedPage) -> None:
    text = page.text("summary")
    strongest = "12% fewer than the strongest baseline, the 5-gram."
    assert "lstm.seed2 has read 2 documents (740 characters) and guesses" in text
    assert f"It needs 1.84 bits per character, {strongest}" in text
    assert "between 3.6 equally likely characters; the vocabulary has 7 symbols" in text
    tiles = re.search(
        r"documents([\d,]+)characters([\d,]+)symbols(\d+)models(\d)", text.replace(" ", "")
    )
    assert tiles
    assert tiles.groups() == ("10", "2,959", "7", "4")


def test_the_ranking_is_by_the_test_text(page: ParsedPage) -> None:
    name = "Bits per character on the test text; lower is better. Whiskers are 95% intervals."
    ranked = ["lstm.seed2", "lstm.seed1", "lstm.seed7", "5-gram", "Kneser-Ney, order 7"]
    ranked += ["PPMd, order 9 (adapts)", "gru", "xz (adapts)"]
    expected = [
        [label, f"{bits:.3f} {bits - 0.06:.3f} to {bits + 0.08:.3f}"]
        for label in ranked
        for bits in [SCORES[label][1]]
    ]
    assert page.tables[name][1:] == expected
    bars = page.page[page.page.index('<table class="bars">') :]
    bars = bars[: bars.index("</table>")]
    assert [float(width) for width in re.findall(r'<rect .*?width="(.*?)%"', bars)] == [
        pytest.approx(100 * SCORES[label][1] / 3.08, abs=0.006) for label in ranked
    ]
    assert [float(end) for end in re.findall(r'x1="(.*?)%" x2="\1%"', bars)] == [
        pytest.approx(100 * (SCORES[label][1] + way) / 3.08, abs=0.006)
        for label in ranked
        for way in (-0.06, 0.08)
    ]


def test_documents_and_characters_of_the_splits(page: ParsedPage) -> None:
    assert page.tables["Splits of the corpus"][1:] == [
        ["train", "2", "740", "25.0%"],
        ["validation", "2", "360", "12.2%"],
        ["test", "8", "1,859", "62.8%"],
    ]
    assert "10 documents from" in page.text("summary")


def test_cleaning_and_rejected_rows(page: ParsedPage) -> None:
    assert "2 cleaning rules matched and removed 39,567 characters; 1,025 rows were" in (
        page.text("summary")
    )
    assert page.tables["Rules that matched, in the order they ran"][1:] == [
        ["links", "1,200", "34,567", "89"],
        ["spaces", "3,000", "5,000", "2,345"],
    ]
    text = page.text("cleaning")
    assert "Rules that matched nothing: idle." in text
    assert "1,025 rows of the source could not be used. The first 20 are shown here" in text
    rows = page.tables["Rejected rows"][1:]
    assert [row[1] for row in rows] == [f"{number:,}" for number in range(1001, 1021)]


def test_memorization(page: ParsedPage) -> None:
    text = page.text("summary")
    assert "a sample with the training text has 1,030 characters" in text
    assert "that of held-out text 61." in text
    assert "2 samples copy 50 or more characters in a row." in text
    assert page.tables["Overlap with the training text"][1:] == [
        ["lstm.seed1", "0.5", "6", "15.5", "49", "2.0%"],
        ["1.25", "2", "530.5", "1,030", "50.0%"],
        ["gru", "0.5", "6", "5", "5", "0.0%"],
        ["1.25", "2", "29.5", "52", "under 0.1%"],
        ["held-out text", "–", "3", "45", "61", "12.5%"],
    ]


def test_near_duplicates_stand_beside_the_scores(page: ParsedPage) -> None:
    assert (
        "Of the held-out documents, 1 of 2 in validation (16.7% of the characters) and 0 of 8 in "
        "test nearly repeat a training document. They make the scores look better than on new text"
    ) in page.text("scores")


def test_samples_show_their_sampling_settings(page: ParsedPage) -> None:
    text = page.text("samples")
    drawn = re.findall(r"temperature ([\d.]+) top-k (\d+) top-p ([\d.]+)", text)
    assert drawn == [("0.5", "5", "0.9"), ("1.25", "5", "0.9")] * 2
    assert (text.count("3 more"), text.count("1 more")) == (2, 2)


def test_the_learning_curves(page: ParsedPage) -> None:
    assert page.tables["Bits per character during training"][1:] == [
        row
        for number, label in enumerate(("lstm.seed1", "lstm.seed2", "lstm.seed7", "gru"))
        for row in (
            [label, "500", "0.25", "32,000", "0.005", f"5.{number**2}", "–"],
            [label, "1,000", "0.5", "64,000", "0.003", f"4.{number**2}5", f"4.{number**2}"],
            [label, "2,000", "1.0", "128,000", "0.001", f"3.{number**2}5", "–"],
        )
    ]
    assert {"5-gram", "Kneser-Ney, order 7", "PPMd, order 9", "xz"} <= set(page.drawn(0))
    # Those of step 500 are left out, above all validation scores, which are at most 4.9.
    assert sorted(page.labels(0)) == [
        f"{name}, {text}, step {step} characters read): {bits} bits per character"
        for name, text, step, bits in (
            ("gru", "training", "1,000 (64,000", "4.950"),
            ("gru", "training", "2,000 (128,000", "3.950"),
            ("gru", "validation", "1,000 (64,000", "4.900"),
            ("lstm", "training", "1,000 (64,000", "4.217"),
            ("lstm", "training", "2,000 (128,000", "3.217"),
            ("lstm", "validation", "1,000 (64,000", "4.167"),
        )
    ]


def test_the_table_of_scores(page: ParsedPage) -> None:
    def cells(label: str, split: int) -> list[str]:
        record = score(label, split)
        low, high = record["bits_per_character_interval"]
        bits = record["bits_per_character"]
        return [f"{bits:.3f}", f"{low:.3f} to {high:.3f}", f"{bits * math.log(2):.3f}"]

    rows = page.tables["Scores of models and baselines on the held-out text"]
    assert rows[0] == ["", "validation, 360 characters", "test, 1,859 characters"]
    assert rows[1] == ["model", *["bits", "95% interval", "nats"] * 2]
    assert rows[2:] == [[label, *cells(label, 0), *cells(label, 1)] for label in SCORES]


def test_the_spread_over_seeds(page: ParsedPage) -> None:
    assert page.tables["Mean and spread over the seeds"][1:] == [
        ["lstm", "1, 2, 7", "1.913", "0.081", "1.840 to 2.000"]
    ]


def test_the_table_of_models(page: ParsedPage) -> None:
    rows = page.tables["Sizes of the models and their training"][1:]
    layers = ["1 × LSTM, 6 units"] * 3 + ["1 × GRU, 6 units"]
    assert rows == [
        [
            *(label, layer, f"{1234567 + number:,}", f"{20000 + number:,}", str(seed)),
            *(f"cpu{number}", f"engine{number}", f"float{number}"),
        ]
        for number, (label, layer, seed) in enumerate(
            zip(
                ("lstm.seed1", "lstm.seed2", "lstm.seed7", "gru"), layers, (1, 2, 7, 0), strict=True
            )
        )
    ]


def test_the_paired_comparison(page: ParsedPage) -> None:
    rows = page.tables["Differences between models and baselines on the test text"][1:]
    assert rows == [
        ["lstm.seed2", "lstm.seed1", "0.060", "-0.010 to +0.130", "no", ""],
        ["lstm.seed2", "5-gram", "0.260", "+0.001 to +0.330", "yes", ""],
        ["Kneser-Ney, order 7", "gru", "0.150", "–", "unknown", ""],
    ]
    # The scale goes from the lowest of all bounds, -0.01, to the highest, 0.33.
    places = [float(place) for place in re.findall(r'<circle cx="(.*?)%"', page.page)]
    assert places == pytest.approx(
        [100 * (bits + 0.01) / 0.34 for bits in (0.06, 0.26, 0.15)], abs=0.006
    )
    zeros = [float(place) for place in re.findall(r'class="zero" x1="(.*?)%"', page.page)]
    assert zeros == pytest.approx([100 * 0.01 / 0.34] * 3, abs=0.006)


def test_the_plot_of_differences_includes_zero(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(folder, copy)
    row = {"better": "gru", "worse": "ngram", "bits_per_character": 0.3, "interval": [0.2, 0.4]}
    test = {"documents": 2, "differences": [row], "seeds": []}
    write_json(copy / "comparison.json", {"validation": None, "test": test})
    page = report_of(copy, models=MODELS)
    assert re.findall(r'class="zero" x1="(.*?)"', page) == ["0.00%"]
    assert re.findall(r'<circle cx="(.*?)"', page) == ["75.00%"]


def test_the_error_analysis(page: ParsedPage) -> None:
    rows = page.tables["Bits per symbol of the test text, by class of character"]
    assert rows == [
        ["class", "share of symbols", "lstm.seed1", "gru", ""],
        ["letter within a word", "75.0%", "2.500", "2.800", ""],
        ["space", "25.0%", "0.500", "0.800", ""],
    ]
    assert "lstm.seed1 3.21%, gru 3.51%." in page.text("error_analysis")
    section = page.page[page.page.index('<section id="error_analysis"') :]
    widths = re.findall(r'<rect width="(.*?)%" height="100%"', section)
    assert [float(width) for width in widths] == pytest.approx(
        [100 * bits / 2.8 for bits in (2.5, 2.8, 0.5, 0.8)], abs=0.006
    )
    assert page.labels(1) == [
        "lstm, symbols 0 to 0: 5.500 bits per symbol",
        "lstm, symbols 1 to 1: 0.001 bits per symbol",
        "gru, symbols 0 to 0: 5.800 bits per symbol",
        "gru, symbols 1 to 1: 0.001 bits per symbol",
    ]
    assert page.labels(2) == [
        "lstm, confidence 62.5%: right in 50.0% of 40 symbols",
        "gru, confidence 65.5%: right in 50.0% of 40 symbols",
    ]


def test_the_histogram_of_the_best_models_documents(page: ParsedPage) -> None:
    bits = np.array([row[3] for row in ROWS if row[3]])
    assert "Half of them lie between 1.50 and 2.50;" in page.text("documents")
    pattern = r"([\d.]+) to ([\d.]+) bits per character: (\d+) documents"
    bars = [tuple(map(float, re.fullmatch(pattern, bar).groups())) for bar in page.labels(3)]  # type: ignore[union-attr]
    assert len(bars) == 40
    assert sum(count for _, _, count in bars) == len(bits) == 9
    # The document of 9 bits lies beyond the upper fence, 2.5 + 3 * (2.5 - 1.5).
    assert (bars[0][0], bars[-1][1]) == (0.25, 5.5)
    edges = np.linspace(0.25, 5.5, 41)
    expected, _ = np.histogram(np.minimum(bits, 5.5), edges)
    assert [count for _, _, count in bars] == expected.tolist()


def test_the_hardest_and_the_easiest_documents(page: ParsedPage) -> None:
    text = page.text("documents")
    assert "Documents of fewer than 100 characters are left out of the lists." in text

    def listed(title: str) -> list[tuple[str, ...]]:
        pattern = (
            r"(\d\.\d{3}) bits per character (\d+ \w+) \S+ "
            r"document (\d+) ([\d,]+) characters (\w+) label: (\w+)"
        )
        lists = page.page[page.page.index(f'<h3 id="{title}">') :]
        return re.findall(
            pattern, ParsedPage(f"<section id='x'>{lists.split('</ol>')[0]}</section>").text("x")
        )

    assert listed("hardest") == [
        ("3.500", "2 test", "2", "120", "test", "l2"),
        ("2.500", "1 validation", "1", "160", "validation", "l1"),
        ("2.250", "6 test", "6", "130", "test", "l6"),
    ]
    assert listed("easiest") == [
        ("1.250", "4 test", "4", "100", "test", "l4"),
        ("1.500", "2 validation", "2", "200", "validation", "l2"),
        ("1.750", "5 test", "5", "1,250", "test", "l5"),
    ]


def test_if_most_documents_are_short_the_shorter_half_is_left_out(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(folder, copy)
    path = copy / "models/lstm.seed2/document_scores.parquet"
    short = pa.table({"doc_id": [3, 4, 6, 7, 9], "split": ["test"] * 5})
    short = short.append_column("characters", pa.array([99, 5, 30, 20, 40]))
    short = short.append_column("bits_per_character", pa.array([2.0, 9.0, 4.0, 1.0, 3.0]))
    pq.write_table(short, path)
    text = ParsedPage(report_of(copy, models=MODELS)).text("documents")
    assert "Documents of fewer than 30 characters are left out of the lists." in text
    assert re.findall(r"(\d\.\d{3}) bits per character", text) == ["4.000", "2.000"]


def test_the_symbols_and_their_counts(page: ParsedPage) -> None:
    text = page.text("vocabulary")
    assert "7 symbols (characters), the most frequent first" in text
    assert "letters (3), special symbols (2), digits and numbers (1), spaces (1)." in text
    items = re.findall(r"<li title=\"(.*?)\">.*?<span>([\d,]+)</span>", page.page, re.DOTALL)
    assert items == [
        ("latin small letter b", "7,000"),
        ("latin small letter c", "40"),
        ("space", "30"),
        ("end of document", "10"),
        ("digit seven", "6"),
        ("latin small letter a", "5"),
        ("unknown", "0"),
    ]


def test_the_checksums_are_those_of_the_files(page: ParsedPage, folder: Path) -> None:
    rows = page.tables["SHA-256 checksums of inputs and models"][1:]
    assert [name for name, _ in rows] == [
        *("documents.parquet", "corpus.parquet", "vocabulary.json"),
        *(
            f"models/{label}/{file}"
            for label in ("lstm.seed1", "lstm.seed2", "lstm.seed7", "gru")
            for file in ("model.safetensors", "model.json")
        ),
    ]
    for name, digest in rows:
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_the_timing(page: ParsedPage) -> None:
    assert page.tables["Training time"][1:] == [
        ["lstm.seed1", "12.2", "34,567", "cpu0", "engine0", "float0"],
        ["lstm.seed2", "13.2", "34,568", "cpu1", "engine1", "float1"],
        ["lstm.seed7", "14.2", "34,569", "cpu2", "engine2", "float2"],
        ["gru", "15.2", "34,570", "cpu3", "engine3", "float3"],
    ]


def test_what_is_left_over_is_no_rule(tmp_path: Path) -> None:
    path = tmp_path / "cleaning.tsv"
    path.write_text(
        "rule\tmatches\tcharacters_removed\tdocuments\nlinks\t2\t30\t1\n"
        "left over: mojibake\t7\t0\t3\nleft over: terminal escapes\t0\t0\t0\n"
    )
    cleaning = read_cleaning(path)
    assert [row.rule for row in cleaning.active] == ["links"]
    assert not cleaning.idle
    [left] = cleaning.left_over
    assert (left.rule, left.matches, left.documents) == ("mojibake", 7, 3)
