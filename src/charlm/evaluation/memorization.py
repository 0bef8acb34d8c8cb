"""Memorization: how much of the samples, and of held-out text, occurs in the training text."""

import json
from bisect import bisect_left
from collections.abc import Collection, Sequence
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydivsufsort import divsufsort

from charlm.checksums import damaged, write_json
from charlm.evaluation.spacing import evenly_spaced
from charlm.progress import progress
from charlm.text.duplicates import BINS, nearly_repeated, sketch
from charlm.text.tables import read_table

COPIED_LENGTH = 50
"""Characters from which on a verbatim match is too long to be chance and counts as copied."""
HELD_OUT_TEXTS = 100
"""The maximum number of held-out texts to measure in addition to the samples."""


class Overlap(TypedDict):
    """The overlap of a text with the training text; positions are in characters."""

    longest: list[int]
    """Start and end of the longest match."""
    share: float | None
    """The share of the text's runs of `COPIED_LENGTH` characters that are copied; None for a
    shorter text."""
    passages: list[list[int]]
    """Starts and ends of the copied passages."""


class NearDuplicates(TypedDict):
    """How much of a held-out split nearly repeats a training document."""

    documents: int
    characters: int


class Memorization(TypedDict):
    """The content of `memorization.json`."""

    run: int
    """`COPIED_LENGTH`"""
    models: dict[str, list[Overlap]]
    """The overlap of each sample, by model."""
    held_out: list[Overlap]
    """The overlap of held-out texts that are as long as the longest sample."""
    near_duplicates: dict[str, NearDuplicates]
    """By held-out split."""


class VerbatimIndex:
    """A suffix array of the training text, to find text in it."""

    def __init__(self, documents: Sequence[str]) -> None:
        # The separator keeps matches within one document.
        self._text = "\0".join(documents).encode("utf-8")
        self._suffixes: npt.NDArray[np.int32] = divsufsort(self._text)

    def longest_matches(self, text: str) -> list[int]:
        """Return for each position of `text` the length of the longest match that starts there.

        >>> VerbatimIndex(["the cat sat", "on a mat"]).longest_matches("a cat")
        [2, 4, 3, 2, 1]
        """
        lengths = []
        for start in range(len(text)):
            width = COPIED_LENGTH
            while (length := self._longest_prefix(text[start : start + width])) == width:
                width *= 2
            lengths.append(length)
        return lengths

    def _longest_prefix(self, text: str) -> int:
        """Return the length of the longest prefix of `text` that occurs in the training text."""
        pattern = text.encode("utf-8")
        after = bisect_left(self._suffixes, pattern, key=lambda start: self._read(start, pattern))
        # One of the two suffixes next to the pattern in sorted order shares most with it.
        shared = max(
            sum(takewhile(bool, map(eq, self._read(start, pattern), pattern)))
            for start in self._suffixes[max(0, after - 1) : after + 1]
        )
        return len(pattern[:shared].decode("utf-8", "ignore"))

    def _read(self, start: int, pattern: bytes) -> bytes:
        return self._text[start : start + len(pattern)]


def measure_memorization(
    corpus: str | Path,
    samples: Sequence[str | Path],
    memorization: str | Path,
    *,
    models: Sequence[str],
) -> None:
    """Measure how much of the samples, and of held-out text, occurs in the training text.

    Args:
        corpus: The clean text, with its splits.
        samples: The file `samples.jsonl` of each model.
        memorization: The JSON file to write; see `Memorization`.
        models: The names of the models.
    """
    rows = read_table(corpus, ["split", "text"]).to_pandas()
    written = {
        model: [sample["text"] for sample in read_samples(path)]
        for model, path in zip(models, samples, strict=True)
    }
    length = max((len(text) for texts in written.values() for text in texts), default=0)
    long_enough = rows["text"][(rows["split"] != "train") & (rows["text"].str.len() >= length)]
    held_out = [text[:length] for text in evenly_spaced(long_enough.tolist(), HELD_OUT_TEXTS)]
    index = VerbatimIndex(rows["text"][rows["split"] == "train"].tolist())
    total = len(held_out) + sum(map(len, written.values()))
    with progress(total, "looking for copies", unit="text") as bar:

        def overlaps(texts: Sequence[str]) -> list[Overlap]:
            found = []
            for text in texts:
                found.append(overlap(index.longest_matches(text)))
                bar.update(1)
            return found

        record: Memorization = {
            "run": COPIED_LENGTH,
            "models": {model: overlaps(texts) for model, texts in written.items()},
            "held_out": overlaps(held_out),
            "near_duplicates": near_duplicates(rows),
        }
    write_json(memorization, record)


def near_duplicates(rows: pd.DataFrame) -> dict[str, NearDuplicates]:
    """Count the documents of each held-out split that nearly repeat a training document.

    Such documents flatter the scores; see `charlm.text.duplicates` for what is similar.

    Args:
        rows: The documents, with columns `split` and `text`.
    """
    train = rows["text"][rows["split"] == "train"]
    others = rows[rows["split"] != "train"]
    numbers = [sketch(text) for text in [*train, *others["text"]]] if len(others) else []
    repeats = nearly_repeated(np.array(numbers, np.uint16).reshape(-1, BINS), len(train))
    found = others[repeats[len(train) :]] if len(others) else others
    return {
        split: {
            "documents": int((found["split"] == split).sum()),
            "characters": int(found["text"][found["split"] == split].str.len().sum()),
        }
        for split in ("validation", "test")
    }


def overlap(lengths: Sequence[int]) -> Overlap:
    """Return the overlap of a text, given the longest match at each of its positions."""
    start = max(range(len(lengths)), key=lengths.__getitem__, default=0)
    copied = [place for place, length in enumerate(lengths) if length >= COPIED_LENGTH]
    passages: list[list[int]] = []
    for place in copied:
        end = place + lengths[place]
        if passages and place <= passages[-1][1]:
            passages[-1][1] = max(passages[-1][1], end)
        else:
            passages.append([place, end])
    possible = len(lengths) - COPIED_LENGTH + 1
    return {
        "longest": [start, start + (lengths[start] if lengths else 0)],
        "share": len(copied) / possible if possible > 0 else None,
        "passages": passages,
    }


def read_samples(path: str | Path, keys: Collection[str] = ("text",)) -> list[Any]:
    """Return the samples in `samples.jsonl`, each of which has these keys.

    Raises:
        CharlmError: The file is missing or damaged.
    """
    try:
        # Not splitlines(), which would also split at line separators within a sample.
        lines = Path(path).read_text(encoding="utf-8").split("\n")
        samples = [json.loads(line) for line in lines[:-1]]
        if lines[-1] or not all(sample.keys() >= set(keys) for sample in samples):
            raise damaged(path)
    except FileNotFoundError:
        raise damaged(path, "there is no such file") from None
    except (AttributeError, RecursionError, ValueError):
        raise damaged(path) from None
    return samples
