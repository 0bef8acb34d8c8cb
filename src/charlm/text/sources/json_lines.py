"""Files of JSON objects, one per line."""

import codecs
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Never

from charlm.text.sources.blocks import Block, join_blocks
from charlm.text.sources.columns import Keys
from charlm.text.sources.decoding import utf8_chunks
from charlm.text.sources.records import (
    Records,
    Request,
    excerpt,
    first_reason,
    one_line,
    undecodable,
)
from charlm.text.tables import ordered_map

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character outside the BMP, such as an emoji that was cut. No encoding can store it."""


def read_json_lines(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    """Yield the records of a file of JSON objects, one per line.

    A key may be missing from any record. In text columns, a list of strings is joined by the
    separator, and other lists and objects are rejected, like objects that have a key twice.
    """
    if not request.text_columns:
        request.indices([])
    blocks = join_blocks(
        utf8_chunks(path, codec, request), lambda data: data.rfind(b"\n") + 1, request
    )
    first = next(blocks, Block(b""))
    _check_layout(first.data.lstrip(), request)
    return ordered_map(partial(_parse_json_lines, request=request), chain([first], blocks))


def _check_layout(start: bytes, request: Request) -> None:
    """Check that the first line of a file holds a whole object.

    Raises:
        CharlmError: The file is an array, or its first object spans several lines.
    """
    if start.startswith(b"["):
        _refuse("it is a single JSON array", "-c '.[]'", request)
    text = start.decode("utf-8", "replace").rstrip()
    line, line_end, _ = text.partition("\n")
    if not (line_end and line.startswith("{")) or _is_json(line):
        return
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        end = error.pos  # at the end of the block if only the rest of the object is missing
        if end < len(text):
            return
    except (ValueError, RecursionError):
        return
    if "\n" in text[:end]:
        _refuse("its first JSON object spans several lines", "-c .", request)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(what: str, options: str, request: Request) -> Never:
    raise request.error(
        f"{what}; write one object per line, as in `jq {options} {request.name} > lines.jsonl`"
    )


class _UnusableError(Exception):
    """A line that cannot be used; its message is the reason."""


def _parse_json_lines(block: Block, *, request: Request) -> Records:
    """Return the records of a block, with the rejected ones."""
    rejected: list[tuple[int, str, str]] = []
    usable: list[tuple[int, list[str | None]]] = []
    keys = Keys()
    replaced = 0
    lines = [line for line in block.data.split(b"\n") if line.strip()]
    names = _quoted(request.columns)
    for place, line in enumerate(lines):
        try:
            record = _parse_line(line)
            found = keys.find(request.columns, record)
            if any(line.count(one) + line.count(other) > 1 for one, other in names):
                _check_unique(line, request.columns)
            values = [
                value if isinstance(value, str) else _as_text(value, name, request.separator)
                for name, value in zip(request.text_columns, found, strict=False)
            ]
        except _UnusableError as error:
            rejected.append((place, str(error), excerpt(line)))
            continue
        values += map(_as_json, found[len(values) :])
        reason = first_reason(values, request)
        if reason:
            values, number = _without_surrogates(values)
            replaced += number
            reason = first_reason(values, request)
        if reason:
            rejected.append((place, reason, excerpt(line)))
        else:
            usable.append((place, values))
    records = request.collect(len(lines), usable, rejected)
    lost = [lines[place] for place, *_ in rejected]
    return replace(
        records,
        keys=keys,
        replaced=replaced,
        size=len(block),
        lines=len(lines),
        lost_size=sum(map(len, lost)),
        lost_lines=len(lost),
    )


def _parse_line(line: bytes) -> dict[str, object]:
    """Return the object of a line."""
    try:
        record = json.loads(line.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except UnicodeDecodeError as error:
        what = undecodable(line[error.start :][:6].decode("utf-8", "surrogateescape"), 0)
        raise _UnusableError(f"{what} at offset {error.start}") from None
    except (ValueError, RecursionError) as error:
        if line.rstrip().endswith(b"},"):
            raise _UnusableError("a comma after the object; remove it") from None
        raise _UnusableError(f"no JSON object: {one_line(error)}") from None
    if not isinstance(record, dict):
        raise _UnusableError(f"no JSON object: a {type(record).__name__} instead")
    return record


def _quoted(columns: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Return each column as a key in JSON: in ASCII, and in UTF-8 if that differs."""
    forms = ((json.dumps(name), json.dumps(name, ensure_ascii=False)) for name in columns)
    return [(one.encode(), other.encode() if other != one else b"\0") for one, other in forms]


def _check_unique(line: bytes, columns: Sequence[str]) -> None:
    """Check that none of the columns is twice a key of the object of a line.

    Python's `json` takes the last value, other programs the first.
    """
    pairs: list[tuple[str, object]] = []

    def keep(found: list[tuple[str, object]]) -> None:
        nonlocal pairs
        pairs = found  # those of the outermost object, which ends last

    json.loads(line.removeprefix(codecs.BOM_UTF8), object_pairs_hook=keep)
    keys = [key for key, _ in pairs]
    for name in columns:
        if keys.count(name) > 1:
            raise _UnusableError(f"the key {name!r} occurs twice in the object")


def _as_text(value: object, column: str, separator: str) -> str | None:
    """Return a value of a text column as text, None if missing."""
    if isinstance(value, list):
        parts = [part for part in value if not _is_missing(part)]
        if not all(isinstance(part, str) for part in parts):
            raise _UnusableError(f"column {column!r} holds a list of other things than strings")
        return separator.join(parts) if parts else None
    if isinstance(value, dict):
        raise _UnusableError(f"column {column!r} holds an object, not text")
    return _as_json(value)


def _as_json(value: object) -> str | None:
    """Return a string unchanged, any other value as JSON, and None if it is missing."""
    if isinstance(value, str):
        return value
    return None if _is_missing(value) else json.dumps(value, ensure_ascii=False)


def _is_missing(value: object) -> bool:
    """Return whether a value is null or NaN, which pandas writes for missing values."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _without_surrogates(values: Sequence[str | None]) -> tuple[list[str | None], int]:
    """Replace lone surrogates by U+FFFD; return the number of these, too."""
    number = 0
    whole: list[str | None] = []
    for value in values:
        if value:
            value, count = LONE_SURROGATE.subn("\ufffd", value)
            number += count
        whole.append(value)
    return whole, number
