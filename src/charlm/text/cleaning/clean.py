"""Stage `clean`: duplicates and splits, which need all documents."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from charlm import files
from charlm.checksums import checksum_of, write_json
from charlm.errors import CharlmError
from charlm.escaping import cell
from charlm.settings import SplitSettings
from charlm.text.canaries import LEAST_WORDS, Canaries, first_words
from charlm.text.canaries import METADATA_KEY as CANARIES_KEY
from charlm.text.cleaning.examples import Example
from charlm.text.cleaning.left_over import LEFT_OVER, PREFIX
from charlm.text.cleaning.profiles import RuleSettings, rules_of
from charlm.text.cleaning.rules import DocumentRule
from charlm.text.duplicates import nearly_repeated, repeated
from charlm.text.splits import METADATA_KEY, NAMES, pieces, split_documents
from charlm.text.tables import TableWriter, column, output, read_metadata, row_groups

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Integer = TypeVar("Integer", bound=np.integer)


def clean(
    parts: Sequence[str | Path],
    corpus: str | Path,
    summary: str | Path,
    examples: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[RuleSettings] = (),
    splits: SplitSettings,
    canaries: int = 0,
) -> None:
    """Drop empty and duplicate documents, split the others, and write the corpus.

    Args:
        parts: The shards that `clean_shard` wrote, in order.
        corpus: The Parquet file to write, in the order of the source: doc_id (int64), split and
            text (string), continues (bool). A contiguous split may cut a document into several
            rows with one doc_id; all but the last of these `continues` in the next row.
        summary: The tab-separated table to write: rule, matches, characters_removed, documents.
            After the rules, it counts what is left over in the documents, duplicates included.
        examples: The JSON file to write: `examples`, a list of {rule, before, after}, which are
            changes by each rule; and the checksum of the table.
        profile: The name of the list of rules to start from; see `charlm.text.cleaning.profiles`.
        rules: Rules that replace rules of the same name, or are appended.
        splits: How to split the documents.
        canaries: Number of canaries to add to the training documents, after the last row; see
            `charlm.text.canaries`.

    Raises:
        CharlmError: A rule is not valid, or no text is left to train on.
    """
    text_rules, document_rules = rules_of(profile, rules)
    footers = list(map(read_metadata, parts))
    counts, changes = _totals(footers, "counts", 3), _examples(footers)
    rows = [(rule.name, *numbers) for rule, numbers in zip(text_rules, counts, strict=True)]
    fingerprints = _column(parts, "fingerprint", np.dtype(">u8")).astype(np.uint64)
    characters = _column(parts, "characters", np.dtype(np.int64))[:, 0]
    keep = np.ones(len(characters), np.bool_)
    for rule in document_rules:
        dropped = keep & _dropped(rule, parts, characters, fingerprints)
        keep &= ~dropped
        number = int(dropped.sum())
        rows.append((rule.name, number, int(characters[dropped].sum()), number))
    left_over = zip(LEFT_OVER, _totals(footers, "left_over", 2), strict=True)
    rows += [(PREFIX + rule.name, matches, 0, number) for rule, (matches, number) in left_over]
    if not characters[keep].any():
        raise CharlmError(f"{corpus}: cleaning leaves no text; fix cleaning.rules or corpus.source")
    split = split_documents(fingerprints, np.where(keep, characters, 0), splits)
    if not characters[keep & (split.numbers == 0)].any():
        raise _nothing_to_train_on(corpus, keep, characters, splits.method)
    with output(corpus) as temporary, TableWriter(temporary) as writer:
        for table in _corpus_tables(parts, keep, split.numbers, split.cuts):
            writer.add(table)
        if canaries:
            added = _canaries(parts, canaries)
            writer.add(added.documents(_last_doc_id(parts) + 1))
            writer.add_metadata(CANARIES_KEY, added.to_json())
        writer.add_metadata(METADATA_KEY, split.method)
    lines = ["rule\tmatches\tcharacters_removed\tdocuments"]
    lines += ["\t".join([cell(str(row[0])), *map(str, row[1:])]) for row in rows]
    table = "\n".join(lines) + "\n"
    files.write_text(summary, table)
    record = {"examples": changes, Path(summary).name: checksum_of(table.encode())}
    write_json(examples, record, ascii=False)


def _canaries(parts: Sequence[str | Path], number: int) -> Canaries:
    """Return canaries whose words are those of the first documents."""
    tables = chain.from_iterable(row_groups(part, ["text"]) for part in parts)
    words = first_words(text for table in tables for text in table["text"].to_pylist())
    if len(words) < LEAST_WORDS:
        raise CharlmError(
            f"corpus.canaries: the text has {len(words)} words of three letters or more, and "
            f"canaries need {LEAST_WORDS}; set corpus.canaries to 0"
        )
    return Canaries(words, number)


def _last_doc_id(parts: Sequence[str | Path]) -> int:
    tables = chain.from_iterable(row_groups(part, ["doc_id"]) for part in parts)
    return max(int(table["doc_id"][-1].as_py()) for table in tables if len(table))


def _totals(footers: Sequence[pq.FileMetaData], name: str, width: int) -> list[list[int]]:
    """Return the sums of a table of counts over all parts."""
    counts = np.sum([json.loads(footer.metadata[name.encode()]) for footer in footers], axis=0)
    rows: list[list[int]] = counts.astype(np.int64).reshape(-1, width).tolist()
    return rows


def _examples(footers: Sequence[pq.FileMetaData]) -> list[Example]:
    """Return the examples of the first part with rows."""
    first = next((footer for footer in footers if footer.num_rows), footers[0])
    examples: list[Example] = json.loads(first.metadata[b"examples"])
    return examples


def _column(
    parts: Sequence[str | Path], name: str, dtype: np.dtype[Integer]
) -> npt.NDArray[Integer]:
    """Return a fixed-width column of all parts, one row of numbers per document."""
    arrays = [column(table, name) for part in parts for table in row_groups(part, [name])]
    width = arrays[0].type.bit_width // 8
    raw = b"".join(
        array.buffers()[1].slice(width * array.offset, width * len(array))
        for array in arrays
        if len(array)
    )
    return np.frombuffer(raw, dtype).reshape(-1, width // dtype.itemsize)


def _dropped(
    rule: DocumentRule,
    parts: Sequence[str | Path],
    characters: Integers,
    fingerprints: npt.NDArray[np.uint64],
) -> Booleans:
    """Return which documents a rule drops."""
    if rule.kind == "empty_documents":
        return np.equal(characters, 0)
    if rule.kind == "duplicates":
        return repeated(fingerprints)
    return nearly_repeated(_column(parts, "sketch", np.dtype(np.uint16)))


def _nothing_to_train_on(
    corpus: str | Path, keep: Booleans, characters: Integers, method: str
) -> CharlmError:
    """Return the error of a corpus without training text."""
    if method != "document":
        how = "contiguously " if method == "contiguous" else ""
        return CharlmError(
            f"{corpus}: too few characters to split {how}"
            f"({int(characters[keep].sum()):,}): none is left to train on; give more text or lower "
            "splits.validation and splits.test"
        )
    return CharlmError(
        f"{corpus}: too few documents to split ({int(keep.sum()):,}): none is left to train on; "
        "give more documents, other fractions or splits.method: contiguous"
    )


def _corpus_tables(
    parts: Sequence[str | Path],
    keep: Booleans,
    splits: npt.NDArray[np.int8],
    cuts: Mapping[int, list[int]],
) -> Iterator[pa.Table]:
    """Yield the rows of the corpus: the documents to keep, some of them cut into several rows."""
    names = pa.array(NAMES)
    start = 0
    for table in chain.from_iterable(row_groups(part, ["doc_id", "text"]) for part in parts):
        end = start + len(table)
        cut_rows = [row for row in cuts if start <= row < end]
        edges = [start, *(edge for row in cut_rows for edge in (row, row + 1)), end]
        for low, high in pairwise(edges):
            documents = table.slice(low - start, high - low)
            if low in cuts and high == low + 1:
                yield _cut(documents, cuts[low])
                continue
            documents = documents.add_column(1, "split", names.take(pa.array(splits[low:high])))
            uncut = pa.array(np.zeros(len(documents), np.bool_))
            yield documents.append_column("continues", uncut).filter(pa.array(keep[low:high]))
        start = end


def _cut(document: pa.Table, offsets: list[int]) -> pa.Table:
    """Return the rows of a document that is cut at `offsets`, in one split each."""
    text = document["text"][0].as_py()
    cut = pieces(len(text), offsets)
    return pa.table(
        {
            "doc_id": pa.array([document["doc_id"][0].as_py()] * len(cut), pa.int64()),
            "split": [name for name, _, _ in cut],
            "text": pa.array([text[start:end] for _, start, end in cut], document["text"].type),
            "continues": [True] * (len(cut) - 1) + [False],
        }
    )
