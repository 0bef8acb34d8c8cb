"""Whether results are those of their record, and whether a run made again gives the same.

The record is `ro-crate-metadata.json`, which `charlm.pipeline.crate` writes. It proves that each
file is the one that was recorded, by its SHA-256, and that nobody edited the record and left its
own digest as it was. Whoever makes that anew, too, leaves no trace in the folder: against that,
keep the digest that `charlm verify` prints elsewhere, or run again.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from charlm.errors import CharlmError
from charlm.files import sha256_of

RECORD = "ro-crate-metadata.json"
CONFIG = "config.yaml"
# Besides the record itself, work in progress and what Snakemake leaves in folders that it made.
UNRECORDED = {RECORD, "checkpoints", ".snakemake_timestamp"}


def files(folder: Path) -> list[Path]:
    """Return all files in a folder and below that belong into a record."""
    return sorted(
        path
        for path in folder.rglob("*")
        if not path.is_dir() and UNRECORDED.isdisjoint(path.relative_to(folder).parts)
    )


def processor() -> str:
    """Return the name of this machine's processor and its operating system."""
    try:
        cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        found = re.search(r"(?m)^model name\s*: (.*)", cpus)
    except OSError:
        found = None
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {platform.machine()}, {platform.system()}"


def with_digest(document: dict[str, Any]) -> dict[str, Any]:
    """Give a crate's root the digest of all else in the crate, as its `identifier`."""
    _root(document)["identifier"] = _digest(document)
    return document


def _root(document: Mapping[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = next(each for each in document["@graph"] if each["@id"] == "./")
    return root


def _digest(document: Mapping[str, Any]) -> str:
    graph = [
        {
            key: value
            for key, value in entity.items()
            if (entity["@id"], key) != ("./", "identifier")
        }
        for entity in sorted(document["@graph"], key=lambda entity: str(entity["@id"]))
    ]
    whole = json.dumps([document["@context"], graph], sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(whole.encode()).hexdigest()}"


class Record:
    """The record of some results.

    Args:
        folder: The folder of the results.

    Raises:
        CharlmError: It holds no record, or one that cannot be read.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        path = self.folder / RECORD
        try:
            self.document = json.loads(path.read_bytes())
            self.entities = {entity["@id"]: entity for entity in self.document["@graph"]}
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
                f"{path}: not a record of charlm's; take it from its source"
            ) from None
        for name in self.hashes:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise CharlmError(f"{path}: names {name}, outside the folder; do not trust it")

    def targets(self) -> list[str]:
        """Return the files that the run was for, relative to the folder."""
        return [unquote(each["@id"]) for each in _list(self.entities["#run"]["result"])]

    def given(self) -> dict[str, str]:
        """Return the user's files, by their relative paths, with their hashes."""
        given = (self.entities[each["@id"]] for each in _list(self.entities["#run"]["object"]))
        return {each["alternateName"]: each["sha256"] for each in given if "alternateName" in each}

    def differences(self) -> Iterator[str]:
        """Yield a line for whatever in the folder is not as recorded."""
        if not self.intact:
            yield f"changed  {RECORD}: it was edited, for its digest is not {self.digest}"
        for name, recorded in sorted(self.hashes.items()):
            path = self.folder / name
            if not path.is_file():
                yield f"missing  {name}"
            elif sha256_of(path) != recorded:
                yield f"changed  {name}"
        for path in files(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if name not in self.hashes:
                yield f"added    {name}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def reproduce(folder: str | Path, directory: str | Path, *, cores: str = "all") -> Iterator[str]:
    """Run again what made `folder`, in `directory`, and yield a line for each difference.

    The configuration and the workflow are those in the folder; the code of charlm is what is
    installed. The user's files are looked for where the configuration names them, from the current
    working directory. Lines that begin with `note:` are no differences but may explain some.

    Raises:
        CharlmError: What is needed to run again is not installed, is not there or is not what was
            recorded, or the run failed.
    """
    for package in ("yaml", "snakemake"):
        if find_spec(package) is None:
            raise CharlmError(
                f"reproduce: the package {package} is missing, which running the workflow needs; "
                "run `pip install 'charlm[workflow]'`"
            )
    import yaml

    record, directory = Record(folder), Path(directory)
    if directory.exists() and any(directory.iterdir()):
        raise CharlmError(f"{directory}: not empty; name a new folder to run in")
    run = record.folder.resolve() / "run"
    for name, recorded in record.hashes.items():
        path = record.folder / name
        if name.startswith("run/") and not (path.is_file() and sha256_of(path) == recorded):
            raise CharlmError(f"{path}: not as recorded; take the folder from its source again")
    if not record.intact:
        yield f"note: {RECORD} was edited, for its digest is not {record.digest}"
    yield from _other_surroundings(record)
    for name, checksum in record.given().items():
        _link(Path(name), directory, checksum)
    results = f"results/{yaml.safe_load((run / CONFIG).read_bytes())['corpus']['name']}"
    targets = [f"{results}/{name}".rstrip("/") for name in record.targets()]
    command = [sys.executable, "-m", "snakemake", "--cores", cores, *targets]
    command += ["--snakefile", str(run / "workflow/Snakefile"), "--directory", str(directory)]
    command += ["--configfile", str(run / CONFIG)]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise CharlmError(f"{directory}: the run failed; see the lines above and the logs there")
    for name, recorded in sorted(record.hashes.items()):
        made = directory / results / name
        if name.startswith("run/"):
            continue
        if not made.is_file():
            yield f"missing  {name}"
        elif not _same(record.folder / name, made, recorded):
            yield f"changed  {name}"


def _other_surroundings(record: Record) -> Iterator[str]:
    """Yield a note for each way in which this machine and its packages are not those recorded."""
    recorded = record.entities["#processor"]["value"]
    if recorded != processor():
        yield f"note: made on {recorded}; this is {processor()}, which may round otherwise"
    for entity in record.entities.values():
        if entity["@type"] == "SoftwareApplication":
            name, version = entity["name"], entity["softwareVersion"]
            try:
                here = metadata.version(name)
            except metadata.PackageNotFoundError:
                here = "missing"
            if here != version:
                yield f"note: made with {name} {version}; here it is {here}"


def _link(path: Path, directory: Path, checksum: str) -> None:
    """Let `directory` have the user's file under the name by which the configuration knows it."""
    if not path.is_file():
        raise CharlmError(f"{path}: not here; run this where the first run was, or bring the file")
    if sha256_of(path) != checksum:
        raise CharlmError(f"{path}: not the file of the first run; bring that one")
    link = directory / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(path.resolve())


def _same(recorded: Path, made: Path, digest: str) -> bool:
    """Say whether two files are the same but for the clock values that some hold."""
    if recorded.name == "timing.json":
        return True
    if recorded.name == "report.html" and recorded.exists():
        return _without_clock(recorded) == _without_clock(made)
    return sha256_of(made) == digest


def _without_clock(page: Path) -> bytes:
    return re.sub(rb'(?s)<section id="timing".*?</section>', b"", page.read_bytes())
