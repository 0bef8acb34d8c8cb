"""The command that `charlm run` runs."""

import os
from itertools import permutations
from pathlib import Path

import pytest

from charlm.cli import main
from charlm.errors import CharlmError
from charlm.pipeline.run import environment, snakemake_command
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is no clone, as the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLACES = [
    *("--snakefile", str(ROOT / "workflow/Snakefile")),
    *("--workflow-profile", str(ROOT / "profiles/default")),
]


@pytest.mark.parametrize("words", [*permutations(["my.yaml", "train", "--forcerun=mix_model"])])
def test_targets_and_configuration_can_stand_in_any_order(
    elsewhere: Path, words: tuple[str, ...]
) -> None:
    (elsewhere / "my.yaml").touch()
    rest = ["--configfile", "my.yaml", "--forcerun=mix_model"]
    assert snakemake_command(words) == ["snakemake", "--cores", "all", "train", *PLACES, *rest]


def test_in_a_clone_the_command_is_the_one_that_users_of_snakemake_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    preset = "config/presets/tiny.yaml"
    target = "results/tiny/models/lstm/model.json"
    command = ["snakemake", "--cores", "2", target, "--configfile", preset]
    assert snakemake_command([preset, target], cores="2") == command


@pytest.mark.parametrize(
    ("files", "given", "used"),
    [
        ([], [], str(ROOT / "config/config.yaml")),
        (["config/config.yaml"], [], "config/config.yaml"),
        (["config/config.yaml", "my.yaml"], [], "my.yaml"),
        (["my.yaml"], ["config/presets/tiny.yaml"], str(ROOT / "config/presets/tiny.yaml")),
    ],
)
def test_the_nearest_configuration_is_used(
    elsewhere: Path, files: list[str], given: list[str], used: str
) -> None:
    (elsewhere / "config").mkdir()
    for name in files:
        (elsewhere / name).touch()
    assert snakemake_command(given)[-2:] == ["--configfile", used]


def test_a_configuration_of_the_clone_is_not_used_elsewhere(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = elsewhere / "clone"
    for name in ("my.yaml", "config/config.yaml"):
        (clone / name).parent.mkdir(exist_ok=True, parents=True)
        (clone / name).touch()
    monkeypatch.setattr("charlm.pipeline.run.project", lambda: clone)
    assert snakemake_command([])[-1] == str(clone / "config/config.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.yaml"], "none.yaml: no such file; `charlm init FILE` writes a configuration"),
        (["a.yaml", "b.yml"], "b.yml: a second configuration; name one"),
        (["posts.csv"], "posts.csv: not a configuration; run `charlm init posts.csv` first"),
    ],
)
def test_a_wrong_word_is_an_error_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(CharlmError) as raised:
        snakemake_command(words)
    assert str(raised.value) == message


def test_the_command_is_printed_and_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.execve", lambda _, arguments, environment: started.append(arguments))
    assert main(["run", "-n", "sample", "--cores", "3"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed[:4] == ["snakemake", "--cores", "3", "sample"]
    assert printed[-1] == "--dry-run"
    assert started[0][-len(printed) :] == printed


def test_without_a_home_to_write_to_the_cache_is_here(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (elsewhere / "home").mkdir()
    monkeypatch.setenv("HOME", str(elsewhere / "home"))
    assert environment() == os.environ
    (elsewhere / "file").touch()  # root may write to any folder
    monkeypatch.setenv("HOME", str(elsewhere / "file"))
    assert environment()["XDG_CACHE_HOME"] == str(elsewhere / ".snakemake/cache")
