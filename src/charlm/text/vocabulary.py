"""A vocabulary: symbols and their ids."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self, SupportsInt

import numpy as np

from charlm.checksums import damaged, read_json
from charlm.errors import CharlmError
from charlm.text.symbols import (
    CODE_POINTS,
    UNITS,
    Unit,
    UnsignedArray,
    byte_symbol,
    check_unicode,
    code_points,
    split_graphemes,
)


class Vocabulary:
    """Encodes text as token ids, and decodes ids.

    >>> special = {"unknown": 2, "end_of_document": None}
    >>> vocabulary = Vocabulary(["a", "b", "<unknown>"], [2, 1, 0], special)
    >>> vocabulary.encode("abx").tolist()
    [0, 1, 2]
    >>> vocabulary.decode([1, 0])
    'ba'
    """

    def __init__(
        self,
        symbols: list[str],
        counts: list[int],
        special: Mapping[str, int | None],
        unit: Unit = "character",
    ) -> None:
        self.unit = unit
        self.symbols = symbols
        self.counts = counts
        self.special = dict(special)
        self.unknown = self.special["unknown"]
        self.end_of_document = self.special["end_of_document"]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a `vocabulary.json`.

        Raises:
            CharlmError: It cannot be read, or is not a vocabulary.
        """
        try:
            Path(path).stat()  # a machine that only trains gets the file from another one
            return cls.from_dict(read_json(path, dict[str, object]))
        except OSError as error:
            raise CharlmError(
                f"{path}: {error.strerror}; run `snakemake --cores all encode` first"
            ) from None
        except (AttributeError, KeyError, TypeError, ValueError):
            raise damaged(path, "is not a vocabulary") from None

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> Self:
        """Return the vocabulary that `to_dict` described.

        Raises:
            ValueError, KeyError, TypeError: `content` does not describe a vocabulary.
        """
        unit, symbols = content["unit"], content["symbols"]
        counts, special = content["counts"], content["special"]
        if not (
            unit in UNITS
            and isinstance(symbols, list)
            and symbols
            and all(isinstance(symbol, str) and _is_text(symbol) for symbol in symbols)
            and (unit != "byte" or symbols[:256] == list(map(byte_symbol, range(256))))
            and isinstance(counts, list)
            and len(counts) == len(symbols)
            and all(type(count) is int and count >= 0 for count in counts)
            and isinstance(special, dict)
            and special.keys() == {"unknown", "end_of_document"}
            and all(
                id is None or (type(id) is int and 0 <= id < len(symbols))
                for id in special.values()
            )
        ):
            raise ValueError("not a vocabulary")
        return cls(symbols, counts, special, unit)

    def to_dict(self) -> dict[str, object]:
        """Return the content of `vocabulary.json`."""
        return {
            "unit": self.unit,
            "symbols": self.symbols,
            "counts": self.counts,
            "special": self.special,
        }

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each symbol, without the special ones."""
        special = set(self.special.values())
        return {symbol: id for id, symbol in enumerate(self.symbols) if id not in special}

    @cached_property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(max(len(self) - 1, 0))

    @cached_property
    def unseen(self) -> int:
        """Number of code points, of 1,112,064, that have no symbol of their own."""
        if self.unit == "byte":
            return 0
        return CODE_POINTS - sum(len(symbol) == 1 for symbol in self.ids)

    @cached_property
    def unknown_nats(self) -> float:
        """Nats that an unknown character costs in addition to the unknown symbol.

        The unknown symbol's probability is shared evenly among the unseen code points.
        """
        return math.log(max(1, self.unseen))

    @property
    def missing(self) -> int:
        """The id of symbols that the vocabulary lacks: `unknown`, or `len(self)` without one."""
        return len(self) if self.unknown is None else self.unknown

    @cached_property
    def _table(self) -> UnsignedArray:
        """The id of each code point, shape (0x110000,)."""
        table = np.full(0x110000, self.missing, np.min_scalar_type(len(self)))
        for symbol, id in self.ids.items():
            if len(symbol) == 1:
                table[ord(symbol)] = id
        return table

    def lookup(self, utf8: memoryview) -> UnsignedArray:
        """Return the id of each character (or byte) of a UTF-8 text.

        A character without an id gets `unknown`, or `len(self)` if that is None.
        """
        if self.unit == "byte":
            return np.frombuffer(utf8, np.uint8)
        codes = code_points(utf8)
        if codes.dtype == self._table.dtype == np.uint8:
            return np.frombuffer(codes.tobytes().translate(self._table[:256].tobytes()), np.uint8)
        ids: UnsignedArray = self._table[codes]
        return ids

    def lookup_graphemes(self, graphemes: Sequence[str]) -> UnsignedArray:
        """Return the id of each grapheme; see `lookup`."""
        ids = [self.ids.get(grapheme, self.missing) for grapheme in graphemes]
        return np.array(ids, np.min_scalar_type(len(self)))

    def encode(self, text: str) -> UnsignedArray:
        """Return the ids of a text's symbols, of type `dtype`.

        Raises:
            CharlmError: The vocabulary lacks a symbol and has no id for unknown ones, or the text
                contains a lone surrogate.
        """
        check_unicode(text)
        if self.unit == "grapheme":
            ids = self.lookup_graphemes(split_graphemes(text))
        else:
            ids = self.lookup(memoryview(text.encode("utf-8")))
        if (ids == len(self)).any():
            raise CharlmError(f"{self.describe_missing(text)}; use symbols of the vocabulary")
        return ids.astype(self.dtype, copy=False)

    def decode(self, ids: Iterable[SupportsInt]) -> str:
        """Return the text of ids: U+FFFD for `unknown`, nothing for `end_of_document`.

        Raises:
            CharlmError: An id is out of range.
        """
        names = [*self.symbols]
        if self.unknown is not None:
            names[self.unknown] = "\N{REPLACEMENT CHARACTER}"
        if self.end_of_document is not None:
            names[self.end_of_document] = ""
        numbers = [int(id) for id in ids]
        for id in numbers:
            if not 0 <= id < len(self):
                raise CharlmError(f"id {id} is not from 0 to {len(self) - 1}")
        if self.unit == "byte":
            return bytes(id for id in numbers if id < 256).decode("utf-8", "replace")
        return "".join(names[id] for id in numbers)

    def unknown_characters(self, text: str) -> list[str]:
        """Return the distinct symbols of a text that the vocabulary lacks, in order."""
        return [symbol for symbol in dict.fromkeys(self._split(text)) if symbol not in self.ids]

    def count_unknown(self, text: str) -> int:
        """Return the number of characters of a text in symbols that the vocabulary lacks."""
        return sum(len(symbol) for symbol in self._split(text) if symbol not in self.ids)

    def _split(self, text: str) -> Iterable[str]:
        """Return the characters or graphemes of a text; none for bytes, which are all known."""
        if self.unit == "byte":
            return ()
        return split_graphemes(text) if self.unit == "grapheme" else text

    def describe_missing(self, text: str) -> str:
        """Return the start of an error message: which symbols of a text the vocabulary lacks."""
        missing = ", ".join(map(repr, self.unknown_characters(text)[:5]))
        return f"the vocabulary has no {missing}"


def _is_text(symbol: str) -> bool:
    """Return whether a symbol is not empty and has no lone surrogates."""
    return bool(symbol) and not any("\ud800" <= character <= "\udfff" for character in symbol)
