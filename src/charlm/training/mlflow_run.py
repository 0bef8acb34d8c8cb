"""The learning curve as a run of MLflow."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from charlm.errors import CharlmError
from charlm.files import write_text

log = logging.getLogger(__name__)


class MlflowRun:
    """A run in the database of a folder. A training that is resumed continues its run.

    Args:
        folder: The folder, whose `mlflow.db` holds the runs of all models.
        checkpoints: The folder of the checkpoints, which also keeps the id of the run.
        name: The name of the run.
        parameters: What MLflow shows of the settings.

    Raises:
        CharlmError: The package `mlflow` is not installed.
    """

    def __init__(
        self, folder: str, checkpoints: Path, name: str, parameters: Mapping[str, object]
    ) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise CharlmError(
                "training.mlflow: needs the package 'mlflow'; run `pip install mlflow`"
            ) from None
        # MLflow has given up its stores of plain files.
        database = Path(folder).absolute() / "mlflow.db"
        database.parent.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(tracking_uri=f"sqlite:///{database}")
        file = checkpoints / "mlflow_run"
        if file.exists():
            self.id = file.read_text(encoding="utf-8")
            return
        default_experiment = "0"
        self.id = self.client.create_run(default_experiment, run_name=name).info.run_id
        for key, value in parameters.items():
            self.client.log_param(self.id, key, value)
        write_text(file, self.id)

    def log(self, scores: Mapping[str, float], step: int) -> None:
        """Log the scores of a step. Training goes on if that fails."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in scores.items()]
        try:
            self.client.log_batch(self.id, metrics)
        except MlflowException as error:
            log.warning("training.mlflow: step %d is not logged: %s", step, error)

    def finish(self) -> None:
        """Mark the run as finished."""
        self.client.set_terminated(self.id)
