"""What the files of a source contain, remembered between runs.

Snakemake compares the times of files, so it would miss a file that an older one has replaced, as
`cp -p`, rsync and restored backups do.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from charlm.files import write_text

WHOLE = 1 << 30
"""Files with at most this many bytes are hashed completely."""

BLOCKS, BLOCK = 64, 1 << 20
"""Number and size of the blocks that are hashed of larger files, evenly spaced."""


def content_digests(paths: Iterable[str | Path], memory: str | Path) -> list[str]:
    """Return a digest of the content of each file that exists.

    Args:
        paths: The files.
        memory: A file that remembers the digests. A file is read again only if its size, its time
            or its inode has changed.
    """
    known = _remembered(memory)
    digests = {}
    for path in map(str, paths):
        if os.path.exists(path):
            status = os.stat(path)
            state = f"{status.st_size} {status.st_mtime_ns} {status.st_ino} {path}"
            digests[state] = known.get(state) or _digest(path, status.st_size)
    if new := digests.keys() - known.keys():
        write_text(memory, json.dumps(known | {state: digests[state] for state in new}))
    return list(digests.values())


def _digest(path: str, size: int) -> str:
    """Return a digest of a file's size and content, or of blocks of a large file."""
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= WHOLE:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        else:
            for number in range(BLOCKS):
                file.seek((size - BLOCK) * number // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
    return digest.hexdigest()[:32]


def _remembered(memory: str | Path) -> dict[str, str]:
    """Return the digests in a file, if it can be read, by the state and path of their files."""
    try:
        content = json.loads(Path(memory).read_bytes())
    except (OSError, RecursionError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
