"""Stage `clean`: duplicates and splits, which need all documents."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from charlm import files
from charlm.errors import CharlmError
from charlm.text import splits as split_rules
from charlm.text.cleaning.profiles import rules_of
from charlm.text.duplicates import nearly_repeated, repeated
from charlm.text.tables import TableWriter, column, output, row_groups

LABELS = pa.array(split_rules.NAMES)


def clean(
    parts: Sequence[str | Path],
    corpus: str | Path,
    summary: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[Mapping[str, str]] = (),
    splits: Mapping[str, Any],
) -> None:
    """Drop empty and duplicate documents, split the others, and write `corpus` and `summary`.

    Args:
        parts: The shards that `clean_shard` wrote, in order.
        corpus: The Parquet file to write: doc_id (int64), split and text (string), in the order
            of the source.
        summary: The tab-separated table to write: rule, matches, characters_removed, documents.
        profile: `standard`, `notebook` or `none`.
        rules: {name, pattern, replacement} or {name, builtin}. A rule named as one of the
            profile's replaces it; others follow.
        splits: {method, validation, test, key}; see `charlm.text.splits`.

    Raises:
        CharlmError: A rule is not valid, or no text is left to train on.
    """
    chosen, document_rules = rules_of(profile, rules)
    counts = _sum_of_counts(parts, len(chosen))
    rows = [(rule.name, *numbers) for rule, numbers in zip(chosen, counts, strict=True)]
    fingerprints = _numbers(parts, "fingerprint", np.dtype(">u8")).astype(np.uint64)
    characters = _numbers(parts, "characters", np.dtype(np.int64))[:, 0]
    keep = np.ones(len(characters), np.bool_)
    for rule in document_rules:
        if rule.kind == "empty_documents":
            dropped = characters == 0
        elif rule.kind == "duplicates":
            dropped = repeated(fingerprints)
        else:
            dropped = nearly_repeated(_numbers(parts, "sketch", np.dtype(np.uint16)))
        dropped &= keep
        keep &= ~dropped
        number = int(dropped.sum())
        rows.append((rule.name, number, int(characters[dropped].sum()), number))
    if not characters[keep].any():
        raise CharlmError(
            f"{corpus}: cleaning leaves no text; correct cleaning.rules or the source"
        )
    names, cuts = _splits(fingerprints, np.where(keep, characters, 0), splits)
    if not characters[keep & (names == 0)].any():
        if splits["method"] == "contiguous":
            raise CharlmError(
                f"{corpus}: {int(characters[keep].sum()):,} characters are too few to split "
                "contiguously: none is left to train on; give more text or lower splits.validation "
                "and splits.test"
            )
        raise CharlmError(
            f"{corpus}: {int(keep.sum()):,} documents are too few to split: none is left to train "
            "on; give more documents, other fractions or splits.method: contiguous"
        )
    with output(corpus) as temporary, TableWriter(temporary) as writer:
        start = 0
        for table in chain.from_iterable(row_groups(part, ["doc_id", "text"]) for part in parts):
            end = start + len(table)
            cut = [row for row in cuts if start <= row < end]
            edges = [start, *(edge for row in cut for edge in (row, row + 1)), end]
            for low, high in pairwise(edges):
                piece = table.slice(low - start, high - low)
                if low in cuts and high == low + 1:
                    writer.add(_cut(piece, cuts[low]))
                else:
                    split = LABELS.take(pa.array(names[low:high]))
                    piece = piece.add_column(1, "split", split)
                    writer.add(piece.filter(pa.array(keep[low:high])))
            start = end
    lines = ["rule\tmatches\tcharacters_removed\tdocuments"]
    lines += ["\t".join(map(str, row)) for row in rows]
    files.write_text(summary, "\n".join(lines) + "\n")


def _sum_of_counts(parts: Sequence[str | Path], rules: int) -> list[list[int]]:
    counts = [json.loads(pq.read_metadata(part).metadata[b"counts"]) for part in parts]
    total: list[list[int]] = np.reshape(counts, (len(parts), rules, 3)).sum(axis=0).tolist()
    return total


def _numbers(parts: Sequence[str | Path], name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a fixed-width column of all parts as one array of rows."""
    arrays = [column(table, name) for part in parts for table in row_groups(part, [name])]
    width = arrays[0].type.bit_width // 8
    raw = b"".join(
        array.buffers()[1].slice(width * array.offset, width * len(array))
        for array in arrays
        if len(array)
    )
    return np.frombuffer(raw, dtype).reshape(-1, width // dtype.itemsize)


def _splits(
    fingerprints: NDArray[np.uint64], characters: NDArray[np.int64], splits: Mapping[str, Any]
) -> tuple[NDArray[np.int8], dict[int, list[int]]]:
    """Return the split of each document (an index into `splits.NAMES`), and the cut documents.

    A cut document is its row and the offsets in it at which validation and test begin.
    """
    fractions = {name: splits[name] for name in ("validation", "test")}
    if splits["method"] == "contiguous":
        ends = np.cumsum(characters)
        edges = split_rules.contiguous_boundaries(int(ends[-1]), **fractions)
        starts = ends - characters
        names = np.searchsorted(edges, starts, side="right")
        rows = {int(np.searchsorted(ends, edge, side="right")) for edge in edges}
        cuts = {
            row: [int(np.clip(edge - starts[row], 0, characters[row])) for edge in edges]
            for row in sorted(rows - {len(ends)})
        }
        return names.astype(np.int8), {row: inside for row, inside in cuts.items() if any(inside)}
    limits = np.array(split_rules.document_limits(**fractions), np.uint64)
    names = 2 - np.searchsorted(limits, fingerprints[:, 0], side="right")
    return names.astype(np.int8), {}


def _cut(document: pa.Table, edges: list[int]) -> pa.Table:
    """Return one document as several rows in different splits."""
    text = document["text"][0].as_py()
    bounds = zip(split_rules.NAMES, pairwise([0, *edges, len(text)]), strict=True)
    pieces = [(name, text[low:high]) for name, (low, high) in bounds if low < high]
    return pa.table(
        {
            "doc_id": pa.array([document["doc_id"][0].as_py()] * len(pieces), pa.int64()),
            "split": [name for name, _ in pieces],
            "text": pa.array([piece for _, piece in pieces], document["text"].type),
        }
    )
