"""The encoded splits: one memory-mapped array of token ids each."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from charlm.errors import CharlmError
from charlm.text.symbols import UnsignedArray

SUMMARY = "summary.json"
"""The file in the tokens folder that says how to read the splits, and their sizes."""

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class TokenSplit:
    """An encoded split.

    Attributes:
        tokens: The memory-mapped token ids, shape (length,).
        documents: The columns `doc_id`, `start`, `tokens`, `characters` and `unknown_characters` of
            the table of documents; see `charlm.text.encode.encode`.
        one_stream: Whether the split is to be read as one stream; otherwise each document is read
            from a fresh state.
    """

    tokens: UnsignedArray
    documents: dict[str, npt.NDArray[np.int64]]
    one_stream: bool = False

    @classmethod
    def load(cls, folder: str | Path, split: str) -> "TokenSplit":
        """Open a split that `encode` wrote.

        Raises:
            CharlmError: One of its files is missing or damaged.
        """
        path = Path(folder) / f"{split}.npy"
        try:
            tokens = np.load(path, mmap_mode="r")
            path = Path(folder) / f"{split}.documents.parquet"
            table = pq.read_table(path)
            path = Path(folder) / SUMMARY
            one_stream = json.loads(path.read_bytes())["one_stream"]
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            raise CharlmError(
                f"{path}: missing or damaged; encode the corpus again (--forcerun encode)"
            ) from None
        columns = {name: table[name].to_numpy() for name in table.column_names}
        return cls(tokens, columns, one_stream)

    def by_document(self, values: npt.NDArray[Scalar]) -> list[npt.NDArray[Scalar]]:
        """Return the values of each document's tokens, from those of all tokens of the split."""
        starts, lengths = self.documents["start"], self.documents["tokens"]
        return [
            values[start : start + length] for start, length in zip(starts, lengths, strict=True)
        ]

    @cached_property
    def texts(self) -> list[UnsignedArray]:
        """The token ids to read from a fresh state: of each document, or of the whole split."""
        return [self.tokens] if self.one_stream else self.by_document(self.tokens)

    @cached_property
    def totals(self) -> dict[str, int]:
        """The `tokens`, `characters` and `unknown_characters` of all documents."""
        names = ("tokens", "characters", "unknown_characters")
        return {name: int(self.documents[name].sum()) for name in names}

    def head(self, length: int) -> Self:
        """Return the first `length` tokens of the split, with the documents that begin in them."""
        if length == len(self.tokens):
            return self
        begun = self.documents["start"] < length
        documents = {name: column[begun] for name, column in self.documents.items()}
        last = documents["start"][-1:]
        share = (length - last) / documents["tokens"][-1:]
        for name in ("tokens", "characters", "unknown_characters"):
            documents[name][-1:] = np.minimum(1, share) * documents[name][-1:]
        return replace(self, tokens=self.tokens[:length], documents=documents)

    def per_character(self, nats: float, unknown_nats: float) -> float | None:
        """Return the nats per character (code point) of this split, or None if it is empty.

        Args:
            nats: Mean nats per token, not counting ends of documents.
            unknown_nats: Nats that an unknown character costs in addition to the unknown symbol.
        """
        characters = self.totals["characters"]
        if not characters:
            return None
        unknown = self.totals["unknown_characters"] * unknown_nats
        return (nats * self.totals["tokens"] + unknown) / characters
