"""Check results against their record.

`charlm.pipeline.crate` writes the record, `ro-crate-metadata.json`. It holds the SHA-256 of each
file, and a digest of itself. So an edited file is found, and so is an edited record, unless its
digest was computed again. To detect that, compare the digest that `charlm verify` prints with one
from a trusted source, or run the workflow again.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from charlm.errors import CharlmError
from charlm.escaping import printable
from charlm.files import sha256_of
from charlm.pipeline.json_object import JsonObject

RECORD = "ro-crate-metadata.json"
CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
"""The folder of training in progress, which is not recorded."""

TIMESTAMP = ".snakemake_timestamp"
"""The empty file that Snakemake leaves in folders, which is not recorded."""


def recorded_files(results: Path, below: Path | None = None) -> list[Path]:
    """Return all files and links that belong in the record of some results.

    Args:
        results: The folder of the results.
        below: A folder in it, if only its files are wanted.
    """
    found = []
    for folder, folders, files in os.walk(below or results):
        parent = Path(folder)
        # A link to a folder is not followed, but counts as a file.
        links = [name for name in folders if (parent / name).is_symlink()]
        if parent == results:
            files = [name for name in files if name != RECORD]
            if CHECKPOINTS in folders and CHECKPOINTS not in links:
                folders.remove(CHECKPOINTS)
        found += [parent / name for name in (*files, *links)]
    return sorted(path for path in found if not _is_timestamp(path))


def _is_timestamp(path: Path) -> bool:
    return path.name == TIMESTAMP and not path.is_symlink() and path.stat().st_size == 0


def add_digest(document: JsonObject) -> None:
    """Store the digest of a crate in its root, as `identifier`."""
    _root(document)["identifier"] = _digest(document)


def _root(document: JsonObject) -> JsonObject:
    root: JsonObject = next(each for each in document["@graph"] if each["@id"] == "./")
    return root


def _digest(document: JsonObject) -> str:
    """Return the digest of a crate without its own `identifier`."""
    graph = [
        {
            key: value
            for key, value in entity.items()
            if (entity["@id"], key) != ("./", "identifier")
        }
        for entity in sorted(document["@graph"], key=lambda entity: str(entity["@id"]))
    ]
    text = json.dumps([document["@context"], graph], sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class Record:
    """The record of some results.

    Args:
        folder: The folder of the results.

    Attributes:
        document: The record as JSON-LD.
        entities: Its entities by `@id`.
        hashes: The SHA-256 of each file, by its path relative to the folder.
        processor: The processor that made the results.
        software: The version of each package that made them.
        targets: The targets of the run, relative to the folder.
        sources: The SHA-256 of the user's files, by their paths relative to the working folder.
        digest: The digest that the record states.
        intact: Whether the record has the digest that it states.

    Raises:
        CharlmError: The folder holds no record, or one that cannot be read.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        path = self.folder / RECORD
        try:
            self.document: JsonObject = json.loads(path.read_bytes())
            self.entities: dict[str, JsonObject] = {
                entity["@id"]: entity for entity in self.document["@graph"]
            }
            self.digest = str(_root(self.document).get("identifier"))
            self.intact = self.digest == _digest(self.document)
            self.hashes = {
                unquote(id): str(entity["sha256"])
                for id, entity in self.entities.items()
                if "File" in entity["@type"]
            }
            run = self.entities["#run"]
            self.processor = str(self.entities["#processor"]["value"])
            self.software = {
                str(entity["name"]): str(entity["softwareVersion"])
                for entity in self.entities.values()
                if entity["@type"] == "SoftwareApplication"
            }
            self.targets = [unquote(each["@id"]) for each in _as_list(run["result"])]
            given = [self.entities[each["@id"]] for each in _as_list(run["object"])]
            self.sources = {
                str(each["alternateName"]): str(each["sha256"])
                for each in given
                if {"alternateName", "sha256"} <= each.keys()
            }
        except FileNotFoundError:
            raise CharlmError(
                f"{path}: there is no record; `snakemake --cores all crate` writes one"
            ) from None
        except OSError as error:
            raise CharlmError(f"{path}: {error.strerror}; name a folder of results") from None
        except (AttributeError, LookupError, RecursionError, StopIteration, TypeError, ValueError):
            raise CharlmError(
                f"{path}: not a record that charlm wrote; get the folder from its source again"
            ) from None
        for name in (*self.hashes, *self.targets):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise CharlmError(f"{path}: names {name}, outside the folder; do not trust it")

    def differences(self) -> Iterator[str]:
        """Yield a line for each difference between the folder and the record.

        A link that leads out of the folder is one, whatever it leads to.
        """
        if not self.intact:
            digest = printable(self.digest)
            yield f"changed  {RECORD}: it was edited, as its digest is not {digest}"
        for name, recorded in sorted(self.hashes.items()):
            path = self.folder / name
            if not path.is_file():
                yield f"missing  {printable(name)}"
            elif not path.resolve().is_relative_to(self.folder.resolve()):
                yield f"outside  {printable(name)}: a link out of the folder"
            elif sha256_of(path) != recorded:
                yield f"changed  {printable(name)}"
        for path in recorded_files(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if name not in self.hashes:
                yield f"added    {printable(name)}"


def _as_list(value: JsonObject | list[JsonObject]) -> list[JsonObject]:
    """Return the values of a property, which JSON-LD writes without a list if there is one."""
    return value if isinstance(value, list) else [value]
