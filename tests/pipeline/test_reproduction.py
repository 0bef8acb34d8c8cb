"""A recorded run is repeated, and the results are compared."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.files import sha256_of
from charlm.pipeline.verification import CONFIG, RECORD
from tests.conftest import TINY, Checkout
from tests.pipeline.conftest import edit, run, write_record


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
        "run `pip install 'charlm-pipeline[workflow]'`\n"
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
