"""A minimal folder of results with its record."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from charlm.files import sha256_of
from charlm.pipeline.verification import CONFIG, RECORD, add_digest


def write_record(folder: Path, given: dict[str, str] | None = None) -> None:
    """Write a minimal record of the files in a folder."""
    given = given or {}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    graph: list[dict[str, object]] = [
        {"@id": "./", "@type": "Dataset"},
        {
            "@id": "#run",
            "@type": "CreateAction",
            "object": [{"@id": f"#{name}"} for name in given],
            "result": {"@id": "a.txt"},
        },
        {"@id": "#processor", "@type": "PropertyValue", "value": "another one"},
    ]
    for name, digest in given.items():
        entity: dict[str, object] = {"@id": f"#{name}", "@type": "CreativeWork"}
        graph.append(entity | {"alternateName": name, "sha256": digest})
    for path in files:
        name = path.relative_to(folder).as_posix()
        graph.append({"@id": name, "@type": "File", "sha256": sha256_of(path)})
    document = {"@context": "", "@graph": graph}
    add_digest(document)
    (folder / RECORD).write_text(json.dumps(document))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some results and their record."""
    results = tmp_path / "results/some"
    (results / "models").mkdir(parents=True)
    (results / "run").mkdir()
    (results / "a.txt").write_text("a")
    (results / "models/b.txt").write_text("b")
    (results / "run" / CONFIG).write_text(
        yaml.safe_dump({"corpus": {"name": "some", "source": "posts.csv"}})
    )
    write_record(results)
    return results


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "charlm.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
