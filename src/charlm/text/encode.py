"""Stage `encode`: the corpus as one array of token ids per split."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
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
from charlm.text.tables import TableWriter, column, ordered_map, output, row_groups
from charlm.text.vocabulary import Vocabulary, split_graphemes, utf8_pieces


def encode(corpus: str | Path, vocabulary: str | Path, folder: str | Path) -> None:
    """Write `{split}.npy` and `{split}.documents.parquet` for each split into `folder`.

    The arrays have one dimension and the smallest unsigned type. A document has `tokens` symbols
    from `start` on. The end-of-document symbol, if the vocabulary has one, follows uncounted; it is
    omitted if a split ends within a document. `characters` counts code points, and
    `unknown_characters` those without a symbol.

    Raises:
        CharlmError: A symbol is unknown and the vocabulary has no id for unknown symbols.
    """
    symbols = Vocabulary.load(vocabulary)
    folder = Path(folder)
    with ExitStack() as stack:
        bar = stack.enter_context(progress(None, "encode", " documents"))
        writers = {name: stack.enter_context(_writer(folder, name, symbols)) for name in NAMES}
        for shares in ordered_map(partial(_encode_table, vocabulary=symbols), _tables(corpus)):
            for name, (ids, table) in shares.items():
                writers[name](ids, table)
                bar.update(len(table))


@contextmanager
def _writer(
    folder: Path, name: str, vocabulary: Vocabulary
) -> Iterator[Callable[[NDArray[Any], pa.Table], None]]:
    """Yield a function that appends ids and the table of their documents to a split."""
    length = 0
    with (
        output(folder / f"{name}.npy") as array_path,
        output(folder / f"{name}.documents.parquet") as table_path,
        array_path.open("wb") as file,
        TableWriter(table_path) as writer,
    ):

        def write(ids: NDArray[Any], table: pa.Table) -> None:
            nonlocal length
            writer.add(table.set_column(1, "start", pc.add(table["start"], length)))
            file.write(ids.data)
            length += len(ids)

        _write_header(file, 0, vocabulary.dtype)
        yield write
        file.seek(0)
        _write_header(file, length, vocabulary.dtype)


def _write_header(file: Any, length: int, dtype: np.dtype[Any]) -> None:
    """Write NumPy's header, whose size is the same for any length."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, header | {"shape": (length,)})


def _tables(corpus: str | Path) -> Iterator[pa.Table]:
    """Yield the corpus with a column `goes_on`: the document continues in the next row."""
    ids = pq.read_table(corpus, columns=["doc_id"])["doc_id"].to_numpy()
    goes_on = np.append(ids[1:] == ids[:-1], False)
    start = 0
    for table in row_groups(corpus, ["doc_id", "split", "text"]):
        yield table.append_column("goes_on", pa.array(goes_on[start : start + len(table)]))
        start += len(table)


def _encode_table(
    table: pa.Table, *, vocabulary: Vocabulary
) -> dict[str, tuple[NDArray[Any], pa.Table]]:
    """Return the ids of each split's rows, and the table of its documents."""
    shares = {name: table.filter(pc.equal(table["split"], name)) for name in NAMES}
    return {name: _encode_rows(share, vocabulary) for name, share in shares.items()}


def _encode_rows(table: pa.Table, vocabulary: Vocabulary) -> tuple[NDArray[Any], pa.Table]:
    texts = column(table, "text")
    lengths = characters = np.asarray(pc.utf8_length(texts)).astype(np.int64)
    unknown = np.zeros(len(texts), np.int64)
    if vocabulary.unit == "grapheme":
        lists = [split_graphemes(text) for text in texts.to_pylist()]
        lengths = np.array([len(graphemes) for graphemes in lists], np.int64)
        ids = vocabulary.lookup_graphemes(list(chain.from_iterable(lists)))
        unknown[:] = [
            sum(len(grapheme) for grapheme in graphemes if grapheme not in vocabulary.ids)
            for graphemes in lists
        ]
    else:
        ids = _concatenate([vocabulary.lookup(piece) for piece in utf8_pieces(texts)])
        if vocabulary.unit == "byte":
            lengths = np.asarray(pc.binary_length(texts)).astype(np.int64)
        else:
            nothing = len(vocabulary) if vocabulary.unknown is None else vocabulary.unknown
            rows = np.searchsorted(np.cumsum(lengths), np.flatnonzero(ids == nothing), "right")
            unknown += np.bincount(rows, minlength=len(texts))
    if vocabulary.unknown is None and unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        strange = ", ".join(map(repr, vocabulary.unknown_characters(texts[row].as_py())[:5]))
        raise CharlmError(
            f"document {table['doc_id'][row]}: the vocabulary has no {strange}; "
            "build it again from this corpus"
        )
    ids = ids.astype(vocabulary.dtype, copy=False)
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
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint8)
