"""Damaged results are noticed where they are read: in one line that says how to make them again."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charlm.checksums import read_json
from charlm.errors import CharlmError
from charlm.evaluation.baseline import baseline
from charlm.evaluation.compare import compare
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.memorization import measure_memorization
from charlm.model.model_card import write_model_card
from charlm.model.sample_model import sample_model
from charlm.pipeline.config import resolve
from charlm.report.page import render
from charlm.report.results import read_results
from charlm.settings import MixtureSettings
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.encode import encode
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.mix_model import mix_model
from tests.conftest import digests
from tests.text.corpus import clean_documents
from tests.workflow.test_degenerate import run_chain

TEXTS = [f"{letter * 3} document {number}. " * 4 for number, letter in enumerate("abcdefgh" * 5)]
MODEL = "models/lstm"
SPLIT_FILES = [
    f"tokens/{split}.{ending}"
    for split in ("train", "validation", "test")
    for ending in ("npy", "documents.parquet")
]
TOKENS = [*SPLIT_FILES, "tokens/summary.json"]
LOADED = [f"{MODEL}/model.json", f"{MODEL}/model.safetensors"]
SAMPLING: dict[str, Any] = resolve({"corpus": {"name": "c", "source": "s"}})["sampling"]


def read_clean(results: Path, output: Path) -> None:
    (output / "documents.parquet").symlink_to(results / "documents.parquet")
    clean_documents(output)


def read_corpus(results: Path, output: Path) -> None:
    build_vocabulary(results / "corpus.parquet", output / "vocabulary.json")


def read_encode(results: Path, output: Path) -> None:
    encode(results / "corpus.parquet", results / "vocabulary.json", output / "tokens")


def read_baseline(results: Path, output: Path) -> None:
    places = (output / "baselines.json", output / "scores.parquet")
    baseline(results / "vocabulary.json", results / "tokens", *places)


def read_train(results: Path, output: Path) -> None:
    """Read what training reads."""
    vocabulary = Vocabulary.load(results / "vocabulary.json")
    train = TokenSplit.load(results / "tokens", "train", vocabulary)
    (output / "tokens").write_bytes(train.tokens.tobytes())


def read_mix(results: Path, output: Path) -> None:
    mixture = MixtureSettings(order=4, experts=())
    mix_model(
        results / MODEL / "network", results / "tokens", output, mixture=mixture, device="cpu"
    )


def read_evaluate(results: Path, output: Path) -> None:
    names = ("metrics.json", "document_scores.parquet", "diagnostics.json")
    evaluate(results / MODEL, results / "tokens", *(output / name for name in names), device="cpu")


def read_sample(results: Path, output: Path) -> None:
    sampling = SAMPLING | {"length": 5, "prompts": [""], "temperatures": [1.0]}
    sample_model(results / MODEL, output / "samples.jsonl", device="cpu", **sampling)


def read_card(results: Path, output: Path) -> None:
    places = (results / MODEL / "metrics.json", results / "baselines.json", output / "README.md")
    write_model_card(results / MODEL, *places, corpus="c")


def read_compare(results: Path, output: Path) -> None:
    scores = [results / MODEL / "document_scores.parquet"]
    places = (results / "baseline_scores.parquet", scores, output / "comparison.json")
    compare(*places, models=["lstm"])


def read_memorization(results: Path, output: Path) -> None:
    samples = [results / MODEL / "samples.jsonl"]
    places = (results / "corpus.parquet", samples, output / "memorization.json")
    measure_memorization(*places, models=["lstm"])


def read_report(results: Path, output: Path) -> None:
    config = resolve({"corpus": {"name": "c", "source": "s"}, "models": {"lstm": {}}})
    page = render(read_results(results, ["lstm"], config))
    # The page lists checksums of files, whatever these contain.
    (output / "page.html").write_text(re.sub(r"\b[0-9a-f]{64}\b", "", page.whole))


Reader = Callable[[Path, Path], None]
READERS: dict[Reader, list[str]] = {
    read_clean: ["documents.parquet"],
    read_corpus: ["corpus.parquet"],
    read_encode: ["corpus.parquet", "vocabulary.json"],
    read_baseline: ["vocabulary.json", *TOKENS],
    read_train: ["tokens/train.npy", "tokens/train.documents.parquet", "tokens/summary.json"],
    read_mix: [
        *(f"{MODEL}/network/{name}" for name in ("model.json", "model.safetensors")),
        *(f"{MODEL}/network/{name}" for name in ("history.csv", "timing.json")),
        *SPLIT_FILES[:2],
    ],
    read_evaluate: [*LOADED, *TOKENS[2:]],
    read_sample: LOADED,
    read_card: [LOADED[0], f"{MODEL}/metrics.json", "baselines.json"],
    read_compare: ["baseline_scores.parquet", f"{MODEL}/document_scores.parquet"],
    read_memorization: ["corpus.parquet", f"{MODEL}/samples.jsonl"],
    read_report: [
        *("documents.parquet", "rejected.parquet", "corpus.parquet", "vocabulary.json"),
        *("cleaning.tsv", "cleaning_examples.json", "tokens/summary.json", "baselines.json"),
        *("comparison.json", "memorization.json", *LOADED, f"{MODEL}/document_scores.parquet"),
        *(f"{MODEL}/{name}" for name in ("metrics.json", "diagnostics.json", "samples.jsonl")),
        *(f"{MODEL}/{name}" for name in ("history.csv", "timing.json")),
        f"{MODEL}/network/learning_samples.json",
    ],
}
UNDETECTED = {
    (read_memorization, f"{MODEL}/samples.jsonl"),
    (read_report, f"{MODEL}/samples.jsonl"),
}
"""A line of samples.jsonl has no place for a checksum: another text is another sample, and no lines
are no samples. The report notices that samples are missing."""


def flipped(place: float) -> Callable[[bytes], bytes]:
    """Return a function that flips a bit at a place from 0 (the first byte) to 1."""

    def flip(data: bytes) -> bytes:
        index = int(place * (len(data) - 1))
        return data[:index] + bytes([data[index] ^ 4]) + data[index + 1 :]

    return flip


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{f"flip at {place}": flipped(place) for place in (0.1, 0.35, 0.6, 0.85, 1)},
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "foreign": lambda data: b"\xff\xfe of another program \x00",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = {"lstm": {"hidden_size": 8, "embedding_size": 4, "mixture": {"order": 4}}}
    return run_chain(tmp_path_factory.mktemp("damage"), TEXTS, models=models)


@pytest.mark.parametrize(
    ("reader", "name"),
    [(reader, name) for reader, names in READERS.items() for name in names],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_no_damage_is_silent(results: Path, tmp_path: Path, reader: Reader, name: str) -> None:
    path, whole = results / name, (results / name).read_bytes()
    (tmp_path / "whole").mkdir()
    reader(results, tmp_path / "whole")
    foreign = {"foreign JSON": lambda data: b"{}"} if name.endswith(".json") else {}
    for damage, harm in (DAMAGES | foreign).items():
        if damage == "empty" and not whole:
            continue
        output = tmp_path / damage
        output.mkdir()
        try:
            path.write_bytes(harm(whole))
            reader(results, output)
        except CharlmError as error:
            line = str(error)
            assert len(line.splitlines()) == 1
            assert path.name in line or path.parent.name in line, (damage, line)
            assert "again" in line, (damage, line)
        else:
            if damage == "cut" or (reader, name) not in UNDETECTED:
                assert digests(output) == digests(tmp_path / "whole"), f"{damage} is silent"
        finally:
            path.write_bytes(whole)


@pytest.mark.parametrize("name", ["history.csv", "timing.json", "metrics.json", "diagnostics.json"])
def test_a_foreign_file_beside_a_model_is_called_that(
    results: Path, tmp_path: Path, name: str
) -> None:
    """Without a checksum, the content shows it."""
    folder = results / MODEL
    whole = {path: path.read_bytes() for path in (folder / "timing.json", folder / name)}
    record = '{"seconds": "5", "test": {"loss": 1}}'
    foreign = "step,loss\n1,2.5\n" if name == "history.csv" else record
    try:
        (folder / "timing.json").write_text('{"seconds": 1.5, "characters_per_second": 20}')
        (folder / name).write_text(foreign)
        with pytest.raises(CharlmError, match=rf"{name}: is not what charlm writes there; make it"):
            read_report(results, tmp_path)
    finally:
        for path, data in whole.items():
            path.write_bytes(data)


def test_the_last_value_of_a_foreign_file_may_look_like_a_checksum(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"sha": "0123abcd"}')
    assert read_json(tmp_path / "a.json", dict[str, str]) == {"sha": "0123abcd"}
    (tmp_path / "a.json").write_text('{"chdcksum": "0123abcd"}')
    with pytest.raises(CharlmError, match="is damaged"):
        read_json(tmp_path / "a.json", dict[str, str])
