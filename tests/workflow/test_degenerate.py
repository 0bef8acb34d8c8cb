"""The whole chain turns tiny and degenerate texts into a report, or into an error in one line."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from charlm.errors import CharlmError
from charlm.evaluation.baseline import baseline
from charlm.evaluation.compare import compare
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.memorization import measure_memorization
from charlm.model.model_card import write_model_card
from charlm.model.sample_model import sample_model
from charlm.pipeline.config import resolve
from charlm.report.report import write_report
from charlm.settings import Architecture, MixtureSettings, SplitSettings, TrainingSettings
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.encode import encode
from charlm.text.sources.ingest import ingest
from charlm.training.mix_model import mix_model
from charlm.training.train_model import train_model
from tests.text.corpus import clean_documents

MODELS = {
    "lstm": {"hidden_size": 8, "embedding_size": 4},
    "both": {"cell": "gru", "hidden_size": 8, "members": 2, "mixture": None},
    "one_hot": {"one_hot": True, "hidden_size": "vocabulary"},
}
TENTHS = {"method": "contiguous", "validation": 0.1, "test": 0.1}
NONE = {"validation": 0, "test": 0}
LARGE = {"validation": 0.4, "test": 0.3}
BYTES, GRAPHEMES = {"unit": "byte"}, {"unit": "grapheme"}
WITHOUT_END = {"end_of_document": False, "fit_on": "all"}
SHORT = [letter * length for letter in "abcdef" for length in (1, 2, 9)]


def run_chain(folder: Path, texts: str | list[str], **settings: Any) -> Path:
    """Run all stages of the workflow in this process; return the folder of the results."""
    source = folder / ("text.txt" if isinstance(texts, str) else "texts.jsonl")
    source.write_text(
        texts if isinstance(texts, str) else "".join(json.dumps({"text": t}) + "\n" for t in texts)
    )
    config = resolve(
        {
            "corpus": {"name": "c", "source": str(source)},
            "models": MODELS,
            "training": {"steps": 2, "device": "cpu"} | settings.pop("training", {}),
            "sampling": {"length": 20},
            **settings,
        }
    )
    results = folder / "results"
    documents, corpus, vocabulary, tokens, baselines = (
        results / name
        for name in (
            *("documents.parquet", "corpus.parquet", "vocabulary.json", "tokens"),
            "baselines.json",
        )
    )
    results.mkdir()
    elsewhere = ("name", "canaries")
    read = {key: value for key, value in config["corpus"].items() if key not in elsewhere}
    ingest(documents=documents, rejected=results / "rejected.parquet", paths=[source], **read)
    splits = SplitSettings(**config["splits"])
    clean_documents(results, splits=splits, **config["cleaning"])
    build_vocabulary(corpus, vocabulary, **config["vocabulary"])
    encode(corpus, vocabulary, tokens)
    scores = results / "baseline_scores.parquet"
    baseline(vocabulary, tokens, baselines, scores)
    folders = {name: results / "models" / name for name in config["models"]}
    for name, model in folders.items():
        architecture = dict(config["models"][name])
        training = architecture.pop("training")
        checkpoints = results / "checkpoints" / name
        places = (vocabulary, tokens, model / "network", checkpoints)
        mixture = MixtureSettings.from_optional(architecture.pop("mixture"), name)
        train_model(
            *places,
            architecture=Architecture(**architecture, mixture=None),
            training=TrainingSettings.from_mapping(training, name),
            mixed=mixture is not None,
        )
        mix_model(model / "network", tokens, model, mixture=mixture, device="cpu")
        written = (
            model / file for file in ("metrics.json", "document_scores.parquet", "diagnostics.json")
        )
        evaluate(model, tokens, *written, device="cpu")
        sample_model(model, model / "samples.jsonl", device="cpu", **config["sampling"])
        write_model_card(model, model / "metrics.json", baselines, model / "README.md", corpus="c")
    of_documents = [model / "document_scores.parquet" for model in folders.values()]
    compare(scores, of_documents, results / "comparison.json", models=list(folders))
    samples = [model / "samples.jsonl" for model in folders.values()]
    measure_memorization(corpus, samples, results / "memorization.json", models=list(folders))
    write_report(
        results,
        results / "report.html",
        results / "report_without_playground.html",
        models=list(folders),
        config=config,
    )
    return results


def no_number(constant: str) -> None:
    raise AssertionError(f"{constant} is not valid JSON")


@pytest.mark.parametrize(
    ("texts", "settings"),
    [
        ("abcabcabca", {"splits": TENTHS}),
        ("abcabcabca", {"splits": TENTHS, "vocabulary": BYTES}),
        ("東京" * 20, {"splits": TENTHS, "vocabulary": BYTES}),
        ("a", {"splits": NONE}),
        ("ab", {"splits": NONE, "vocabulary": {"end_of_document": False}}),
        ("a" * 500, {"splits": TENTHS, "vocabulary": WITHOUT_END}),
        ("e\u0301" * 30, {"splits": TENTHS, "vocabulary": GRAPHEMES}),
        ("\n" * 50, {"splits": TENTHS, "cleaning": {"profile": "none"}}),
        ("a" * 100 + "b" * 20, {"splits": TENTHS}),
        (["a" * length for length in range(5, 55)], {}),
        (["a" * length for length in range(5, 55)], {"splits": LARGE, "vocabulary": WITHOUT_END}),
        (["a document, the only one"], {}),
        ([*"abcdefghijklmnopqrstuvwxyz"], {"splits": LARGE}),
        ([*"abcdéfghijklmn東opqrstuvwxy"], {"splits": LARGE, "vocabulary": BYTES}),
        (SHORT, {"splits": {"validation": 0.4, "test": 0}}),
        (SHORT, {"splits": {"validation": 0, "test": 0.4}}),
        (["", "ab", "", "c"] * 9, {"splits": LARGE, "cleaning": {"profile": "none"}}),
        ("abcabcabca" * 3, {"splits": TENTHS, "training": {"seeds": [1, 2]}}),
        ("abcabcabca" * 3, {"splits": TENTHS, "training": {"keep": "best", "patience": 1}}),
    ],
)
def test_a_degenerate_text_gets_a_report(
    tmp_path: Path, texts: str | list[str], settings: dict[str, Any]
) -> None:
    results = run_chain(tmp_path, texts, **settings)
    for path in results.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=no_number)
    page = (results / "report.html").read_text()
    shown = re.sub(r"(?s)<(script|style)>.*?</\1>|<script type.*?</script>", "", page)
    assert "</html>" in shown
    for text in (shown, *(path.read_text() for path in results.rglob("README.md"))):
        assert not re.search(r"(?i)\b(nan|inf|infinity)\b|-0\.0+\b", text)


@pytest.mark.parametrize(
    ("texts", "settings", "line"),
    [
        ("a", {"splits": TENTHS}, "corpus.parquet: too few characters to split contiguously (1)"),
        ("ab", {"splits": TENTHS}, "tokens/train.npy: fewer than two tokens"),
        (
            ["aaaa", "aaaa"],
            {"splits": {**LARGE, "method": "document"}},
            "too few documents to split (1)",
        ),
        (["<b></b>"] * 9, {}, "corpus.parquet: cleaning leaves no text"),
        ("   ", {}, "corpus.parquet: cleaning leaves no text"),
        ("", {}, "'text' is empty or missing in all 1 records"),
        (SHORT, {"vocabulary": {"min_count": 99}}, "no symbol occurs 99 times; lower vocabulary.m"),
        (SHORT, {"vocabulary": {"min_count": 99, **GRAPHEMES}}, "no symbol occurs 99 times"),
        (
            SHORT,
            {"models": {"m": {"hidden_size": 200_000}}},
            "(hidden_size 200000) needs at least 1,920,",
        ),
        (
            SHORT,
            {"models": {"m": {"hidden_size": 1_000_000, "members": 100, "num_layers": 2}}},
            "of memory, and ",
        ),
    ],
)
def test_an_impossible_run_is_an_error_in_one_line(
    tmp_path: Path, texts: str | list[str], settings: dict[str, Any], line: str
) -> None:
    with pytest.raises(CharlmError) as raised:
        run_chain(tmp_path, texts, **settings)
    assert line in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from charlm.training import trainer
from tests.workflow.test_degenerate import SHORT, run_chain
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1_500_000_000,) * 2)
run_chain(Path(sys.argv[1]), SHORT, models={"m": {"hidden_size": 12_000}})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_limit_on_memory_gives_the_same_error(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", LITTLE_MEMORY, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert "CharlmError: training: a model of " in done.stderr
    assert "(hidden_size 12000) needs at least " in done.stderr
