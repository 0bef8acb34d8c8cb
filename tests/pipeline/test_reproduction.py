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


SNAKEFILE = """
import sys

with open("ran.txt", "w") as file:
    print(sys.argv, file=file)


rule all:
    input:
        "results/some/a.txt",


rule make:
    output:
        "results/some/a.txt",
        "results/some/models/b.txt",
    shell:
        "printf a > {output[0]}; printf b > {output[1]}; cat ../data/posts.csv ran.txt >&2"
"""

EVIL = "cores: __import__('pathlib').Path('{mark}').touch() or 1\n"


def test_only_recorded_files_run_and_everything_stays_in_the_directory(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "run/workflow").mkdir()
    (folder / "run/workflow/Snakefile").write_text(SNAKEFILE)
    posts = tmp_path / "data/posts.csv"
    posts.parent.mkdir()
    posts.write_text("the user's text")
    (folder / RECORD).unlink()
    write_record(folder, {"../data/posts.csv": sha256_of(posts)})
    # Files that are not recorded: a profile, a plugin and a module.
    mark = tmp_path / "mark"
    profile = folder / "run/checkpoints/p/default"
    profile.mkdir(parents=True)
    (profile / "config.yaml").write_text(EVIL.format(mark=mark))
    (folder / "run/workflow/profiles").symlink_to("../checkpoints/p")
    start = tmp_path / "start"
    (start / "profiles").mkdir(parents=True)
    shutil.copytree(profile, start / "profiles/default")
    for module in ("yaml.py", "snakemake_executor_plugin_evil.py"):
        (start / module).write_text(f"open({str(mark)!r}, 'w')")
    for _ in range(2):  # a second try finds nothing that the first one left
        directory = start / "again"
        before = set(tmp_path.rglob("*"))
        done = run("reproduce", folder, "--directory", directory, "--cores", 1, cwd=start)
        assert done.stdout.splitlines()[-1] == "all files are the same", done.stderr
        assert "the user's text" in done.stderr
        new = {path for path in set(tmp_path.rglob("*")) - before if directory not in path.parents}
        assert new == {directory}
        assert not mark.exists()
        shutil.rmtree(directory)


def test_an_absolute_path_in_the_record_is_refused(folder: Path, tmp_path: Path) -> None:
    posts = tmp_path / "posts.csv"
    posts.write_text("a text")
    (folder / RECORD).unlink()
    write_record(folder, {str(posts): sha256_of(posts)})
    done = run("reproduce", folder, cwd=tmp_path)
    assert done.stderr == f"charlm: {posts}: recorded as an absolute path; do not trust it\n"


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
    note, code, *lines = done.stdout.splitlines()
    assert note.startswith(f"note: {RECORD} was edited")
    assert code.startswith("note: runs the workflow code with the digest sha256:")
    assert lines == ["changed  vocabulary.json"]  # the file with the wrong hash, and no other
    assert "Traceback" not in done.stderr
    assert os.listdir(elsewhere) == ["handed-on"]
