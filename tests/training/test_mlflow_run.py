"""A run of MLflow shows the learning curve."""

import sys
from pathlib import Path

import pytest

from charlm.errors import CharlmError
from charlm.training.mlflow_run import MlflowRun
from tests.training.small import run, settings, stop_after, write_corpus


def test_without_mlflow_a_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(CharlmError, match=r"training\.mlflow: .* run `pip install mlflow`"):
        MlflowRun(str(tmp_path / "runs"), tmp_path, "tiny/lstm", {})


def test_a_resumed_training_is_one_run_with_the_whole_curve(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is missing")
    write_corpus(tmp_path)
    folder = tmp_path / "runs"
    how = settings(validate_every=4, mlflow=str(folder))
    stop_after(tmp_path, "m", how, steps=7)
    outputs = run(tmp_path, "m", how)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    [found] = client.search_runs(["0"])
    assert found.info.status == "FINISHED"
    assert found.data.params["hidden_size"] == "16"
    curve = client.get_metric_history(found.info.run_id, "validation_bits_per_character")
    rows = [line.split(",") for line in (outputs / "history.csv").read_text().splitlines()[1:]]
    assert sorted({(each.step, each.value) for each in curve}) == [
        (int(row[0]), float(row[-1])) for row in rows
    ]
