"""Stage `clean_shard`: the rules that look at one document, applied to one shard."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.settings import SplitSettings
from charlm.text.cleaning.engine import apply_rules
from charlm.text.cleaning.examples import Example
from charlm.text.cleaning.profiles import RuleSettings, rules_of
from charlm.text.cleaning.rules import TextRule
from charlm.text.duplicates import BINS, sketch
from charlm.text.splits import fingerprint
from charlm.text.tables import TableWriter, column, ordered_map, output, row_groups, utf8_rows


def clean_shard(
    documents: str | Path,
    part: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[RuleSettings] = (),
    splits: SplitSettings,
    shard: int = 0,
    shards: int = 1,
) -> None:
    """Clean one of several equal shards of the documents; `clean` joins them.

    Args:
        documents: The table that `ingest` wrote.
        part: The Parquet file to write: doc_id, text, and what `clean` needs of each document:
            fingerprint, characters and, for near duplicates, a sketch. Its metadata hold the
            `counts` of matches, characters removed and documents of each rule, and `examples`.
        profile: The name of the list of rules to start from; see `charlm.text.cleaning.profiles`.
        rules: Rules that replace rules of the same name, or are appended.
        splits: The settings of the splits, whose key the fingerprints use.
        shard: Number of the shard, from 0.
        shards: Number of shards.

    Raises:
        CharlmError: A rule is not valid, or makes a text longer than 2 GiB.
    """
    text_rules, document_rules = rules_of(profile, rules)
    clean_table = partial(
        _clean_table,
        rules=text_rules,
        missing="nan" if profile == "notebook" else "",
        key=splits.key,
        sketched=any(rule.kind == "near_duplicates" for rule in document_rules),
    )
    counts = np.zeros((len(text_rules), 3), np.int64)
    examples: list[Example] = []
    with output(part) as temporary, TableWriter(temporary) as writer:
        with progress(None, "clean", " documents") as bar:
            tables = row_groups(documents, ["doc_id", "text"], shard=shard, shards=shards)
            for cleaned in ordered_map(clean_table, enumerate(tables)):
                writer.add(cleaned.table)
                writer.flush()  # keep the row groups, so that the number of shards does not matter
                counts += cleaned.counts
                examples += cleaned.examples
                bar.update(len(cleaned.table))
        writer.add_metadata("counts", json.dumps(counts.tolist()))
        writer.add_metadata("examples", json.dumps(examples))


class _Cleaned(NamedTuple):
    """A row group after the rules, with the counts and examples of each rule."""

    table: pa.Table
    counts: npt.NDArray[np.int64]
    examples: list[Example]


def _clean_table(
    numbered: tuple[int, pa.Table],
    *,
    rules: Sequence[TextRule],
    missing: str,
    key: str,
    sketched: bool,
) -> _Cleaned:
    """Clean a row group; collect examples only from the first one (number 0) of the shard."""
    number, table = numbered
    # 64-bit offsets, since a replacement can make a text much longer.
    texts = column(table, "text").cast(pa.large_string()).fill_null(missing)
    examples: list[Example] = []
    texts, counts = apply_rules(rules, texts, examples if number == 0 else None)
    prints = [fingerprint(utf8, key=key) for utf8 in utf8_rows(texts)]
    try:
        texts = texts.cast(pa.string())
    except pa.ArrowInvalid:
        raise CharlmError(
            f"document {table['doc_id'][0]}: cleaning makes it longer than 2 GiB; change a rule"
        ) from None
    columns = {
        "doc_id": table["doc_id"],
        "text": texts,
        "fingerprint": pa.array(prints, pa.binary(16)),
        "characters": pc.utf8_length(texts).cast(pa.int64()),
    }
    if sketched:
        sketches = [sketch(text).tobytes() for text in texts.to_pylist()]
        columns["sketch"] = pa.array(sketches, pa.binary(2 * BINS))
    return _Cleaned(pa.table(columns), counts, examples)
