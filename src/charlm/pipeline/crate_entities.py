"""The entities of a crate that stand for files, folders, packages and values.

rocrate has no types: what it returns is `Any` to the type checker.
"""

import mimetypes
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from rocrate.model import ContextEntity, Dataset, Entity, File
from rocrate.rocrate import ROCrate

from charlm.errors import CharlmError
from charlm.files import sha256_of
from charlm.pipeline.jobs import Job
from charlm.pipeline.verification import recorded_files


class Entities:
    """Adds entities to a crate, each file only once.

    Args:
        crate: The crate.
        results: The folder of the results, which the crate describes.
        jobs: The jobs of the run, whose inputs are checked to be unchanged since.
    """

    def __init__(self, crate: ROCrate, results: Path, jobs: Iterable[Job]):
        self.crate = crate
        self.results = results
        self.files: dict[Path, Entity] = {}
        self.read = {
            path: (checksum, job.name)
            for job in jobs
            for path, checksum in job.inputs.items()
            if checksum
        }

    def add(self, id: str, type: str, **properties: object) -> Entity:
        """Add an entity that does not stand for a file."""
        entity = ContextEntity(self.crate, id, properties={"@type": type} | properties)
        return self.crate.add(entity)

    def software(self, name: str) -> Entity:
        """Return the entity of an installed package."""
        version = metadata.version(name)
        id = f"pkg:pypi/{name}@{version}"
        return self.add(id, "SoftwareApplication", name=name, softwareVersion=version)

    def file(self, path: Path, kind: type[File] = File) -> Entity:
        """Return the entity of a file in the results, with its size and hash."""
        if path not in self.files:
            name = path.relative_to(self.results).as_posix()
            properties = {
                "name": name,
                "contentSize": str(path.stat().st_size),
                "encodingFormat": mimetypes.guess_type(name)[0] or "application/octet-stream",
                "sha256": sha256_of(path),
            }
            entity = kind(self.crate, dest_path=name, properties=properties)
            self.files[path] = self.crate.add(entity)
        return self.files[path]

    def data(self, name: str) -> Entity:
        """Return the entity of a file or folder that a job read or made.

        Raises:
            CharlmError: The file has changed since a job read it.
        """
        path = Path(name)
        checksum, reader = self.read.get(name, (None, None))
        if not path.is_relative_to(self.results) or not path.exists():
            return self._external(path, checksum)
        if path.is_dir():
            parts = list(map(self.file, recorded_files(self.results, path)))
            folder = path.relative_to(self.results).as_posix()
            properties = {"name": folder, "hasPart": parts}
            return self.crate.add(Dataset(self.crate, dest_path=folder, properties=properties))
        entity = self.file(path)
        if checksum not in (None, entity["sha256"]):
            raise CharlmError(
                f"{path}: changed since {reader} read it; remove the file and run again"
            )
        return entity

    def _external(self, path: Path, checksum: str | None) -> Entity:
        """Return the entity of a file outside the results, or of a deleted one."""
        if checksum is None and path.is_file():
            checksum = sha256_of(path)
        properties = {"name": path.name}
        # A workflow that is used as a module reads its user's files by absolute paths. These differ
        # between machines, so they must not be recorded.
        path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        if not path.is_absolute():
            properties["alternateName"] = path.as_posix()
        if checksum:
            properties["sha256"] = checksum
        id = checksum or properties.get("alternateName") or path.name
        return self.add(f"#{id}", "CreativeWork", **properties)
