"""Results to report on, and a browser to look at the report with."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from charlm.model.network import CharacterLanguageModel, save_model
from charlm.pipeline.config import resolve
from charlm.report.page import write_report
from charlm.text.vocabulary import Vocabulary

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
    return write_results(tmp_path / "results" / "tiny")


def write_results(folder: Path) -> Path:
    """Write the results of two models, and return their folder."""
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
    write_json(folder / "cleaning_examples.json", [example])
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
    """Write what is known of all models together."""
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
        {"name": "lstm", "seeds": 3, "bits_per_character": 2.125, "standard_deviation": 0.0625}
    ]
    split = {"documents": 3, "differences": differences, "seeds": seeds}
    write_json(folder / "comparison.json", {"validation": split, "test": split})
    copied = {"longest": [5, 25], "share": 0.25, "passages": [[0, 60]]}
    write_json(
        folder / "memorization.json",
        {"run": 50, "models": {model: [copied] * 8 for model in models}}
        | {"held_out": [{"longest": [0, 31], "share": None, "passages": []}]},
    )


def _write_model(model: Path, bits: float, texts: list[str], splits: list[str]) -> None:
    model.mkdir(parents=True)
    symbols = [*"ab <\u202e", HOSTILE, "<unknown>", "<end_of_document>"]
    vocabulary = Vocabulary(symbols, [1] * 8, {"unknown": 6, "end_of_document": 7})
    architecture: dict[str, Any] = {"cell": model.name, "hidden_size": 6, "num_layers": 1}
    torch.manual_seed(0)
    network = CharacterLanguageModel(8, **architecture)
    architecture["tie_weights"] = False
    save_model(model, network, vocabulary=vocabulary, architecture=architecture, training={})
    (model / "history.csv").write_text(
        "step,epoch,characters,learning_rate,train_bits_per_character,validation_bits_per_character\n"
        f"10,0.5,1000,0.003,4.5,4.1\n20,1.0,2000,0.001,{bits + 0.1},{bits}\n"
    )
    write_json(model / "timing.json", {"seconds": 12.5, "characters_per_second": 160})
    write_json(
        model / "metrics.json",
        {"validation": _score(bits), "test": _score(bits), "parameters": 1234, "steps": 20}
        | {"device": "cpu", "engine": "fused", "precision": "float32"},
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
        | {"seed": seed, "text": f"{HOSTILE} says {model.name}"}
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


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False))


def report_of(results: Path, **config: Any) -> str:
    resolved = resolve(CONFIG | config)
    output = results / "report.html"
    write_report(results, output, models=list(resolved["models"]), config=resolved)
    return output.read_text(encoding="utf-8")


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


class Browser:
    """Headless Chromium, driven over a pipe by the Chrome DevTools Protocol."""

    def __init__(self, profile: Path) -> None:
        options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-extensions "
        options += "--disable-background-networking --disable-component-update --disable-sync "
        options += "--remote-debugging-pipe"
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()

        def hand_over() -> None:  # Chromium reads from descriptor 3 and writes to 4
            spare = [os.dup2(end, 10 + number) for number, end in enumerate((commands, answers))]
            for number, end in enumerate(spare):
                os.dup2(end, 3 + number)

        self._process = subprocess.Popen(
            [CHROMIUM, *options.split(), f"--user-data-dir={profile}"],
            preexec_fn=hand_over,
            close_fds=False,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(profile)},
        )
        os.close(commands)
        os.close(answers)
        self._rest = b""
        self._number = 0
        self.console: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the page's session."""
        return self._call(method, self._session, **parameters)

    def open(self, page: Path) -> None:
        """Open a page and wait until it has loaded."""
        self.call("Page.navigate", url=page.as_uri())
        while self.evaluate("document.readyState") != "complete":
            pass

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def close(self) -> None:
        """End the browser."""
        self._call("Browser.close")
        self._process.wait(30)
        os.close(self._commands)
        os.close(self._answers)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            event = answer.get("params", {})
            if answer.get("method") == "Log.entryAdded":
                self.console.append(event["entry"]["text"])
            if answer.get("method") == "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(part.get("value")) for part in event["args"]))
            if answer.get("method") == "Runtime.exceptionThrown":
                self.console.append(event["exceptionDetails"]["exception"]["description"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._answers, 1 << 20)
            assert data, "the browser has ended"
            self._rest += data
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser of its own for each test; without one on the PATH the test is skipped."""
    if not CHROMIUM:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
    made = Browser(tmp_path / "profile")
    yield made
    made.close()
