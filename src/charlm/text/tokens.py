"""The encoded splits: one memory-mapped array of token ids each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

from charlm.checksums import checksum_of, damaged, read_json
from charlm.text.symbols import UnsignedArray
from charlm.text.tables import open_table
from charlm.text.vocabulary import Vocabulary

SUMMARY = "summary.json"
"""The file in the tokens folder that says how to read the splits, and their sizes."""

CHECKSUM = "tokens_crc32"
"""The key of the tokens' checksum in the metadata of the table of documents."""

PIECE = 1 << 24
"""Tokens that are checked at a time."""

Scalar = TypeVar("Scalar", bound=np.generic)


class Size(TypedDict):
    """The size of a text."""

    documents: int
    characters: int


class Summary(TypedDict):
    """The content of `summary.json`."""

    one_stream: bool
    sizes: dict[str, Size]
    """The size of each split and, as `all`, of the whole corpus."""


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
    def load(cls, folder: str | Path, split: str, vocabulary: Vocabulary) -> "TokenSplit":
        """Open a split that `encode` wrote with a vocabulary.

        Raises:
            CharlmError: One of its files is missing or damaged, or an id is not in the vocabulary.
        """
        path = Path(folder) / f"{split}.npy"
        with open_table(path.with_suffix(".documents.parquet")) as file:
            table = file.read()
            checksum = (file.metadata.metadata or {}).get(CHECKSUM.encode(), b"").decode()
        summary = read_json(path.with_name(SUMMARY), Summary)
        try:
            tokens = np.load(path, mmap_mode="r")
        except FileNotFoundError:
            raise damaged(path, "there is no such file") from None
        except PermissionError:
            raise
        except (EOFError, OSError, SyntaxError, ValueError):
            raise damaged(path) from None
        if tokens.ndim != 1 or checksum not in ("", checksum_of_tokens(tokens)):
            raise damaged(path)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        if not {"start", "tokens", "characters", "unknown_characters"} <= columns.keys():
            raise damaged(path.with_suffix(".documents.parquet"))
        largest = max((int(piece.max()) for piece in _pieces(tokens)), default=0)
        if largest >= len(vocabulary):
            raise damaged(
                path.with_name(SUMMARY),
                f"encoded with another vocabulary: id {largest} is not one of its "
                f"{len(vocabulary)} symbols",
            )
        return cls(tokens, columns, summary["one_stream"])

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

    def tail(self, length: int) -> Self:
        """Return the last `length` tokens of the split, with the documents that end in them.

        If the first of these documents is cut, its sizes are reduced in proportion.
        """
        if length == len(self.tokens):
            return self
        start = self.documents["start"] - (len(self.tokens) - length)
        tokens = self.documents["tokens"]
        kept = start + tokens > 0
        documents = {name: column[kept] for name, column in self.documents.items()}
        documents["start"] = np.maximum(0, start[kept])
        share = np.minimum(1, (start + tokens)[kept][:1] / np.maximum(1, tokens[kept][:1]))
        for name in ("tokens", "characters", "unknown_characters"):
            documents[name][:1] = share * documents[name][:1]
        return replace(self, tokens=self.tokens[len(self.tokens) - length :], documents=documents)

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


def start_of_checksum(dtype: np.dtype[np.unsignedinteger]) -> str:
    """Return the checksum of no tokens, which depends on their type."""
    return checksum_of(dtype.str.encode())


def checksum_of_tokens(tokens: UnsignedArray) -> str:
    """Return the checksum of a split's tokens, as `encode` computes it."""
    checksum = start_of_checksum(tokens.dtype)
    for piece in _pieces(tokens):
        checksum = checksum_of(np.ascontiguousarray(piece).data, checksum)
    return checksum


def _pieces(tokens: UnsignedArray) -> Iterator[UnsignedArray]:
    """Yield the tokens of a memory-mapped split, of which only a part need be in memory."""
    return (tokens[start : start + PIECE] for start in range(0, len(tokens), PIECE))
