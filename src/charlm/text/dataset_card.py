"""The cleaned corpus as a data set of its own: its splits, a card, and Croissant metadata."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from charlm.files import sha256_of, write_text
from charlm.text.canaries import read_canaries
from charlm.text.splits import NAMES
from charlm.text.tables import read_table, write_table

FIELDS = {
    "doc_id": ("sc:Integer", "place of the document in the source"),
    "text": ("sc:Text", "the document"),
}
"""The type and the meaning of each column."""

CROISSANT = "http://mlcommons.org/croissant/"

CONTEXT: Mapping[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": CROISSANT,
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs",
            "column",
            "extract",
            "field",
            "fileObject",
            "fileProperty",
            "fileSet",
            "format",
            "includes",
            "isLiveDataset",
            "jsonPath",
            "key",
            "md5",
            "parentField",
            "path",
            "recordSet",
            "references",
            "regex",
            "repeated",
            "replace",
            "separator",
            "source",
            "subField",
            "transform",
        )
    },
}
"""The terms of Croissant 1.0."""

CARD = """\
---
{header}---

# {name}

{description}

| split | documents | characters |
| --- | --- | --- |
{rows}

Each split is a Parquet file with the columns `doc_id`, the place of the document in its source, and
`text`, which charlm has cleaned.
"""

SUMMARY = """\
# Summary of the training content

In the order of the template of the European AI Office for providers of general-purpose models
(Article 53(1)(d) of Regulation (EU) 2024/1689). charlm has filled in what it knows. Replace each ….

## 1. General information

- Provider: …
- Models and date of the latest training: …
- Modality: text
- Size of the training text: {characters:,} characters in {documents:,} documents
- Languages: {languages}

## 2. Data sources

- Publicly available data sets: {dataset}
- Private data of third parties: …
- Text crawled from the web: … (charlm crawls nothing)
- Text of users: …
- Synthetic text: {synthetic}
- Other sources: {description}

## 3. Processing

- Respect of reservations of rights: …
- Removal of illegal content: … (charlm removes none)
- Other: charlm cleaned the text; `cleaning.tsv` counts what each rule removed.
"""


class Size(TypedDict):
    """The size of a split."""

    documents: int
    characters: int


def write_dataset_card(
    corpus: str | Path,
    folder: str | Path,
    *,
    name: str,
    license: str | None = None,
    languages: Sequence[str] = (),
    dataset: str | None = None,
    description: str | None = None,
) -> None:
    """Write the cleaned corpus as a data set that the Hugging Face Hub shows.

    The folder gets one Parquet file per split that has text, `README.md`, `croissant.json`, which
    has the format of Croissant 1.0 (Akhtar et al. 2024, arXiv:2403.19546), and
    `training-content.md`, a draft of the summary that the EU asks of providers of models. Canaries
    are left out.

    Args:
        corpus: `corpus.parquet`.
        folder: The folder to write.
        name: The name of the corpus.
        license: The license of the text.
        languages: The languages of the text.
        dataset: The data set that the text is from.
        description: A paragraph about the text.

    Raises:
        CharlmError: The corpus is missing or damaged.
    """
    folder = Path(folder)
    canaries = read_canaries(corpus)
    rows = read_table(corpus, ["doc_id", "split", "text"])
    rows = rows.slice(0, len(rows) - (canaries.number if canaries else 0))
    sizes = {}
    for split in NAMES:
        found = rows.filter(pc.field("split") == split).select(list(FIELDS))
        if len(found):
            write_table(folder / f"{split}.parquet", found)
            sizes[split] = _size(found)
    source = f"Text of the data set {dataset}." if dataset else f"The corpus {name}."
    description = description.strip() if description else source
    header: dict[str, object] = {
        "license": license,
        "language": list(languages),
        "pretty_name": name,
        "task_categories": ["text-generation"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": each, "path": f"{each}.parquet"} for each in sizes],
            }
        ],
    }
    stated = {key: value for key, value in header.items() if value}
    lines = [
        f"| {split} | {size['documents']:,} | {size['characters']:,} |"
        for split, size in sizes.items()
    ]
    card = CARD.format(
        header=yaml.safe_dump(stated, sort_keys=False, allow_unicode=True),
        name=name,
        description=description,
        rows="\n".join(lines),
    )
    write_text(folder / "README.md", card)
    synthetic = f"{canaries.number} random sentences, to audit models" if canaries else "none"
    summary = SUMMARY.format(
        **sizes["train"],
        languages=", ".join(languages) or "…",
        dataset=dataset or "…",
        synthetic=synthetic,
        description=description,
    )
    write_text(folder / "training-content.md", summary)
    metadata = _croissant(folder, list(sizes), name, license, languages, description)
    write_text(folder / "croissant.json", json.dumps(metadata, indent=1, ensure_ascii=False) + "\n")


def _size(rows: pa.Table) -> Size:
    return {
        "documents": len(pc.unique(rows["doc_id"])),
        "characters": pc.sum(pc.utf8_length(rows["text"])).as_py(),
    }


def _croissant(
    folder: Path,
    splits: Sequence[str],
    name: str,
    license: str | None,
    languages: Sequence[str],
    description: str,
) -> Mapping[str, object]:
    """Return the metadata: a file, and a set of records, for each split."""
    optional = {"license": license, "inLanguage": list(languages)}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": f"{CROISSANT}1.0",
        **{key: value for key, value in optional.items() if value},
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": f"{split}.parquet",
                "name": f"{split}.parquet",
                "contentUrl": f"{split}.parquet",
                "encodingFormat": "application/x-parquet",
                "sha256": sha256_of(folder / f"{split}.parquet"),
            }
            for split in splits
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": split,
                "name": split,
                "field": [_field(split, column) for column in FIELDS],
            }
            for split in splits
        ],
    }


def _field(split: str, column: str) -> Mapping[str, object]:
    kind, meaning = FIELDS[column]
    return {
        "@type": "cr:Field",
        "@id": f"{split}/{column}",
        "name": column,
        "description": meaning,
        "dataType": kind,
        "source": {"fileObject": {"@id": f"{split}.parquet"}, "extract": {"column": column}},
    }
