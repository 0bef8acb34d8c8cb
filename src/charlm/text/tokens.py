"""The encoded splits: one array of ids each, mapped into memory by those who train on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text.splits import NAMES
from charlm.text.streams import TableWriter, column, ordered_map, output, row_groups
from charlm.text.vocabulary import GRAPHEME, Vocabulary, code_points, utf8_pieces


def encode(corpus: str | Path, vocabulary: str | Path, folder: str | Path) -> None:
    """Write `{split}.npy` and `{split}.documents.parquet` for each split into `folder`.

    The arrays are of one dimension and of the smallest unsigned type. A document's symbols lie at
    `start`, `tokens` of them; the end-of-document symbol, if the vocabulary has one, follows and is
    not counted. It is left out where a split ends within a document. `characters` counts code
    points, `unknown_characters` those without a symbol.

    Raises:
        CharlmError: if a symbol is unknown and there is no id for unknown ones.
    """
    symbols = Vocabulary.load(vocabulary)
    for name in NAMES:
        _encode_split(corpus, symbols, Path(folder), name)


def _encode_split(corpus: str | Path, vocabulary: Vocabulary, folder: Path, name: str) -> None:
    work = partial(_encode_table, vocabulary=vocabulary)
    length = 0
    with (
        output(folder / f"{name}.npy") as array_path,
        output(folder / f"{name}.documents.parquet") as table_path,
        array_path.open("wb") as file,
        TableWriter(table_path) as writer,
        progress(None, f"encode {name}", " documents") as bar,
    ):
        _write_header(file, 0, vocabulary.dtype)
        for ids, table in ordered_map(work, _rows_of_split(corpus, name)):
            starts = pc.add(table["start"], length)
            writer.add(table.set_column(1, "start", starts))
            file.write(ids.data)
            length += len(ids)
            bar.update(len(table))
        file.seek(0)
        _write_header(file, length, vocabulary.dtype)


def _write_header(file: Any, length: int, dtype: np.dtype[Any]) -> None:
    """Write NumPy's header, which leaves room for any length."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, header | {"shape": (length,)})


def _rows_of_split(corpus: str | Path, name: str) -> Iterator[pa.Table]:
    """Yield the rows of one split, with whether the document goes on in another split."""
    ids = pq.read_table(corpus, columns=["doc_id"])["doc_id"].to_numpy()
    goes_on = np.append(ids[1:] == ids[:-1], False)
    start = 0
    for table in row_groups(corpus, ["doc_id", "split", "text"]):
        marks = pa.array(goes_on[start : start + len(table)])
        start += len(table)
        yield table.append_column("goes_on", marks).filter(pc.equal(table["split"], name))


def _encode_table(table: pa.Table, *, vocabulary: Vocabulary) -> tuple[NDArray[Any], pa.Table]:
    """Return the ids of all rows and, for each row, where they lie."""
    texts = column(table, "text")
    characters = np.asarray(pc.utf8_length(texts)).astype(np.int64)
    unknown = np.zeros(len(texts), np.int64)
    if vocabulary.unit == "grapheme":
        lists = [GRAPHEME.findall(text) for text in texts.to_pylist()]
        lengths = np.array([len(symbols) for symbols in lists], np.int64)
        ids = np.array([vocabulary.ids.get(s, -1) for symbols in lists for s in symbols], np.int64)
        unknown[:] = [sum(len(s) for s in symbols if s not in vocabulary.ids) for symbols in lists]
    elif vocabulary.unit == "byte":
        lengths = np.asarray(pc.binary_length(texts)).astype(np.int64)
        ids = _concatenate([np.frombuffer(piece, np.uint8) for piece in utf8_pieces(texts)])
    else:
        lengths = characters
        ids = _concatenate([vocabulary.table[code_points(p)] for p in utf8_pieces(texts)])
        places = np.flatnonzero(ids < 0)
        rows = np.searchsorted(np.cumsum(lengths), places, side="right")
        unknown += np.bincount(rows, minlength=len(texts))
    if unknown.any():
        if vocabulary.unknown is None:
            row = int(np.flatnonzero(unknown)[0])
            strange = vocabulary.unknown_characters(texts[row].as_py())
            raise CharlmError(
                f"document {table['doc_id'][row]}: the vocabulary has no "
                f"{', '.join(map(repr, strange[:5]))}; build it anew from this corpus"
            )
        ids = np.where(ids < 0, vocabulary.unknown, ids)
    ids = ids.astype(vocabulary.dtype)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    if vocabulary.end_of_document is not None:
        marked = ~np.asarray(column(table, "goes_on"))
        ids = np.insert(ids, ends[marked], vocabulary.end_of_document)
        starts += np.cumsum(marked) - marked
    return ids, pa.table(
        {
            "doc_id": table["doc_id"],
            "start": starts,
            "tokens": lengths,
            "characters": characters,
            "unknown_characters": unknown,
        }
    )


def _concatenate(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int32)


@dataclass(frozen=True)
class TokenSplit:
    """An encoded split: `tokens` mapped from the disk, `documents` as columns by name."""

    tokens: NDArray[Any]
    documents: dict[str, NDArray[np.int64]]

    @classmethod
    def load(cls, folder: str | Path, split: str) -> "TokenSplit":
        """Open what `encode` wrote for a split."""
        tokens = np.load(Path(folder) / f"{split}.npy", mmap_mode="r")
        table = pq.read_table(Path(folder) / f"{split}.documents.parquet")
        return cls(tokens, {name: table[name].to_numpy() for name in table.column_names})
