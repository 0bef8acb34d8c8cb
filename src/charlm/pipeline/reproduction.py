"""Repeat a recorded run, and compare the results."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from charlm.errors import CharlmError
from charlm.files import sha256_of
from charlm.pipeline.machine import processor
from charlm.pipeline.project import check_installed
from charlm.pipeline.verification import CONFIG, RECORD, Record


def reproduce(folder: str | Path, directory: str | Path, *, cores: str = "all") -> Iterator[str]:
    """Repeat in `directory` the run that made `folder`, and yield a line for each difference.

    The run uses the configuration and the workflow in the folder, and the installed charlm. It
    finds the user's files at the paths in the configuration, relative to the working folder. A line
    that begins with `note:` is not a difference, but may explain one.

    Raises:
        CharlmError: A package is missing, a file is missing or is not the recorded one, or the run
            failed.
    """
    check_installed("reproduce")
    import yaml

    record, directory = Record(folder), Path(directory)
    if directory.exists() and any(directory.iterdir()):
        raise CharlmError(f"{directory}: not empty; name a new folder to run in")
    run = record.folder.resolve() / "run"
    for name, recorded in record.hashes.items():
        path = record.folder / name
        if name.startswith("run/") and not (path.is_file() and sha256_of(path) == recorded):
            raise CharlmError(f"{path}: not as recorded; get the folder from its source again")
    if not record.intact:
        yield f"note: {RECORD} was edited, as its digest is not {record.digest}"
    yield from _changed_environment(record)
    for name, checksum in record.sources().items():
        _link(Path(name), directory, checksum)
    results = f"results/{yaml.safe_load((run / CONFIG).read_bytes())['corpus']['name']}"
    targets = [f"{results}/{name}".rstrip("/") for name in record.targets()]
    command = [sys.executable, "-m", "snakemake", "--cores", cores, *targets]
    command += ["--snakefile", str(run / "workflow/Snakefile"), "--directory", str(directory)]
    command += ["--configfile", str(run / CONFIG)]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise CharlmError(f"{directory}: the run failed; see the lines above and the logs there")
    yield from _differences(record, directory / results)


def _changed_environment(record: Record) -> Iterator[str]:
    """Yield a note if the processor or the version of a package differs from the recorded one."""
    recorded = record.entities["#processor"]["value"]
    if recorded != processor():
        yield f"note: made on {recorded}; this is {processor()}, which may round differently"
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
    """Link the user's file into `directory`, at its path in the configuration."""
    if not path.is_file():
        raise CharlmError(
            f"{path}: not found; start where the first run was started, or copy the file here"
        )
    if sha256_of(path) != checksum:
        raise CharlmError(f"{path}: not the file of the first run; restore that file")
    link = directory / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(path.resolve())


def _differences(record: Record, results: Path) -> Iterator[str]:
    """Yield a line for each recorded file that is missing from new results or differs there."""
    for name, recorded in sorted(record.hashes.items()):
        made = results / name
        if name.startswith("run/"):
            continue
        if not made.is_file():
            yield f"missing  {name}"
        elif not _same(record.folder / name, made, recorded):
            yield f"changed  {name}"


def _same(recorded: Path, made: Path, digest: str) -> bool:
    """Return whether two files are the same, except for times."""
    if recorded.name == "timing.json":
        return True
    if recorded.name == "report.html" and recorded.exists():
        return _without_times(recorded) == _without_times(made)
    return sha256_of(made) == digest


def _without_times(page: Path) -> bytes:
    return re.sub(rb'(?s)<section id="timing".*?</section>', b"", page.read_bytes())
