"""The encoded splits: one memory-mapped array of token ids each."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from charlm.errors import CharlmError


@dataclass(frozen=True)
class TokenSplit:
    """An encoded split: memory-mapped `tokens`, and `documents` as columns by name."""

    tokens: NDArray[Any]
    documents: dict[str, NDArray[np.int64]]

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
        except (OSError, ValueError, pa.ArrowException):
            raise CharlmError(
                f"{path}: missing or damaged; encode the corpus again (--forcerun encode)"
            ) from None
        return cls(tokens, {name: table[name].to_numpy() for name in table.column_names})

    @cached_property
    def totals(self) -> dict[str, int]:
        """The `tokens`, `characters` and `unknown_characters` of all documents."""
        names = ("tokens", "characters", "unknown_characters")
        return {name: int(self.documents[name].sum()) for name in names}

    def per_character(self, nats: float, unknown_nats: float) -> float | None:
        """Return the nats per character (code point) of this text, or None if it is empty.

        Args:
            nats: Mean nats per symbol of any unit, without ends of documents.
            unknown_nats: Nats that an unknown character costs in addition to the unknown symbol.
        """
        characters = self.totals["characters"]
        if not characters:
            return None
        unknown = self.totals["unknown_characters"] * unknown_nats
        return (nats * self.totals["tokens"] + unknown) / characters
