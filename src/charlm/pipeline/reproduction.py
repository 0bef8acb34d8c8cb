"""Repeat a recorded run, and compare the results."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from charlm.errors import CharlmError
from charlm.escaping import printable
from charlm.files import sha256_of
from charlm.pipeline.machine import processor
from charlm.pipeline.project import check_installed
from charlm.pipeline.verification import CONFIG, RECORD, Record


def reproduce(folder: str | Path, directory: str | Path, *, cores: str = "all") -> Iterator[str]:
    """Repeat in `directory` the run that made `folder`, and yield a line for each difference.

    The run uses the recorded files of the configuration and the workflow, copied to
    `directory/run`, and the installed charlm. Nothing else in `folder` is read, and no profile. The
    run finds the user's files at the paths in the configuration, relative to the working folder:
    they are linked into `directory/work`, where the results are made. A line that begins with
    `note:` is not a difference, but may explain one.

    Raises:
        CharlmError: A package is missing, a file is missing or is not the recorded one, the
            configuration is invalid, or the run failed.
    """
    check_installed("reproduce")
    from charlm.pipeline.config import load_file, resolve

    record, directory = Record(folder), Path(directory).resolve()
    if directory.exists() and any(directory.iterdir()):
        raise CharlmError(f"{directory}: not empty; name a new folder to run in")
    if not record.intact:
        yield f"note: {RECORD} was edited, as its digest is not {printable(record.digest)}"
    yield from _changed_environment(record)
    code = _copy_run(record, directory)
    config = directory / "run" / CONFIG
    work = _link_sources(record.sources, directory / "work")
    results = f"results/{resolve(load_file(config), str(config))['corpus']['name']}"
    yield f"note: runs the workflow code with the digest {code}"
    targets = [f"{results}/{name}".rstrip("/") for name in record.targets]
    command = [sys.executable, "-m", "snakemake", "--cores", cores, *targets]
    command += ["--snakefile", str(directory / "run/workflow/Snakefile")]
    command += ["--configfile", str(config), "--directory", str(work)]
    command += ["--profile", "none", "--workflow-profile", "none"]
    # Python imports no module, and Snakemake no plugin, from the current folder.
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    if subprocess.run(command, stdout=sys.stderr, env=environment, check=False).returncode:
        raise CharlmError(f"{directory}: the run failed; see the lines above and the logs there")
    yield from _differences(record, work / results)


def _copy_run(record: Record, directory: Path) -> str:
    """Copy the recorded configuration and workflow, and return a digest of the workflow."""
    digest = hashlib.sha256()
    for name, recorded in sorted(record.hashes.items()):
        if name.startswith("run/"):
            path, copy = record.folder / name, directory / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                shutil.copyfile(path, copy)
            if not copy.is_file() or sha256_of(copy) != recorded:
                raise CharlmError(
                    f"{printable(path)}: not as recorded; get the folder from its source again"
                )
            if name != f"run/{CONFIG}":
                digest.update(f"{recorded}  {name}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _changed_environment(record: Record) -> Iterator[str]:
    """Yield a note if the processor or the version of a package differs from the recorded one."""
    if record.processor != processor():
        made_on = printable(record.processor)
        yield f"note: made on {made_on}; this is {processor()}, which may round differently"
    for name, version in record.software.items():
        try:
            here = metadata.version(name)
        except (metadata.PackageNotFoundError, ValueError):
            here = "missing"
        if here != version:
            yield f"note: made with {printable(f'{name} {version}')}; here it is {here}"


def _link_sources(sources: Mapping[str, str], work: Path) -> Path:
    """Link the user's files into `work`, and return the folder where their paths lead to the links.

    It is so deep in `work` that paths such as `../data/posts.csv` do not lead out of it.
    """
    depth = max((Path(os.path.normpath(name)).parts.count("..") for name in sources), default=0)
    place = work.joinpath(*["below"] * depth)
    place.mkdir(parents=True)
    for name, checksum in sources.items():
        path = Path(name)
        if path.is_absolute():
            raise CharlmError(f"{printable(name)}: recorded as an absolute path; do not trust it")
        if not path.is_file():
            raise CharlmError(
                f"{printable(name)}: not found; start where the first run was started, or copy the "
                "file here"
            )
        if sha256_of(path) != checksum:
            raise CharlmError(
                f"{printable(name)}: not the file of the first run; restore that file"
            )
        link = Path(os.path.normpath(place / path))
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return place


def _differences(record: Record, results: Path) -> Iterator[str]:
    """Yield a line for each recorded file that is missing from new results or differs there."""
    for name, recorded in sorted(record.hashes.items()):
        made = results / name
        if name.startswith("run/"):
            continue
        if not made.is_file():
            yield f"missing  {printable(name)}"
        elif not _same(record.folder / name, made, recorded):
            yield f"changed  {printable(name)}"


def _same(recorded: Path, made: Path, digest: str) -> bool:
    """Return whether two files are the same, except for times."""
    if recorded.name == "timing.json":
        return True
    if recorded.suffix == ".html" and recorded.exists():
        return _without_times(recorded) == _without_times(made)
    return sha256_of(made) == digest


def _without_times(page: Path) -> bytes:
    return re.sub(rb"(?s)<(\w+)[^<>]* data-clock.*?</\1>", b"", page.read_bytes())
