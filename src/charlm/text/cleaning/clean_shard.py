"""Stage `clean_shard`: the rules that look at one document, applied to one shard."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from charlm.errors import CharlmError
from charlm.progress import progress
from charlm.text import splits as split_rules
from charlm.text.cleaning.engine import apply_rules
from charlm.text.cleaning.profiles import rules_of
from charlm.text.cleaning.rules import Rule
from charlm.text.duplicates import BINS, sketch
from charlm.text.tables import TableWriter, column, ordered_map, output, row_groups, utf8_rows


def clean_shard(
    documents: str | Path,
    part: str | Path,
    *,
    profile: str = "standard",
    rules: Sequence[Mapping[str, str]] = (),
    splits: Mapping[str, Any],
    shard: int = 0,
    shards: int = 1,
) -> None:
    """Clean one of several equal shards of the documents, which `clean` joins."""
    chosen, document_rules = rules_of(profile, rules)
    work = partial(
        _clean_table,
        rules=chosen,
        missing="nan" if profile == "notebook" else "",
        key=str(splits["key"]),
        sketched=any(rule.kind == "near_duplicates" for rule in document_rules),
    )
    totals = np.zeros((len(chosen), 3), np.int64)
    with output(part) as temporary, TableWriter(temporary) as writer:
        with progress(None, "clean", " documents") as bar:
            tables = row_groups(documents, ["doc_id", "text"], shard=shard, shards=shards)
            for table, counts in ordered_map(work, tables):
                writer.add(table)
                writer.flush()  # keep the row groups, so that the number of shards does not matter
                totals += counts
                bar.update(len(table))
        writer.note("counts", json.dumps(totals.tolist()))


def _clean_table(
    table: pa.Table, *, rules: Sequence[Rule], missing: str, key: str, sketched: bool
) -> tuple[pa.Table, NDArray[np.int64]]:
    # 64-bit offsets, since a replacement can make a text much longer.
    texts = column(table, "text").cast(pa.large_string()).fill_null(missing)
    texts, counts = apply_rules(rules, texts)
    prints = [split_rules.fingerprint(utf8, key=key) for utf8 in utf8_rows(texts)]
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
    return pa.table(columns), counts
