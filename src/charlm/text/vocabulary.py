"""The alphabet of a corpus: its symbols in the order of their ids."""

import json
import math
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from charlm import files
from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text.tables import column, ordered_map, row_groups, utf8_buffer

UNITS = ("character", "grapheme", "byte")
ORDERS = ("first_seen", "frequency")
UNKNOWN = "<unknown>"
END_OF_DOCUMENT = "<end_of_document>"
CODE_POINTS = 0x110000 - 0x800
"""How many code points a text can hold: all but the surrogates."""

PIECE_BYTES = 1 << 15


def split_graphemes(text: str) -> list[str]:
    """Split a text into its extended grapheme clusters."""
    import regex  # a machine that only trains may lack it

    return regex.findall(r"\X", text)


def check_unicode(text: str, name: str = "text") -> None:
    """Raise a `CharlmError` if a text holds a lone surrogate, which no encoding can write.

    Python puts surrogates where bytes of a file name or an argument are not UTF-8.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CharlmError(
            f"{name}: character {error.start + 1} is a lone surrogate ({text[error.start]!r}), "
            "as of bytes that are not UTF-8; use valid text"
        ) from None


def build_vocabulary(
    corpus: str | Path,
    vocabulary: str | Path,
    *,
    unit: str = "character",
    order: str = "first_seen",
    min_count: int = 1,
    fit_on: str = "train",
    end_of_document: bool = True,
) -> None:
    """Write `vocabulary`: JSON with unit, symbols in id order, their counts, and special ids.

    Args:
        corpus: the table that `charlm.text.cleaning.clean.clean` wrote.
        vocabulary: the file to write.
        unit: `character` (code point), `grapheme` (extended cluster of UAX #29) or `byte` (all 256
            bytes of UTF-8, in order, so that nothing is ever unknown).
        order: `first_seen`, or `frequency`: the most frequent first, then the first seen.
        min_count: symbols seen less often are unknown.
        fit_on: `train`, or `all` splits.
        end_of_document: add a symbol for the end of a document.

    Raises:
        CharlmError: if there is no text to fit on, or no symbol is frequent enough.
    """
    counts: Counter[str] = Counter()
    documents = 0
    tables = (
        table if fit_on == "all" else table.filter(pc.equal(table["split"], "train"))
        for table in row_groups(corpus, ["split", "text"])
    )
    with progress(None, "vocabulary", " documents") as bar:
        for rows, seen in ordered_map(partial(_count, unit=unit, known=counts), tables):
            for symbol, count in seen.items():
                counts[symbol] += count
            documents += rows
            bar.update(rows)
    if not counts:
        raise CharlmError(
            f"{corpus}: there is no text to fit a vocabulary on; see vocabulary.fit_on"
        )
    total = counts.total()
    if unit == "byte":
        counts = Counter({symbol: counts[symbol] for symbol in map(byte_symbol, range(256))})
    else:
        kept = [item for item in counts.items() if item[1] >= min_count]
        if not kept:
            raise CharlmError(
                f"{corpus}: no symbol occurs {min_count} times; lower vocabulary.min_count to at "
                f"most {max(counts.values())}"
            )
        if order == "frequency":
            kept.sort(key=lambda item: -item[1])
        counts = Counter(dict(kept))
    special: dict[str, int | None] = {"unknown": None, "end_of_document": None}
    symbols, numbers = list(counts), list(counts.values())
    if unit != "byte" and (fit_on == "train" or min_count > 1):
        special["unknown"] = len(symbols)
        symbols.append(UNKNOWN)
        numbers.append(total - counts.total())
    if end_of_document:
        special["end_of_document"] = len(symbols)
        symbols.append(END_OF_DOCUMENT)
        numbers.append(documents)
    content = {"unit": unit, "symbols": symbols, "counts": numbers, "special": special}
    files.write_text(vocabulary, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _count(table: pa.Table, *, unit: str, known: Container[str]) -> tuple[int, dict[str, int]]:
    """Return the number of rows and the counts of their symbols, in the order first seen.

    The order of symbols that are `known` already does not matter.
    """
    texts = column(table, "text")
    if unit == "grapheme":
        return len(texts), Counter(
            symbol for text in texts.to_pylist() for symbol in split_graphemes(text)
        )
    name = byte_symbol if unit == "byte" else chr
    counts: Counter[str] = Counter()
    for piece in utf8_pieces(texts):
        codes = code_points(piece) if unit == "character" else np.frombuffer(piece, np.uint8)
        numbers = np.bincount(codes)
        present = np.flatnonzero(numbers)
        if any(name(code) not in known for code in present.tolist()):
            first = np.empty(len(numbers), np.int64)
            # Of the places of one symbol the last assigned stays: in reverse order, the first.
            first[codes[::-1]] = np.arange(len(codes))[::-1]
            present = present[np.argsort(first[present])]
        for code in present.tolist():
            counts[name(code)] += int(numbers[code])
    return len(texts), counts


def utf8_pieces(texts: pa.Array) -> Iterator[memoryview]:
    """Yield the UTF-8 of all texts, one after another, in pieces that cut no code point."""
    ends, view = utf8_buffer(texts)
    start, end = int(ends[0]), int(ends[-1])
    while start < end:
        stop = min(start + PIECE_BYTES, end)
        while stop < end and view[stop] & 0xC0 == 0x80:
            stop -= 1
        yield view[start:stop]
        start = stop


def code_points(utf8: memoryview) -> NDArray[Any]:
    """Return the code points of a UTF-8 text, as uint8 where that holds them, else as uint32."""
    text = str(utf8, "utf-8")
    try:
        return np.frombuffer(text.encode("latin-1"), np.uint8)
    except UnicodeEncodeError:
        return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def byte_symbol(byte: int) -> str:
    """Return how a byte is written among the symbols: ASCII as it is, others as <0xE9>."""
    return chr(byte) if byte < 0x80 else f"<0x{byte:02X}>"


class Vocabulary:
    """Symbols and their ids, to encode and decode with."""

    def __init__(
        self,
        symbols: list[str],
        counts: list[int],
        special: Mapping[str, int | None],
        unit: str = "character",
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
            return cls.from_dict(json.loads(Path(path).read_bytes()))
        except OSError as error:
            raise CharlmError(f"{path}: {error.strerror}; run `snakemake encode` first") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CharlmError(f"{path}: not a vocabulary; run `snakemake encode` again") from None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the vocabulary that `to_dict` described.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: `content` is not of that form.
        """
        made = cls(content["symbols"], content["counts"], content["special"], content["unit"])
        special = [id for id in made.special.values() if id is not None]
        if not (
            made.unit in UNITS
            and isinstance(made.symbols, list)
            and all(isinstance(symbol, str) for symbol in made.symbols)
            and len(made.symbols) == len(made.counts)
            and all(type(id) is int and 0 <= id < len(made) for id in special)
        ):
            raise ValueError("not a vocabulary")
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return what `vocabulary.json` holds."""
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
        """The id of each symbol, special ones left out."""
        special = set(self.special.values())
        return {symbol: id for id, symbol in enumerate(self.symbols) if id not in special}

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id."""
        return np.min_scalar_type(max(len(self) - 1, 0))

    @cached_property
    def unseen(self) -> int:
        """How many of the 1,112,064 code points have no symbol of their own."""
        if self.unit == "byte":
            return 0
        return CODE_POINTS - sum(len(symbol) == 1 for symbol in self.ids)

    @cached_property
    def unknown_nats(self) -> float:
        """The nats that an unknown code point costs beyond the unknown symbol: which one it is."""
        return math.log(max(1, self.unseen))

    @cached_property
    def _table(self) -> NDArray[Any]:
        """The id of each code point, the unknown one's where it has none, or else `len(self)`."""
        nothing = len(self) if self.unknown is None else self.unknown
        table = np.full(0x110000, nothing, np.min_scalar_type(len(self)))
        for symbol, id in self.ids.items():
            if len(symbol) == 1:
                table[ord(symbol)] = id
        return table

    def lookup(self, utf8: memoryview) -> NDArray[Any]:
        """Return the id of each character (or byte) of a UTF-8 text, `len(self)` if it has none."""
        if self.unit == "byte":
            return np.frombuffer(utf8, np.uint8)
        codes = code_points(utf8)
        if codes.dtype == self._table.dtype == np.uint8:
            return np.frombuffer(codes.tobytes().translate(self._table[:256].tobytes()), np.uint8)
        ids: NDArray[Any] = self._table[codes]
        return ids

    def lookup_graphemes(self, graphemes: Sequence[str]) -> NDArray[Any]:
        """Return the id of each grapheme, `len(self)` if it has none."""
        nothing = len(self) if self.unknown is None else self.unknown
        ids = [self.ids.get(grapheme, nothing) for grapheme in graphemes]
        return np.array(ids, np.min_scalar_type(len(self)))

    def encode(self, text: str) -> NDArray[Any]:
        """Return the ids of a text's symbols, of type `dtype`.

        Raises:
            CharlmError: if a symbol is unknown and there is no id for unknown ones, or the text
                holds a lone surrogate.
        """
        check_unicode(text)
        if self.unit == "grapheme":
            ids = self.lookup_graphemes(split_graphemes(text))
        else:
            ids = self.lookup(memoryview(text.encode("utf-8")))
        if (ids == len(self)).any():
            strange = ", ".join(map(repr, self.unknown_characters(text)[:5]))
            raise CharlmError(f"the vocabulary has no {strange}; use symbols that it has")
        return ids.astype(self.dtype, copy=False)

    def decode(self, ids: Any) -> str:
        """Return the text of ids: unknown ones as U+FFFD, the end of a document as nothing.

        Raises:
            CharlmError: if there is no such id.
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
        if self.unit == "byte":
            return []
        symbols = split_graphemes(text) if self.unit == "grapheme" else text
        return [symbol for symbol in dict.fromkeys(symbols) if symbol not in self.ids]

    def count_unknown(self, text: str) -> int:
        """Return how many code points of a text stand in symbols that the vocabulary lacks."""
        if self.unit == "byte":
            return 0
        symbols = split_graphemes(text) if self.unit == "grapheme" else text
        return sum(len(symbol) for symbol in symbols if symbol not in self.ids)
