"""Corpora for tests: documents that are cleaned, and tables that are encoded."""

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from charlm.settings import SplitSettings
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.cleaning.clean import clean
from charlm.text.cleaning.clean_shard import clean_shard
from charlm.text.cleaning.engine import apply_rules
from charlm.text.cleaning.profiles import RuleSettings, rules_of
from charlm.text.encode import encode
from charlm.text.splits import NAMES
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary

SPLITS = SplitSettings(method="document", validation=0.1, test=0.1)
CLEANED = ("corpus.parquet", "cleaning.tsv", "cleaning_examples.json")
"""What `clean` writes."""


def cleaned(
    texts: Sequence[str], profile: str = "standard", rules: Sequence[RuleSettings] = ()
) -> list[str]:
    """Return texts after the rules of a profile and those of the user."""
    array, _ = apply_rules(rules_of(profile, rules)[0], pa.array(texts, pa.large_string()))
    found: list[str] = array.to_pylist()
    return found


def clean_documents(
    folder: Path,
    *,
    profile: str = "standard",
    rules: Sequence[RuleSettings] = (),
    splits: SplitSettings = SPLITS,
    shards: int = 1,
    canaries: int = 0,
) -> None:
    """Clean `documents.parquet` in a folder: write the files `CLEANED` there."""
    with tempfile.TemporaryDirectory() as temporary:
        parts = [Path(temporary) / f"{shard}.parquet" for shard in range(shards)]
        for shard, part in enumerate(parts):
            clean_shard(
                folder / "documents.parquet",
                part,
                profile=profile,
                rules=rules,
                splits=splits,
                shard=shard,
                shards=shards,
            )
        files = (folder / name for name in CLEANED)
        clean(parts, *files, profile=profile, rules=rules, splits=splits, canaries=canaries)


def clean_texts(
    folder: Path,
    texts: Sequence[str | None],
    profile: str = "standard",
    rules: Sequence[RuleSettings] = (),
    splits: SplitSettings = SPLITS,
) -> tuple[pa.Table, dict[str, list[int]]]:
    """Clean texts in a folder.

    Return the corpus, and the matches, characters removed and documents of each rule.
    """
    table = pa.table({"doc_id": range(len(texts)), "text": pa.array(texts, pa.string())})
    pq.write_table(table, folder / "documents.parquet")
    clean_documents(folder, profile=profile, rules=rules, splits=splits)
    with (folder / "cleaning.tsv").open(encoding="utf-8") as file:
        header, *lines = csv.reader(file, delimiter="\t")
    assert header == ["rule", "matches", "characters_removed", "documents"]
    counts = {rule: list(map(int, numbers)) for rule, *numbers in lines}
    return pq.read_table(folder / "corpus.parquet"), counts


def write_corpus(
    folder: Path, rows: Sequence[tuple[int, str, str]], row_group_size: int = 3
) -> None:
    """Write rows of (doc_id, split, text); a doc_id that is repeated is a document that is cut."""
    doc_ids, splits, texts = zip(*rows, strict=True)
    following = [*doc_ids[1:], None]
    table = pa.table(
        {
            "doc_id": pa.array(doc_ids, pa.int64()),
            "split": splits,
            "text": texts,
            "continues": [one == other for one, other in zip(doc_ids, following, strict=True)],
        }
    )
    pq.write_table(table, folder / "corpus.parquet", row_group_size=row_group_size)


def build(folder: Path, **options: Any) -> Vocabulary:
    """Build the vocabulary of the corpus in a folder, by default in the order first seen."""
    options = {"order": "first_seen", **options}
    build_vocabulary(folder / "corpus.parquet", folder / "vocabulary.json", **options)
    return Vocabulary.load(folder / "vocabulary.json")


def encoded(folder: Path, one_stream: bool | None = False) -> dict[str, TokenSplit]:
    """Encode the corpus in a folder with its vocabulary; return the splits."""
    places = (folder / name for name in ("corpus.parquet", "vocabulary.json", "tokens"))
    encode(*places, one_stream=one_stream)
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    return {name: TokenSplit.load(folder / "tokens", name, vocabulary) for name in NAMES}
