"""The baselines of a corpus: every number, from the counts of its characters."""

import lzma
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyppmd
import pytest

from charlm.checksums import read_json
from charlm.evaluation.baseline import baseline
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.encode import encode
from tests.evaluation.test_intervals import percentile_bootstrap
from tests.evaluation.test_ngrams import Slow, slow_kneser_ney, slow_witten_bell

CODE_POINTS = 1_112_064
Texts = dict[str, list[str]]


def baselines_of(
    folder: Path, texts: Texts, *, one_stream: bool = False, end_of_document: bool = True
) -> tuple[dict[str, Any], pa.Table]:
    """Return baselines.json and the table of scores by document."""
    rows = [(split, text) for split, each in texts.items() for text in each]
    splits, contents = zip(*rows, strict=True)
    table = {"doc_id": range(len(rows)), "split": splits, "text": contents}
    pq.write_table(pa.table({**table, "continues": [False] * len(rows)}), folder / "corpus.parquet")
    vocabulary, tokens = folder / "vocabulary.json", folder / "tokens"
    build_vocabulary(
        folder / "corpus.parquet",
        vocabulary,
        order="first_seen",
        end_of_document=end_of_document,
    )
    encode(folder / "corpus.parquet", vocabulary, tokens, one_stream=one_stream)
    found, scores = folder / "baselines.json", folder / "scores.parquet"
    baseline(vocabulary, tokens, found, scores)
    return read_json(found, dict[str, Any]), pq.read_table(scores)


def expected_ngram(
    slow: Slow, texts: Texts, order: int, *, one_stream: bool, end_of_document: bool
) -> dict[str, list[float]]:
    """Return the nats of each document of the held-out splits."""
    symbols = list(dict.fromkeys("".join(texts["train"])))
    unknown, end = len(symbols), len(symbols) + 1
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    encoded = {
        split: [[numbers.get(character, unknown) for character in text] for text in each]
        for split, each in texts.items()
    }
    joined = [end] if one_stream and end_of_document else []
    boundary = len(symbols) + 1 + end_of_document
    alphabet = boundary if one_stream else len(symbols) + 1  # only a stream predicts ends
    training = encoded["train"]
    if one_stream:
        training = [[number for document in training for number in document + joined]]
    nats: dict[str, list[float]] = {}
    for split in ("validation", "test"):
        documents = encoded[split]
        read = documents
        if one_stream:
            read = [[number for document in documents for number in document + joined]]
        costs = [slow(training, text, alphabet, boundary, order) for text in read]
        if one_stream:
            stream, costs = costs[0], []
            for document in documents:
                costs.append(stream[: len(document)])
                stream = stream[len(document) + len(joined) :]
        extra = math.log(CODE_POINTS - len(symbols))
        nats[split] = [
            sum(cost) + extra * document.count(unknown)
            for cost, document in zip(costs, documents, strict=True)
        ]
    return nats


def check_scores(
    record: dict[str, Any], table: pa.Table, system: str, nats: dict[str, list[float]], texts: Texts
) -> None:
    """Compare the scores of a baseline with the nats of each document."""
    first = len(texts["train"])
    for split in ("validation", "test"):
        characters = np.array([len(text) for text in texts[split]])
        costs = np.array(nats[split])
        held = characters > 0
        total = costs.sum() / characters.sum()
        bounds = percentile_bootstrap(costs[held], characters[held])
        assert record[system][split] == {
            "nats_per_character": pytest.approx(total, rel=1e-5),
            "bits_per_character": pytest.approx(total / math.log(2), rel=1e-5),
            "bits_per_character_interval": pytest.approx(bounds, rel=1e-5),
            "characters": int(characters.sum()),
        }
        rows = [
            row for row in table.to_pylist() if row["baseline"] == system and row["split"] == split
        ]
        bits = costs / np.maximum(characters, 1) / math.log(2)
        assert rows == [
            {"baseline": system, "doc_id": first + number, "split": split}
            | {"characters": length, "bits_per_character": pytest.approx(each, rel=1e-5)}
            for number, (length, each) in enumerate(zip(characters.tolist(), bits, strict=True))
        ]
        first += len(texts[split])


TEXTS: Texts = {
    "train": ["a bad cab, a bad cafe. " * 4, "face a cab", "fade"],
    # "é" is unknown; a document may be empty.
    "validation": ["a bad face. ", "béd", "cab, "],
    "test": ["a cafe, a cab", "", "éé fad"],
}


@pytest.mark.parametrize(
    ("one_stream", "end_of_document"), [(False, True), (False, False), (True, False), (True, True)]
)
def test_the_ngrams_learn_from_the_training_text(
    tmp_path: Path, one_stream: bool, end_of_document: bool
) -> None:
    options = {"one_stream": one_stream, "end_of_document": end_of_document}
    record, table = baselines_of(tmp_path, TEXTS, **options)
    assert list(record) == ["ngram", "kneser_ney", "ppmd", "xz"]
    assert record["ngram"]["order"] == 5
    assert table.column_names == [
        *("baseline", "doc_id", "split", "characters", "bits_per_character")
    ]
    expected = expected_ngram(slow_witten_bell, TEXTS, 5, **options)
    check_scores(record, table, "ngram", expected, TEXTS)
    order = record["kneser_ney"]["order"]
    expected = expected_ngram(slow_kneser_ney, TEXTS, order, **options)
    check_scores(record, table, "kneser_ney", expected, TEXTS)


def patterns(best: int) -> Texts:
    """Return texts of random symbols, except the last of each word, which the first determines."""
    random = np.random.default_rng(0)

    def text(words: int) -> str:
        written = ""
        for _ in range(words):
            letter = "abc"[random.integers(3)]
            written += letter + "-" * (best - 2) + letter.upper()
        return written

    texts = {"train": [text(40) for _ in range(4)], "validation": [text(9)], "test": [text(8)] * 2}
    texts["validation"].append(text(5))
    return texts


@pytest.mark.parametrize("best", [3, 7, 10])
def test_kneser_ney_has_the_order_that_is_best_on_the_validation_text(
    tmp_path: Path, best: int
) -> None:
    texts = patterns(best)
    record, table = baselines_of(tmp_path, texts)
    options = {"one_stream": False, "end_of_document": True}
    nats = {
        order: expected_ngram(slow_kneser_ney, texts, order, **options) for order in range(1, 11)
    }
    assert min(nats, key=lambda order: sum(nats[order]["validation"])) == best
    assert record["kneser_ney"]["order"] == best
    check_scores(record, table, "kneser_ney", nats[best], texts)


def encoded(texts: Texts) -> list[tuple[str, bytes, int]]:
    """Return the split, the bytes and the number of unknown characters of each document."""
    symbols = list(dict.fromkeys("".join(texts["train"])))
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    return [
        (
            split,
            bytes(numbers.get(character, len(symbols)) for character in text),
            sum(character not in numbers for character in text),
        )
        for split in ("train", "validation", "test")
        for text in texts[split]
    ]


def expected_ppmd(texts: Texts, order: int) -> dict[str, list[float]]:
    encoder = pyppmd.Ppmd7Encoder(order, 1 << 24)
    documents = encoded(texts)
    grown = [len(encoder.encode(document)) for _, document, _ in documents]
    grown[-1] += len(encoder.flush())
    unseen = CODE_POINTS - len(set("".join(texts["train"])))
    nats: dict[str, list[float]] = {"train": [], "validation": [], "test": []}
    for (split, _, unknown), size in zip(documents, grown, strict=True):
        nats[split].append(size * 8 * math.log(2) + unknown * math.log(unseen))
    return nats


@pytest.mark.parametrize("one_stream", [False, True])
@pytest.mark.parametrize("width", [4, 6, 10])
def test_ppmd_has_the_order_that_is_best_on_the_validation_text(
    tmp_path: Path, width: int, one_stream: bool
) -> None:
    texts = patterns(width)
    texts["validation"] *= 8  # costs are exact to a byte
    record, table = baselines_of(tmp_path, texts, one_stream=one_stream)
    nats = {order: expected_ppmd(texts, order) for order in range(4, 11)}
    cost = {order: sum(each["validation"]) for order, each in nats.items()}
    best = record["ppmd"]["order"]
    lower = [order for order in cost if order < best]
    assert all(cost[order] < cost[order - 1] for order in lower[1:] + [best] * bool(lower))
    assert best == 10 or cost[best + 1] >= cost[best]
    check_scores(record, table, "ppmd", nats[best], texts)


def test_xz_reads_the_splits_in_order(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    # Many documents: compressed ends of documents would show.
    texts = {**TEXTS, "train": ["".join(random.choice([*"abcdef ,."], 9)) for _ in range(60)]}
    record, table = baselines_of(tmp_path, texts)
    unseen = CODE_POINTS - len(set("".join(texts["train"])))
    documents = encoded(texts)
    compressed = lzma.compress(
        b"".join(document for _, document, _ in documents), format=lzma.FORMAT_ALONE
    )
    nats: dict[str, list[float]] = {"train": [], "validation": [], "test": []}
    end = spent = 0
    for split, document, unknown in documents:
        end += len(document)
        needed = next(
            length
            for length in range(len(compressed) + 1)
            if len(lzma.LZMADecompressor().decompress(compressed[:length])) >= end
        )
        nats[split].append((needed - spent) * 8 * math.log(2) + unknown * math.log(unseen))
        spent = needed
    check_scores(record, table, "xz", nats, texts)


def test_an_empty_split_has_no_score(tmp_path: Path) -> None:
    texts = {"train": ["a text to learn from", "and another one"], "validation": ["and one more"]}
    record, scores = baselines_of(tmp_path, texts)
    assert record["ngram"]["validation"]["characters"] == len("and one more")
    assert record["ngram"]["test"] is None
    assert set(scores["split"].to_pylist()) == {"validation"}


def test_without_validation_text_the_orders_are_6(tmp_path: Path) -> None:
    texts = {**TEXTS, "validation": [""], "test": [TEXTS["test"][0]]}
    record, _ = baselines_of(tmp_path, texts)
    assert record["kneser_ney"]["order"] == record["ppmd"]["order"] == 6
    assert record["ppmd"]["validation"] is None
    options = {"one_stream": False, "end_of_document": True}
    nats = expected_ngram(slow_kneser_ney, texts, 6, **options)["test"]
    assert record["kneser_ney"]["test"]["nats_per_character"] == pytest.approx(
        sum(nats) / len(texts["test"][0]), rel=1e-5
    )
    nats = expected_ppmd(texts, 6)["test"]
    assert record["ppmd"]["test"]["nats_per_character"] == pytest.approx(
        sum(nats) / len(texts["test"][0])
    )


def test_compressors_read_a_large_vocabulary_as_utf8(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    characters = [chr(0x4E00 + number) for number in range(400)]

    def text(length: int) -> str:
        return "".join(
            characters[number] for number in (400 * random.random(length) ** 4).astype(int)
        )

    texts = {
        "train": ["".join(characters), text(4000)],
        "validation": [text(400), "龍"],
        "test": [text(700)],
    }
    record, _ = baselines_of(tmp_path, texts)
    encoder = pyppmd.Ppmd7Encoder(record["ppmd"]["order"], 1 << 24)
    for document in texts["train"] + texts["validation"]:
        # "龍" is not among the 400 characters.
        encoder.encode(document.encode().replace("龍".encode(), b"\xfe"))
    size = len(encoder.encode(texts["test"][0].encode())) + len(encoder.flush())
    assert record["ppmd"]["test"]["bits_per_character"] == pytest.approx(8 * size / 700)
