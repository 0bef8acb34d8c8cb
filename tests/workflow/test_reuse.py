"""The workflow is used from the catalog, as a module, in another folder, and with a cache."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, TINY, new_checkout

OUTER = """\
configfile: "config.yaml"


module charlm:
    snakefile:
        "{snakefile}"
    config:
        config["language_model"]
    prefix:
        "lm"


use rule * from charlm as charlm_*


rule samples:
    default_target: True
    input:
        "lm/results/posts/models/tiny/samples.jsonl",
    output:
        "samples.jsonl",
    log:
        "samples.log",
    conda:
        "environment.yaml"
    shell:
        "cp {{input}} {{output}} 2> {{log}}"
"""
CONFIG = {
    "something": "of the outer workflow's",
    "language_model": {
        "corpus": {"name": "posts", "source": "data/posts.csv"},
        "splits": {"validation": 0.1, "test": 0.1},
        "models": {
            "tiny": {"hidden_size": 16, "embedding_size": 8},
            "more": {
                "hidden_size": 16,
                "embedding_size": 8,
                "mixture": None,
                "init_from": "results/posts/models/tiny",
                "teacher": "results/posts/models/tiny/",
            },
        },
        "training": {"steps": 3, "batch_size": 2, "sequence_length": 16},
        "sampling": {"length": 20, "prompts_file": "data/prompts.txt"},
    },
}


def write_posts(folder: Path) -> None:
    (folder / "data").mkdir()
    posts = [f"this is post number {n} of them all, which says {n % 7} things" for n in range(60)]
    (folder / "data/posts.csv").write_text("text\n" + "".join(f'"{post}"\n' for post in posts))
    (folder / "data/prompts.txt").write_text("this\n")


def snakemake(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in any folder, with the package of this repository."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_layout_is_that_of_the_workflow_catalog() -> None:
    for file in ("workflow/Snakefile", "config/config.yaml", "config/README.md", "README.md"):
        assert (ROOT / file).is_file(), file
    assert (ROOT / "LICENSE").is_file()
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) <= {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) <= {"desc", "flags"}
    methods = usage["software-stack-deployment"]
    assert methods.keys() <= {"conda", "singularity", "singularity+conda", "apptainer"}
    assert any(methods.values())
    assert usage["report"] is True


def test_snakedeploy_deploys_the_workflow(tmp_path: Path) -> None:
    command = shutil.which("snakedeploy")
    if not command or not shutil.which("git"):
        pytest.skip("snakedeploy or git is missing")
    checkout = new_checkout(tmp_path / "charlm").folder
    for arguments in ("init -q -b main", "add .", "-c user.name=a -c user.email=a commit -q -m a"):
        subprocess.run(["git", *arguments.split()], cwd=checkout, check=True)
    deployed = tmp_path / "deployed"
    subprocess.run([command, "deploy-workflow", checkout, deployed, "--branch", "main"], check=True)
    # For a repository on this machine, snakedeploy names the file without its folder.
    snakefile = deployed / "workflow/Snakefile"
    declared = '"workflow/Snakefile"'
    assert declared in snakefile.read_text()
    found = json.dumps(str(checkout / "workflow/Snakefile"))
    snakefile.write_text(snakefile.read_text().replace(declared, found))
    done = snakemake(deployed, "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train_model" in done.stdout + done.stderr


@pytest.mark.skipif(
    any(map(shutil.which, ("apptainer", "singularity"))), reason="needs a machine without Apptainer"
)
def test_an_image_can_be_named_for_all_jobs(tmp_path: Path) -> None:
    options = ("--snakefile", str(ROOT / "workflow/Snakefile"), "--configfile", str(ROOT / TINY))
    done = snakemake(
        tmp_path,
        *(*options, "--sdm", "apptainer", "--dry-run"),
        environment={"CHARLM_CONTAINER": "charlm.sif"},
    )
    assert "apptainer or singularity command has to be available" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def outer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another workflow, which uses this one as a module and has run."""
    folder = tmp_path_factory.mktemp("outer")
    write_posts(folder)
    (folder / "workflow").mkdir()
    snakefile = os.path.relpath(ROOT / "workflow/Snakefile", folder / "workflow")
    (folder / "workflow/Snakefile").write_text(OUTER.format(snakefile=snakefile))
    (folder / "workflow/environment.yaml").write_text("dependencies: []\n")
    (folder / "config.yaml").write_text(json.dumps(CONFIG))
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_module_writes_below_its_prefix_and_uses_its_own_configuration(outer: Path) -> None:
    line = json.loads((outer / "samples.jsonl").read_text().splitlines()[0])
    assert (line["prompt"], len(line["text"])) == ("this", 20)
    made = {path.name for path in outer.iterdir()}
    assert made - {".snakemake", "workflow", "data", "config.yaml"} == {
        *("lm", "samples.jsonl", "samples.log")
    }
    done = snakemake(outer, "charlm_crate", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lm/results/posts/report.html" in done.stdout + done.stderr
    assert "movie-reviews" not in done.stdout + done.stderr


@pytest.mark.full
def test_the_run_of_a_module_can_be_repeated(outer: Path) -> None:
    done = snakemake(outer, "charlm_crate")
    assert done.returncode == 0, done.stdout + done.stderr
    record = (outer / "lm/results/posts/ro-crate-metadata.json").read_text()
    assert str(outer) not in record
    reproduce = [sys.executable, "-m", "charlm.cli", "reproduce", "lm/results/posts"]
    done = subprocess.run(reproduce, cwd=outer, capture_output=True, text=True, check=False)
    assert done.stdout == "all files are the same\n", done.stderr
    assert done.returncode == 0


def test_a_workflow_with_the_module_gets_a_report_and_no_lints(outer: Path) -> None:
    done = snakemake(outer, "--report", "report.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "learning curve" in (outer / "report.html").read_text()
    (outer / "report.html").unlink()
    done = snakemake(outer, "--lint")
    assert "in a good condition" in done.stdout + done.stderr, done.stdout


def test_the_workflow_runs_in_another_folder(tmp_path: Path) -> None:
    write_posts(tmp_path)
    (tmp_path / "mine.yaml").write_text(json.dumps(CONFIG["language_model"]))
    where = ("--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path))
    done = snakemake(ROOT, "ingest", *where, "--configfile", str(tmp_path / "mine.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results/posts/documents.parquet").is_file()
    assert not (ROOT / "results/posts").exists()


def test_workflows_can_share_ingested_documents(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    environment = {"SNAKEMAKE_OUTPUT_CACHE": str(cache)}
    arguments = ("ingest", "--cache", "--snakefile", str(ROOT / "Snakefile"))
    tables = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        preset = ("--configfile", str(ROOT / TINY))
        done = snakemake(folder, *arguments, *preset, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        tables.append(folder / "results/tiny/documents.parquet")
    assert tables[0].resolve() == tables[1].resolve()
    assert tables[0].resolve().parent == cache
