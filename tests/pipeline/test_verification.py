"""Results are checked against their record, and a repeated run is compared with it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from charlm.files import sha256_of
from charlm.pipeline.verification import CONFIG, RECORD, add_digest
from tests.conftest import TINY, Checkout


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
    (results / "run" / CONFIG).write_text(yaml.safe_dump({"corpus": {"name": "some"}}))
    write_record(results)
    return results


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "charlm.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_unchanged_results_pass(folder: Path) -> None:
    (folder / "checkpoints/lstm").mkdir(parents=True)
    (folder / "checkpoints/lstm/state").write_text("at work")
    done = run("verify", folder)
    digest = json.loads((folder / RECORD).read_text())["@graph"][0]["identifier"]
    assert done.stdout == f"all 3 files are as recorded; the record is {digest}\n"
    assert (done.returncode, done.stderr) == (0, "")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def forge(folder: Path) -> None:
    """Change a file and its hash in the record, but not the digest of the record."""
    old = sha256_of(folder / "a.txt")
    (folder / "a.txt").write_text("A")
    edit(folder / RECORD, old, sha256_of(folder / "a.txt"))


@pytest.mark.parametrize(
    ("harm", "lines"),
    [
        (lambda folder: (folder / "a.txt").write_text("A"), ["changed  a.txt"]),
        (lambda folder: (folder / "models/b.txt").unlink(), ["missing  models/b.txt"]),
        (lambda folder: (folder / "models/c.txt").write_text("c"), ["added    models/c.txt"]),
        (lambda folder: (folder / "models/c.txt").symlink_to("gone"), ["added    models/c.txt"]),
        (
            lambda folder: (folder / "a.txt").rename(folder / "z.txt"),
            ["missing  a.txt", "added    z.txt"],
        ),
        (
            lambda folder: edit(folder / RECORD, "another one", "a better one"),
            [f"changed  {RECORD}: it was edited"],
        ),
        (forge, [f"changed  {RECORD}: it was edited"]),
    ],
)
def test_each_difference_has_a_line(
    folder: Path, harm: Callable[[Path], object], lines: list[str]
) -> None:
    harm(folder)
    done = run("verify", folder)
    printed = done.stdout.splitlines()
    assert [line[: len(wanted)] for line, wanted in zip(printed, lines, strict=True)] == lines
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no record"),
        ("{", "not a record"),
        ("[]", "not a record"),
        ('{"@graph": [{"@id": "./"}], "@context": "", "x": 1}', "not a record"),
    ],
)
def test_an_unreadable_record_is_an_error_in_one_line(
    folder: Path, text: str | None, words: str
) -> None:
    (folder / RECORD).unlink()
    if text is not None:
        (folder / RECORD).write_text(text)
    done = run("verify", folder)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"charlm: {folder / RECORD}: ")
    assert words in line


def test_a_record_cannot_name_files_outside_its_folder(folder: Path) -> None:
    edit(folder / RECORD, '"a.txt", "@type"', '"../a.txt", "@type"')
    assert "outside the folder; do not trust it" in run("verify", folder).stderr


@pytest.mark.parametrize("text", [None, "another text"])
def test_a_run_is_repeated_only_with_the_same_source(
    folder: Path, tmp_path: Path, text: str | None
) -> None:
    posts = tmp_path / "posts.csv"
    posts.write_text("a text")
    (folder / RECORD).unlink()
    write_record(folder, {"posts.csv": sha256_of(posts)})
    posts.unlink()
    if text:
        posts.write_text(text)
    done = run("reproduce", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("note: made on another one; this is ")
    assert done.stderr.startswith("charlm: posts.csv: not ")


def test_a_run_is_not_repeated_with_an_edited_configuration(folder: Path) -> None:
    (folder / "run" / CONFIG).write_text("corpus: {name: other}\n")
    done = run("reproduce", folder)
    assert done.returncode == 1
    assert f"{CONFIG}: not as recorded" in done.stderr


def test_a_run_is_repeated_only_in_an_empty_folder(folder: Path) -> None:
    done = run("reproduce", folder, "--directory", folder)
    assert done.stderr == f"charlm: {folder}: not empty; name a new folder to run in\n"


@pytest.mark.parametrize("package", ["yaml", "snakemake"])
def test_a_missing_package_is_named(folder: Path, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None  # makes its import fail\n"
        f"from charlm.cli import main; sys.exit(main(['reproduce', {str(folder)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"charlm: reproduce: the package {package} is missing, which the workflow needs; "
        "run `pip install 'charlm[workflow]'`\n"
    )


def test_one_core_makes_the_same_bytes_in_another_folder(
    tiny_copy: Checkout, tmp_path: Path
) -> None:
    done = tiny_copy.snakemake("crate", "--configfile", TINY)
    assert done.returncode == 0, done.stderr
    elsewhere = tmp_path / "elsewhere"
    results = elsewhere / "handed-on"  # only the folder, under another name
    shutil.copytree(tiny_copy.folder / "results/tiny", results)
    edit(results / RECORD, sha256_of(results / "vocabulary.json"), "0" * 64)
    done = run("reproduce", results, "--cores", 1, cwd=elsewhere)
    assert done.returncode == 1, done.stderr
    note, *lines = done.stdout.splitlines()
    assert note.startswith(f"note: {RECORD} was edited")
    assert lines == ["changed  vocabulary.json"]  # the file with the wrong hash, and no other
    assert "Traceback" not in done.stderr
    assert os.listdir(elsewhere) == ["handed-on"]
