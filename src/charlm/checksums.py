"""Checksums of results, and the error of a damaged result.

A checksum finds damage by disks, memory and copies. Only the record of a run (`charlm.pipeline`)
finds changes that were made on purpose.
"""

import difflib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from charlm.errors import CharlmError
from charlm.files import write_text
from charlm.json_types import fits

RULES = {
    "documents.parquet": "ingest",
    "rejected.parquet": "ingest",
    "corpus.parquet": "clean",
    "cleaning.tsv": "clean",
    "cleaning_examples.json": "clean",
    "vocabulary.json": "vocabulary",
    "summary.json": "encode",
    "learning_samples.json": "train_model",
    "baselines.json": "baseline",
    "baseline_scores.parquet": "baseline",
    "metrics.json": "evaluate_model",
    "document_scores.parquet": "evaluate_model",
    "diagnostics.json": "evaluate_model",
    "audit.json": "audit_model",
    "samples.jsonl": "sample_model",
    "comparison.json": "compare",
    "memorization.json": "memorization",
}
"""The rule that makes each file, except the files of a model or a split."""

CHECKSUM = "checksum"
"""The key of a JSON file's checksum."""

FOREIGN = "is not what charlm writes there"
"""What is wrong with a whole file of another program or version."""

Kind = TypeVar("Kind")


def damaged(path: str | Path, what: str = "is damaged") -> CharlmError:
    """Return the error of a result that cannot be used, with the rule that makes it again."""
    path = Path(path)
    if path.name in RULES:
        rule = RULES[path.name]
    elif path.name.startswith(("model.", "history.", "timing.")):
        rule = "train_model" if path.parent.name == "network" else "mix_model"
    else:
        rule = "clean_shard" if path.parent.name == "shards" else "encode"
    return CharlmError(f"{path}: {what}; make it again: --forcerun {rule}")


def checksum_of(data: Any, start: str = "") -> str:
    """Return the CRC-32 of bytes in hexadecimal; `start` is the checksum of those before them."""
    return f"{zlib.crc32(data, int(start or '0', 16)):08x}"


def write_json(path: str | Path, content: Mapping[Any, object], *, ascii: bool = True) -> None:
    """Write a JSON object with a checksum as its last key."""
    text = json.dumps(content, indent=1, ensure_ascii=ascii)
    sealed = dict(content) | {CHECKSUM: checksum_of(_canonical(text))}
    write_text(path, json.dumps(sealed, indent=1, ensure_ascii=ascii) + "\n")


def read_json(path: str | Path, kind: type[Kind]) -> Kind:
    """Return the content of a JSON file that `write_json` wrote.

    Args:
        path: The file. One without a checksum, which another program wrote, is not compared.
        kind: The type of the content, such as a `TypedDict`.

    Raises:
        CharlmError: The file is missing, damaged or of another type.
    """
    try:
        content = json.loads(Path(path).read_bytes())
        found = content.pop(CHECKSUM, None) if isinstance(content, dict) else None
    except FileNotFoundError:
        raise damaged(path, "there is no such file") from None
    except (RecursionError, ValueError):
        raise damaged(path) from None
    if found is None and _lost_checksum(content):
        raise damaged(path)
    if found is not None and found != checksum_of(_canonical(json.dumps(content))):
        raise damaged(path)
    if not content or not fits(content, kind):
        raise damaged(path, FOREIGN)
    return cast(Kind, content)


def _lost_checksum(content: object) -> bool:
    """Return whether the last key looks like that of the checksum, but is damaged."""
    last = next(reversed(content), "") if isinstance(content, dict) else ""
    return bool(difflib.get_close_matches(last, [CHECKSUM], cutoff=0.8))


def read_text(path: str | Path, checksum: str | None) -> str:
    """Return the content of a text file.

    Args:
        path: The file.
        checksum: The expected checksum, which another file records; None if it is unknown.

    Raises:
        CharlmError: The file is missing or damaged.
    """
    try:
        data = Path(path).read_bytes()
        if checksum in (None, checksum_of(data)):
            return data.decode("utf-8")
    except FileNotFoundError:
        raise damaged(path, "there is no such file") from None
    except UnicodeDecodeError:
        pass
    raise damaged(path)


def _canonical(text: str) -> bytes:
    """Return a JSON text in the canonical form, whose bytes the checksum covers."""
    return json.dumps(json.loads(text), separators=(",", ":")).encode("ascii")
