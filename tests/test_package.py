"""The sdist and the wheel hold all that they need: the workflow runs without a clone."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from charlm import DISTRIBUTION, __version__
from tests.conftest import TINY, Checkout, new_checkout

pytest.importorskip("hatchling")

NAME = f"{DISTRIBUTION.replace('-', '_')}-{__version__}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and with the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    checkout = new_checkout(folder / "checkout").folder
    build(checkout, "sdist", folder)
    with tarfile.open(folder / f"{NAME}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    build(folder / NAME, "wheel", folder)
    return folder


def build(source: Path, target: str, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def charlm(built: Path) -> Path:
    """The command in a virtual environment with the wheel, and with the packages of this one."""
    venv = built / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python3*/site-packages")
    # Not by `site`, which would also read the .pth file of an editable install of charlm.
    others = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "others.pth").write_text("\n".join(others))
    wheel = built / f"{NAME}-py3-none-any.whl"
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin/python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return venv / "bin/charlm"


def run(charlm: Path, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [charlm, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_sdist_holds_what_a_developer_needs(built: Path) -> None:
    for name in ("tests/conftest.py", "docs/text.md", "workflow/Snakefile", "Makefile"):
        assert (built / NAME / name).is_file()
    assert not (built / NAME / ".venv").exists()


def test_the_wheel_samples_and_scores(charlm: Path, tiny_run: Checkout, tmp_path: Path) -> None:
    model = tiny_run.folder / "results/tiny/models/lstm"
    (tmp_path / "text.txt").write_text("A film.")
    sampled = run(charlm, tmp_path, "sample", model, "--prompt", "The film ", "--length", "20")
    assert sampled.stdout.startswith("The film ")
    bits, characters, _ = run(charlm, tmp_path, "score", model, "text.txt").stdout.split("\t")
    assert float(bits) > 0
    assert characters == "7"


@pytest.mark.full
def test_the_wheel_runs_the_tiny_preset_in_an_empty_folder(
    charlm: Path, tiny_run: Checkout, tmp_path: Path
) -> None:
    done = run(charlm, tmp_path, "run", TINY, "--cores=2")
    command, *_ = done.stdout.splitlines()
    assert command.startswith("snakemake --cores 2 --snakefile ")
    assert str(charlm.parent.parent) in command
    *_, url, advice = done.stderr.splitlines()
    assert url == f"report: {(tmp_path / 'results/tiny/report.html').as_uri()}"
    assert "charlm sample results/tiny/models/" in advice
    weights = "results/tiny/models/lstm/model.safetensors"
    assert (tmp_path / weights).read_bytes() == (tiny_run.folder / weights).read_bytes()
