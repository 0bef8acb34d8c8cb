"""Results are checked against their record."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from charlm.files import sha256_of
from charlm.pipeline.verification import RECORD
from tests.pipeline.conftest import edit, run


def test_unchanged_results_pass(folder: Path) -> None:
    (folder / "checkpoints/lstm").mkdir(parents=True)
    (folder / "checkpoints/lstm/state").write_text("at work")
    (folder / "models/.snakemake_timestamp").touch()
    done = run("verify", folder)
    digest = json.loads((folder / RECORD).read_text())["@graph"][0]["identifier"]
    assert done.stdout == f"all 3 files are as recorded; the record is {digest}\n"
    assert (done.returncode, done.stderr) == (0, "")


def forge(folder: Path) -> None:
    """Change a file and its hash in the record, but not the digest of the record."""
    old = sha256_of(folder / "a.txt")
    (folder / "a.txt").write_text("A")
    edit(folder / RECORD, old, sha256_of(folder / "a.txt"))


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("new")


def lead_outside(folder: Path) -> None:
    """Replace a file by a link to the same content outside the folder."""
    (folder / "a.txt").rename(folder.parent / "a.txt")
    (folder / "a.txt").symlink_to("../a.txt")


@pytest.mark.parametrize(
    ("harm", "lines"),
    [
        (lambda folder: (folder / "a.txt").write_text("A"), ["changed  a.txt"]),
        (lambda folder: (folder / "models/b.txt").unlink(), ["missing  models/b.txt"]),
        (lambda folder: (folder / "models/c.txt").write_text("c"), ["added    models/c.txt"]),
        (lambda folder: (folder / "models/c.txt").symlink_to("gone"), ["added    models/c.txt"]),
        (lambda folder: (folder / "models/c").symlink_to("."), ["added    models/c"]),
        (lambda folder: (folder / "checkpoints").symlink_to("models"), ["added    checkpoints"]),
        (
            lambda folder: write(folder / "run/checkpoints/p/config.yaml"),
            ["added    run/checkpoints/p/config.yaml"],
        ),
        (lambda folder: write(folder / "run" / RECORD), [f"added    run/{RECORD}"]),
        (
            lambda folder: write(folder / "models/.snakemake_timestamp"),
            ["added    models/.snakemake_timestamp"],
        ),
        (
            lambda folder: write(folder / "a\rall 4 files are as recorded"),
            [r"added    a\rall 4 files are as recorded"],
        ),
        (lambda folder: lead_outside(folder), ["outside  a.txt: a link out of the folder"]),
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
        ("[" * 100_000, "not a record"),
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
