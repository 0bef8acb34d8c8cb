"""Memorisation: how much of what a model writes stands verbatim in its training text."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from pydivsufsort import divsufsort

from charlm.files import write_text
from charlm.progress import progress

RUN = 50
"""Characters of a run that is too long to be chance."""
PIECES = 100
"""The most pieces of held-out text to measure beside the samples."""


class VerbatimIndex:
    """Finds text in the training text, by the order of all its suffixes."""

    def __init__(self, documents: Sequence[str]) -> None:
        # No run goes on from one document to the next.
        self._text = "\0".join(documents).encode("utf-8")
        self._suffixes: npt.NDArray[np.int32] = divsufsort(self._text)

    def longest_runs(self, text: str) -> list[int]:
        """Return how many characters from each place of `text` on stand in the training text."""
        lengths = []
        for place in range(len(text)):
            width = RUN
            while (length := self._longest_prefix(text[place : place + width])) == width:
                width *= 2
            lengths.append(length)
        return lengths

    def _longest_prefix(self, text: str) -> int:
        """Return how many of the first characters of `text` stand somewhere in one run."""
        pattern = text.encode("utf-8")
        after = bisect_left(self._suffixes, pattern, key=lambda start: self._read(start, pattern))
        # The suffixes that share most with the pattern are those on either side of its place.
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
    """Look for what models wrote in the training text, and for real held-out text beside it.

    Args:
        corpus: The clean text, with its splits.
        samples: The file `samples.jsonl` of each model.
        memorization: The JSON file to write. `run` is the length that counts as copied. `models`
            has a list for each model with a record for each of its samples; see `copied`.
            `held_out` is a list of such records for the beginnings of held-out documents, as long
            as the samples; empty where no text was held out.
        models: The names of the models.
    """
    rows = pq.read_table(corpus, columns=["split", "text"]).to_pandas()
    written = {
        model: [json.loads(line)["text"] for line in _lines(path)]
        for model, path in zip(models, samples, strict=True)
    }
    length = max((len(text) for texts in written.values() for text in texts), default=0)
    held_out = rows["text"][(rows["split"] != "train") & (rows["text"].str.len() >= length)]
    pieces = [text[:length] for text in _evenly_spaced(held_out.tolist())]
    index = VerbatimIndex(rows["text"][rows["split"] == "train"].tolist())
    total = len(pieces) + sum(map(len, written.values()))
    with progress(total, "looking for copies", unit="text") as bar:

        def measured(texts: Sequence[str]) -> list[dict[str, Any]]:
            records = []
            for text in texts:
                records.append(copied(index.longest_runs(text)))
                bar.update(1)
            return records

        record = {
            "run": RUN,
            "models": {model: measured(texts) for model, texts in written.items()},
            "held_out": measured(pieces),
        }
    write_text(memorization, json.dumps(record, indent=1) + "\n")


def copied(runs: Sequence[int]) -> dict[str, Any]:
    """Sum up how much of a text is copied.

    Args:
        runs: From each place of the text on, how many characters stand in the training text.

    Returns:
        `longest`: start and end of the longest run that does; `share`: the share of the text's
        runs of `RUN` characters that do, null for a shorter text; `passages`: starts and ends of
        all that such runs make up.
    """
    start = max(range(len(runs)), key=runs.__getitem__, default=0)
    starts = [place for place, length in enumerate(runs) if length >= RUN]
    passages: list[list[int]] = []
    for place in starts:
        if passages and place <= passages[-1][1]:
            passages[-1][1] = max(passages[-1][1], place + runs[place])
        else:
            passages.append([place, place + runs[place]])
    possible = len(runs) - RUN + 1
    return {
        "longest": [start, start + (runs[start] if runs else 0)],
        "share": len(starts) / possible if possible > 0 else None,
        "passages": passages,
    }


def _evenly_spaced(texts: Sequence[str]) -> list[str]:
    """Return at most `PIECES` of the texts."""
    places = np.linspace(0, len(texts) - 1, min(PIECES, len(texts)))
    return [texts[place] for place in places.astype(int)]


def _lines(path: str | Path) -> list[str]:
    return [line for line in Path(path).read_text(encoding="utf-8").split("\n") if line]
