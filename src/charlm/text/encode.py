"""Stage `encode`: the corpus as one array of token ids per split."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from charlm.checksums import checksum_of, write_json
from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text.splits import NAMES, split_method
from charlm.text.symbols import UnsignedArray, split_graphemes, utf8_pieces
from charlm.text.tables import TableWriter, column, ordered_map, output, row_groups
from charlm.text.tokens import CHECKSUM, SUMMARY, start_of_checksum
from charlm.text.vocabulary import Vocabulary


def encode(
    corpus: str | Path,
    vocabulary: str | Path,
    folder: str | Path,
    *,
    one_stream: bool | None = None,
) -> None:
    """Write `{split}.npy` and `{split}.documents.parquet` for each split, and `summary.json`.

    The arrays have one dimension and the smallest unsigned type that holds every id. A row of a
    table is a document, or the part of a document that is in the split: its `doc_id`, its number of
    `tokens` and the index at which they `start`, its number of `characters`, and of
    `unknown_characters`, which have no symbol. Where the vocabulary has a symbol for the end of a
    document, that follows the tokens, unless the document continues in another row; `tokens` does
    not count it.

    The metadata of a table hold the checksum of the array. `summary.json` holds `one_stream`, and
    the `sizes` of the splits and of `all` of them: the number of `documents` and of `characters`.

    Args:
        corpus: The table that `clean` wrote.
        vocabulary: The file `vocabulary.json`.
        folder: The folder to write.
        one_stream: Whether a split is to be read as one stream, as a contiguous split is; otherwise
            each document is read from a fresh state. None: as `clean` split the corpus.

    Raises:
        CharlmError: A symbol is unknown and the vocabulary has no id for unknown symbols.
    """
    if one_stream is None:
        one_stream = split_method(corpus) == "contiguous"
    symbols = Vocabulary.load(vocabulary)
    folder = Path(folder)
    characters, documents = Counter[str](), Counter[str]()
    with ExitStack() as stack:
        bar = stack.enter_context(progress(None, "encode", " documents"))
        writers = {name: stack.enter_context(_writer(folder, name, symbols)) for name in NAMES}
        tables = row_groups(corpus, ["doc_id", "split", "text", "continues"])
        for table, shares in ordered_map(partial(_encode_table, vocabulary=symbols), tables):
            for name, (ids, share) in shares.items():
                writers[name](ids, share)
                documents[name] += len(share)
                characters[name] += pc.sum(share["characters"]).as_py() or 0
                bar.update(len(share))
            documents["all"] += len(table) - (pc.sum(table["continues"]).as_py() or 0)
    characters["all"] = characters.total()
    sizes = {
        name: {"documents": documents[name], "characters": characters[name]}
        for name in (*NAMES, "all")
    }
    write_json(folder / SUMMARY, {"one_stream": one_stream, "sizes": sizes})


@contextmanager
def _writer(
    folder: Path, name: str, vocabulary: Vocabulary
) -> Iterator[Callable[[UnsignedArray, pa.Table], None]]:
    """Yield a function that appends token ids and the table of their documents to a split."""
    length, checksum = 0, start_of_checksum(vocabulary.dtype)
    with (
        output(folder / f"{name}.npy") as array_path,
        output(folder / f"{name}.documents.parquet") as table_path,
        array_path.open("wb") as file,
        TableWriter(table_path) as writer,
    ):

        def write(ids: UnsignedArray, table: pa.Table) -> None:
            nonlocal length, checksum
            writer.add(table.set_column(1, "start", pc.add(table["start"], length)))
            file.write(ids.data)
            length += len(ids)
            checksum = checksum_of(ids.data, checksum)

        _write_header(file, 0, vocabulary.dtype)
        yield write
        file.seek(0)
        _write_header(file, length, vocabulary.dtype)
        writer.add_metadata(CHECKSUM, checksum)


def _write_header(file: IO[bytes], length: int, dtype: np.dtype[np.unsignedinteger]) -> None:
    """Write the header of an .npy file, whose size is the same for any length."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, header | {"shape": (length,)})


def _encode_table(
    table: pa.Table, *, vocabulary: Vocabulary
) -> tuple[pa.Table, dict[str, tuple[UnsignedArray, pa.Table]]]:
    """Return a table of the corpus, and for each split the ids and the table of its rows."""
    shares = {name: table.filter(pc.equal(table["split"], name)) for name in NAMES}
    return table, {name: _encode_rows(share, vocabulary) for name, share in shares.items()}


def _encode_rows(table: pa.Table, vocabulary: Vocabulary) -> tuple[UnsignedArray, pa.Table]:
    """Return the token ids of all rows, one after another, and the table of the documents."""
    texts = column(table, "text")
    characters = np.asarray(pc.utf8_length(texts)).astype(np.int64)
    if vocabulary.unit == "grapheme":
        ids, lengths, unknown = _encode_graphemes(texts, vocabulary)
    else:
        ids = _concatenate([vocabulary.lookup(piece) for piece in utf8_pieces(texts)])
        lengths, unknown = characters, np.zeros(len(texts), np.int64)
        if vocabulary.unit == "byte":
            lengths = np.asarray(pc.binary_length(texts)).astype(np.int64)
        else:
            places = np.flatnonzero(ids == vocabulary.missing)
            rows = np.searchsorted(np.cumsum(lengths), places, "right")
            unknown = np.bincount(rows, minlength=len(texts)).astype(np.int64)
    if vocabulary.unknown is None and unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise CharlmError(
            f"document {table['doc_id'][row]}: "
            f"{vocabulary.describe_missing(texts[row].as_py())}; build it again from this corpus"
        )
    ids = ids.astype(vocabulary.dtype, copy=False)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    if vocabulary.end_of_document is not None:
        ending = ~np.asarray(column(table, "continues"))
        ids = np.insert(ids, ends[ending], vocabulary.end_of_document)
        starts += np.cumsum(ending) - ending
    return ids, pa.table(
        {
            "doc_id": table["doc_id"],
            "start": starts,
            "tokens": lengths,
            "characters": characters,
            "unknown_characters": unknown,
        }
    )


def _encode_graphemes(
    texts: pa.Array, vocabulary: Vocabulary
) -> tuple[UnsignedArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the ids of all texts, and the number of tokens and unknown characters of each."""
    split = [split_graphemes(text) for text in texts.to_pylist()]
    unknown = [
        sum(len(grapheme) for grapheme in graphemes if grapheme not in vocabulary.ids)
        for graphemes in split
    ]
    ids = vocabulary.lookup_graphemes(list(chain.from_iterable(split)))
    return ids, np.array(list(map(len, split)), np.int64), np.array(unknown, np.int64)


def _concatenate(arrays: list[UnsignedArray]) -> UnsignedArray:
    """Join arrays, of which there may be none."""
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint8)
