"""What a run shows: a line for each job, and at the end its result."""

import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from charlm.pipeline.terminal import Terminal
from tests.conftest import TINY, Checkout

LOG = "logs/posts/train/lstm.log"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the log of a training and the scores of its model, as the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / LOG).parent.mkdir(parents=True)
    model = tmp_path / "results/posts/models/lstm"
    model.mkdir(parents=True)
    (model / "model.safetensors").touch()
    (model / "metrics.json").write_text(json.dumps(scores(1.9)))
    baselines = {"ngram": {"order": 5, **scores(2.2)}, "ppmd": {"order": 8, **scores(2.0)}}
    (tmp_path / "results/posts/baselines.json").write_text(json.dumps(baselines))
    return tmp_path


def scores(bits: float) -> dict[str, Any]:
    return {"validation": None, "test": {"bits_per_character": bits}}


def shown(*records: tuple[LogEvent | None, dict[str, Any]], target: str = "report.html") -> str:
    """Return what is shown of a run with these log records."""
    job = SimpleNamespace(log=[LOG], output=[f"results/posts/{target}"], input=[])
    dag = SimpleNamespace(needrun_jobs=lambda: [job], targetjobs=[job])
    output = SimpleNamespace(dryrun=False)
    stream = io.StringIO()
    names = {"RESULTS": "results/posts"}
    workflow: Any = SimpleNamespace(dag=dag, output_settings=output, globals=names)
    terminal = Terminal(workflow, stream)
    terminal.shows_jobs = True
    for event, fields in records:
        record = logging.LogRecord("", logging.INFO, "", 0, "", None, None)
        record.__dict__.update(fields, event=event)
        terminal.handle(record)
    terminal.close()
    terminal.close()  # Python closes all handlers again when it ends
    return stream.getvalue()


BEGUN: list[tuple[LogEvent | None, dict[str, Any]]] = [
    (LogEvent.WORKFLOW_STARTED, {}),
    (LogEvent.RUN_INFO, {}),
]
STARTED = (LogEvent.JOB_INFO, {"jobid": 1, "log": [LOG]})
FINISHED = (LogEvent.JOB_FINISHED, {"job_id": 1})
FAILED = (LogEvent.JOB_ERROR, {"jobid": 1, "levelno": logging.ERROR})


def test_a_job_is_a_line_and_the_run_ends_with_its_result(run: Path) -> None:
    (run / LOG).write_text("step 1\nstep 2: 1.9 bits\n\n")
    job, done, best, report, advice = shown(*BEGUN, STARTED, FINISHED).splitlines()
    assert job == "1/1  train/lstm                0.0 s  step 2: 1.9 bits"
    assert done == "done in 0.0 s"
    assert best == (
        "best model: lstm with 1.900 bits per character on the test text; "
        "the best baseline, PPMd, order 8 (adapts), needs 2.000"
    )
    assert report == f"report: {(run / 'results/posts/report.html').as_uri()}"
    assert advice.endswith("charlm sample results/posts/models/lstm")


def test_a_model_that_loses_is_said_to_lose(run: Path) -> None:
    (run / "results/posts/models/lstm/metrics.json").write_text(json.dumps(scores(2.1)))
    assert "PPMd, order 8 (adapts), does better with 2.000\n" in shown(*BEGUN)


def test_a_run_that_makes_something_else_ends_with_its_files(run: Path) -> None:
    *_, done, file = shown(*BEGUN, STARTED, FINISHED, target="corpus.txt").splitlines()
    assert (done, file) == ("done in 0.0 s", "results/posts/corpus.txt")
    assert shown(*BEGUN, target="corpus.txt").startswith(
        "nothing to do: all files are up to date\n"
    )


KILLED = (
    f"it was killed, perhaps for lack of memory, or could not start; see {LOG}, or run again with "
    "--verbose"
)


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("reading\nerror: a.csv: row 3: bad; fix it\n", "a.csv: row 3: bad; fix it"),
        ("a defect in charlm\nKeyError: 1\n", f"a defect in charlm; please report it with {LOG}"),
        ("step 1\n", KILLED),
        ("", KILLED),
    ],
)
def test_a_failed_run_ends_with_the_line_that_matters(run: Path, log: str, line: str) -> None:
    (run / LOG).write_text(log)
    after = {"msg": "WorkflowError:\nAt least one job did", "levelno": logging.ERROR}
    assert shown(*BEGUN, STARTED, FAILED, (LogEvent.ERROR, after)) == f"error: train/lstm: {line}\n"


def test_a_mistake_in_the_configuration_is_the_last_line(run: Path) -> None:
    place = 'WorkflowError in file "/x/common.smk", line 29'
    message = (
        f'{place}:\na.yaml: x: unknown key\na.yaml: y: missing\n  File "/x/common.smk", line 29'
    )
    mistake = (LogEvent.ERROR, {"msg": message, "levelno": logging.ERROR})
    assert shown(mistake) == "error: a.yaml: x: unknown key\nerror: a.yaml: y: missing\n"


def test_other_errors_of_snakemake_are_shown(run: Path) -> None:
    locked = {"msg": "LockException:\nError: Directory cannot be locked.", "levelno": 40}
    assert shown(*BEGUN, (LogEvent.ERROR, locked)) == f"{locked['msg']}\n"


def test_an_interrupted_run_says_what_is_saved(run: Path) -> None:
    (run / LOG).write_text("interrupted; a checkpoint of step 120 is saved\n")
    asked = {"msg": "Terminating processes on user request, this might take some time."}
    assert shown(*BEGUN, STARTED, (None, asked)) == (
        "interrupted: train/lstm is saved at step 120, run the same command again to continue\n"
    )


def test_warnings_of_snakemake_are_shown(run: Path) -> None:
    messages = [("slow disk", logging.WARNING), ("Select jobs to execute...", logging.INFO)]
    records = [(None, {"msg": text, "levelno": level}) for text, level in messages]
    assert shown(*BEGUN, *records).splitlines()[0] == "slow disk"
    assert "Select jobs" not in shown(*BEGUN, *records)


def test_a_second_run_shows_the_result_again(tiny_run: Checkout) -> None:
    lines = tiny_run.snakemake("--configfile", TINY).stderr.splitlines()
    assert lines[-4] == "nothing to do: all files are up to date"
    assert lines[-3].startswith("best model: ")
    assert lines[-2] == f"report: {(tiny_run.folder / 'results/tiny/report.html').as_uri()}"
    assert not [line for line in lines if "Building DAG" in line]
    verbose = tiny_run.snakemake("--configfile", TINY, "--verbose").stderr
    assert "Building DAG" in verbose
    assert verbose.splitlines()[-4:] == lines[-4:]
