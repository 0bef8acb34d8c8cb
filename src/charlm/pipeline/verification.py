"""Check results against their record.

`charlm.pipeline.crate` writes the record, `ro-crate-metadata.json`. It holds the SHA-256 of each
file, and a digest of itself. So an edited file is found, and so is an edited record, unless its
digest was computed again. To detect that, compare the digest that `charlm verify` prints with one
from a trusted source, or run the workflow again.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from charlm.errors import CharlmError
from charlm.files import sha256_of
from charlm.pipeline.json_object import JsonObject

RECORD = "ro-crate-metadata.json"
CONFIG = "config.yaml"
UNRECORDED = {RECORD, "checkpoints", ".snakemake_timestamp"}
"""The record, training in progress, and the marks that Snakemake leaves in folders."""


def recorded_files(folder: Path) -> list[Path]:
    """Return all files below a folder that belong in its record."""
    return sorted(
        path
        for path in folder.rglob("*")
        if not path.is_dir() and UNRECORDED.isdisjoint(path.relative_to(folder).parts)
    )


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
        except FileNotFoundError:
            raise CharlmError(
                f"{path}: there is no record; `snakemake --cores all crate` writes one"
            ) from None
        except (ValueError, KeyError, TypeError, StopIteration):
            raise CharlmError(
                f"{path}: not a record that charlm wrote; get the folder from its source again"
            ) from None
        for name in self.hashes:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise CharlmError(f"{path}: names {name}, outside the folder; do not trust it")

    def targets(self) -> list[str]:
        """Return the targets of the run, relative to the folder."""
        return [unquote(each["@id"]) for each in _as_list(self.entities["#run"]["result"])]

    def sources(self) -> dict[str, str]:
        """Return the hashes of the user's files, by their paths relative to the working folder."""
        objects = _as_list(self.entities["#run"]["object"])
        entities = [self.entities[each["@id"]] for each in objects]
        return {
            each["alternateName"]: each["sha256"] for each in entities if "alternateName" in each
        }

    def differences(self) -> Iterator[str]:
        """Yield a line for each difference between the folder and the record."""
        if not self.intact:
            yield f"changed  {RECORD}: it was edited, as its digest is not {self.digest}"
        for name, recorded in sorted(self.hashes.items()):
            path = self.folder / name
            if not path.is_file():
                yield f"missing  {name}"
            elif sha256_of(path) != recorded:
                yield f"changed  {name}"
        for path in recorded_files(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if name not in self.hashes:
                yield f"added    {name}"


def _as_list(value: JsonObject | list[JsonObject]) -> list[JsonObject]:
    """Return the values of a property, which JSON-LD writes without a list if there is one."""
    return value if isinstance(value, list) else [value]
