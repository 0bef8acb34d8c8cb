"""Stage `vocabulary`: the symbols of a corpus, counted and ordered."""

from collections import Counter
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from charlm.checksums import write_json
from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text.symbols import Unit, byte_symbol, code_points, split_graphemes, utf8_pieces
from charlm.text.tables import column, ordered_map, row_groups

UNKNOWN = "<unknown>"
END_OF_DOCUMENT = "<end_of_document>"


def build_vocabulary(
    corpus: str | Path,
    vocabulary: str | Path,
    *,
    unit: Unit = "character",
    order: Literal["first_seen", "frequency"] = "frequency",
    min_count: int = 1,
    fit_on: Literal["train", "all"] = "train",
    end_of_document: bool = True,
) -> None:
    """Write `vocabulary`: JSON with the unit, the symbols by id, their counts and the special ids.

    Args:
        corpus: The table that `charlm.text.cleaning.clean.clean` wrote.
        vocabulary: The file to write.
        unit: `character` (code point), `grapheme` (extended cluster of UAX #29) or `byte` (all 256
            bytes of UTF-8, in order, so that nothing is ever unknown).
        order: `first_seen`, or `frequency`: the most frequent first, ties as first seen.
        min_count: Symbols seen less often are unknown.
        fit_on: Count the symbols of the `train` split or of `all` splits.
        end_of_document: Add a symbol for the end of a document.

    Raises:
        CharlmError: There is no text to fit on, or no symbol is frequent enough.
    """
    counts, documents = _count_symbols(corpus, unit, fit_on)
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
    write_json(vocabulary, content, ascii=False)


def _count_symbols(
    corpus: str | Path, unit: Unit, fit_on: Literal["train", "all"]
) -> tuple[Counter[str], int]:
    """Return the count of each symbol, in the order first seen, and the number of documents."""
    counts: Counter[str] = Counter()
    documents = 0
    tables = (
        table if fit_on == "all" else table.filter(pc.equal(table["split"], "train"))
        for table in row_groups(corpus, ["split", "text"])
    )
    with progress(None, "vocabulary", " documents") as bar:
        for rows, seen in ordered_map(partial(_count_in_table, unit=unit, known=counts), tables):
            for symbol, count in seen.items():
                counts[symbol] += count
            documents += rows
            bar.update(rows)
    return counts, documents


def _count_in_table(
    table: pa.Table, *, unit: Unit, known: Container[str]
) -> tuple[int, Counter[str]]:
    """Return the number of rows and the counts of their symbols.

    Symbols that are not yet `known` come in the order first seen.
    """
    texts = column(table, "text")
    if unit == "grapheme":
        return len(texts), Counter(
            symbol for text in texts.to_pylist() for symbol in split_graphemes(text)
        )
    name: Callable[[int], str] = byte_symbol if unit == "byte" else chr
    counts: Counter[str] = Counter()
    for piece in utf8_pieces(texts):
        codes = code_points(piece) if unit == "character" else np.frombuffer(piece, np.uint8)
        numbers = np.bincount(codes)
        present = np.flatnonzero(numbers)
        if any(name(code) not in known for code in present.tolist()):
            first = np.empty(len(numbers), np.int64)
            # The last assignment to an index wins; in reverse order, that is the first occurrence.
            first[codes[::-1]] = np.arange(len(codes))[::-1]
            present = present[np.argsort(first[present])]
        for code in present.tolist():
            counts[name(code)] += int(numbers[code])
    return len(texts), counts
