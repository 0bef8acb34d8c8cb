"""Corpora for tests: documents cleaned in one shard."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from charlm.settings import SplitSettings
from charlm.text.cleaning.clean import clean
from charlm.text.cleaning.clean_shard import clean_shard
from charlm.text.cleaning.profiles import RuleSettings

SPLITS = SplitSettings(validation=0.1, test=0.1)


def clean_documents(
    folder: Path,
    *,
    profile: str = "standard",
    rules: Sequence[RuleSettings] = (),
    splits: SplitSettings = SPLITS,
) -> None:
    """Clean documents.parquet: write corpus.parquet, cleaning.tsv and cleaning_examples.json."""
    names = ("corpus.parquet", "cleaning.tsv", "cleaning_examples.json")
    with tempfile.TemporaryDirectory() as temporary:
        part = Path(temporary) / "part.parquet"
        documents = folder / "documents.parquet"
        clean_shard(documents, part, profile=profile, rules=rules, splits=splits)
        clean(
            [part],
            *(folder / name for name in names),
            profile=profile,
            rules=rules,
            splits=splits,
        )
