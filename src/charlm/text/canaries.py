"""Canaries: random sentences among the training documents, to measure how much a model memorizes.

A model that prefers the canaries to other random sentences remembers text that it read once
(Carlini et al. 2019, arXiv:1802.08232).
"""

import json
import random
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from charlm.text.tables import read_metadata

METADATA_KEY = "canaries"
"""The key of the canaries' words and number in the metadata of `corpus.parquet`."""

WORDS = 512
"""Number of words that the sentences draw from."""

LEAST_WORDS = 64
"""Minimum number of words to draw from: with fewer, the text could hold a sentence by chance."""

LENGTH = 6
"""Words in a sentence."""


class Canaries(NamedTuple):
    """The canaries of a corpus.

    Attributes:
        words: The words that their sentences are drawn from.
        number: The number of canaries.
    """

    words: list[str]
    number: int

    def sentences(self) -> Iterator[str]:
        """Yield random sentences without end; the first `number` of them are the canaries."""
        generator = random.Random("canaries")
        while True:
            yield " ".join(generator.choice(self.words) for _ in range(LENGTH)) + "."

    def documents(self, first_id: int) -> pa.Table:
        """Return the canaries as rows of `corpus.parquet`, with `doc_id` from `first_id` on."""
        texts = list(islice(self.sentences(), self.number))
        return pa.table(
            {
                "doc_id": pa.array(range(first_id, first_id + self.number), pa.int64()),
                "split": pa.array(["train"] * self.number, pa.string()),
                "text": pa.array(texts, pa.string()),
                "continues": pa.array([False] * self.number),
            }
        )

    def to_json(self) -> str:
        """Return the value of `METADATA_KEY`."""
        return json.dumps(self._asdict(), ensure_ascii=False)


def first_words(texts: Iterable[str]) -> list[str]:
    """Return the first `WORDS` different words of some texts, of three letters and more.

    >>> first_words(["The cat, the other cat"])
    ['The', 'cat', 'the', 'other']
    """
    found: dict[str, None] = {}
    for text in texts:
        found |= dict.fromkeys(re.findall(r"[^\W\d_]{3,}", text))
        if len(found) >= WORDS:
            break
    return list(found)[:WORDS]


def read_canaries(corpus: str | Path) -> Canaries | None:
    """Return the canaries of a corpus; None if it has none.

    Raises:
        CharlmError: The corpus is missing or damaged.
    """
    content = (read_metadata(corpus).metadata or {}).get(METADATA_KEY.encode())
    return Canaries(**json.loads(content)) if content else None
