"""The encoded splits: one array of ids each, mapped into memory by those who train on it."""

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
    """An encoded split: `tokens` mapped from the disk, `documents` as columns by name."""

    tokens: NDArray[Any]
    documents: dict[str, NDArray[np.int64]]

    @classmethod
    def load(cls, folder: str | Path, split: str) -> "TokenSplit":
        """Open what `encode` wrote for a split.

        Raises:
            CharlmError: A file of it is missing or damaged.
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
        """Return the nats per character (code point) of this text; None where it has none.

        Args:
            nats: Mean nats of its symbols, whatever their unit, ends of documents not counted.
            unknown_nats: Nats that an unknown character costs beyond the unknown symbol.
        """
        characters = self.totals["characters"]
        if not characters:
            return None
        unknown = self.totals["unknown_characters"] * unknown_nats
        return (nats * self.totals["tokens"] + unknown) / characters
