"""Files of JSON objects, one per line."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

from charlm.text.sources.blocks import Block, join_blocks
from charlm.text.sources.decoding import utf8_chunks
from charlm.text.sources.records import (
    UNDECODABLE,
    Records,
    Request,
    excerpt,
    first_reason,
    one_line,
)
from charlm.text.tables import ordered_map


def read_json_lines(path: Path, codec: str | None, request: Request) -> Iterator[Records]:
    """Yield the records of a file of JSON objects, one per line."""
    blocks = join_blocks(
        utf8_chunks(path, codec, request), lambda data: data.rfind(b"\n") + 1, request
    )
    first = next(blocks, Block(b""))
    if first.data.lstrip().startswith(b"["):
        raise request.error("it is a single JSON array; write one object per line")
    names: dict[str, None] = {}
    for line in first.data.split(b"\n"):
        with suppress(ValueError, TypeError, RecursionError):
            names |= dict.fromkeys(json.loads(line))
    if names:
        request.indices(list(names))
    return ordered_map(partial(_parse_json_lines, request=request), chain([first], blocks))


def _parse_json_lines(block: Block, *, request: Request) -> Records:
    """Return the records of a block, with the rejected ones."""
    rejected: list[tuple[int, str, str]] = []
    usable: list[tuple[int, list[str | None]]] = []
    lines = [line for line in block.data.split(b"\n") if line.strip()]
    for place, line in enumerate(lines):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"a {type(record).__name__} instead")
            values = [_as_text(record.get(name)) for name in request.columns]
            reason = first_reason(values, request)
        except UnicodeDecodeError as error:
            reason = f"{UNDECODABLE} at offset {error.start}"
        except (ValueError, RecursionError) as error:
            reason = f"no JSON object: {one_line(error)}"
        if reason:
            rejected.append((place, reason, excerpt(line)))
        else:
            usable.append((place, values))
    return request.collect(len(lines), usable, rejected)


def _as_text(value: object) -> str | None:
    """Return a string as it is, and any other value as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
