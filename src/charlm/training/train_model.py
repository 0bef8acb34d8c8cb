"""Rule `train_model`: train a model on an encoded corpus."""

import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import torch

from charlm.checksums import checksum_of, write_json
from charlm.code_digest import code_digest
from charlm.errors import CharlmError
from charlm.files import write_text
from charlm.model.devices import choose_device, choose_precision, widest_float
from charlm.model.store import read_description, save_model
from charlm.recurrent import Precision
from charlm.settings import Architecture, TrainingSettings
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.automatic import automatic_architecture, automatic_training
from charlm.training.averaging import WeightAverage
from charlm.training.checkpoint import Checkpoints, fingerprint_of
from charlm.training.gating import split_gate_text
from charlm.training.history import LiveCurve, as_csv
from charlm.training.job import TrainingJob
from charlm.training.launch import launch
from charlm.training.learning_samples import LearningSamples
from charlm.training.memory import estimate_memory, log_memory_estimate
from charlm.training.mlflow_run import MlflowRun
from charlm.training.networks import initial_network, load_teacher
from charlm.training.optimization import Optimizer
from charlm.training.processes import Processes
from charlm.training.schedule import Schedule
from charlm.training.settings import decisive_settings
from charlm.training.state import TrainingState
from charlm.training.streams import Streams
from charlm.training.timing import Timing
from charlm.training.trainer import Trainer

log = logging.getLogger(__name__)


def train_model(
    vocabulary: str | Path,
    tokens: str | Path,
    folder: str | Path,
    checkpoints: str | Path,
    *,
    architecture: Architecture,
    training: TrainingSettings,
    mixed: bool = False,
    dependency_folders: Mapping[str, str] | None = None,
    code: str | None = None,
) -> None:
    """Train a network; write its model, `history.csv`, `learning_samples.json` and `timing.json`.

    A training that was stopped continues from its last checkpoint and writes the same bytes.

    Args:
        vocabulary: The file `vocabulary.json`.
        tokens: The folder of the encoded splits.
        folder: The folder to write.
        checkpoints: The folder of checkpoints and the live curve, deleted at the end.
        architecture: The architecture of the model; its `mixture` has no effect here.
        training: How to train it.
        mixed: Whether the model is to be mixed with experts; a part of the training text may then
            be kept for their gate, see `charlm.training.gating.split_gate_text`.
        dependency_folders: Where the models of `init_from` and `teacher` are, by these keys, if not
            in the folders that `training` names and `model.json` records.
        code: A digest of the code that trains; a checkpoint of other code is not used. None for
            this module and all modules that it imports.

    Raises:
        CharlmError: The text is too short, the device is missing, memory does not suffice, or the
            loss is not finite.
        SystemExit: A signal stopped the training; a checkpoint is saved.
    """
    job = TrainingJob(
        vocabulary=Path(vocabulary),
        tokens=Path(tokens),
        folder=Path(folder),
        checkpoints=Path(checkpoints),
        architecture=architecture,
        training=training,
        mixed=mixed,
        dependency_folders=dependency_folders or {},
        code=code,
    )
    if training.processes > 1:
        launch(job, os.environ)
    else:
        run_job(job)


def run_job(job: TrainingJob) -> None:
    """Train a model in this process, which may be one of several; see `train_model`."""
    training = job.located_settings()
    device = choose_device(training.device, "training.device")
    precision = choose_precision(training.precision, device)
    vocabulary = Vocabulary.load(job.vocabulary)
    text = TokenSplit.load(job.tokens, "train", vocabulary)
    if job.mixed:
        text = text.tail(len(split_gate_text(job.tokens, vocabulary).counted))
    validation_text = TokenSplit.load(job.tokens, "validation", vocabulary)
    origin = read_description(training.init_from).architecture if training.init_from else None
    job = replace(
        job,
        architecture=automatic_architecture(job.architecture, len(text.tokens), origin),
        training=automatic_training(job.training, len(text.tokens), len(validation_text.tokens)),
    )
    training = job.located_settings()
    trainer = make_trainer(
        vocabulary,
        text,
        validation_text,
        architecture=job.architecture,
        training=training,
        device=device,
        precision=precision,
    )
    fingerprint = _fingerprint(job, device, precision)
    checkpoints = Checkpoints(job.checkpoints, fingerprint, trainer.schedule.validate_every)
    if snapshot := checkpoints.load():
        trainer.state.restore(snapshot, trainer.processes)
        log.warning("resumed from step %d", trainer.state.step)
    run = _mlflow_run(job) if trainer.processes.rank == 0 else None
    trainer.run(checkpoints, LiveCurve(job.checkpoints, run))
    if run:
        run.finish()
    if trainer.processes.rank == 0:
        _write_results(job, trainer, precision)
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        with suppress(OSError):  # other models may still be training
            job.checkpoints.parent.rmdir()


def _mlflow_run(job: TrainingJob) -> MlflowRun | None:
    """Return the run of MLflow that shows this training, if the settings ask for one."""
    if not job.training.mlflow:
        return None
    parameters = asdict(job.architecture) | decisive_settings(job.training)
    *_, corpus, _, model = job.checkpoints.absolute().parts
    return MlflowRun(job.training.mlflow, job.checkpoints, f"{corpus}/{model}", parameters)


def make_trainer(
    vocabulary: Vocabulary,
    text: TokenSplit,
    validation_text: TokenSplit,
    *,
    architecture: Architecture,
    training: TrainingSettings,
    device: torch.device,
    precision: Precision,
) -> Trainer:
    """Return the trainer of a new model, before its first step.

    Raises:
        CharlmError: A text is too short, memory does not suffice, or a model to start or to learn
            from cannot be used.
    """
    processes = Processes()
    assert training.batch_size != "auto"
    assert training.sequence_length != "auto"
    streams = Streams(
        text.tokens,
        batch_size=training.batch_size,
        sequence_length=training.sequence_length,
        seed=training.seed,
    )
    if streams.batch_size % processes.count:
        raise CharlmError(
            f"training.processes: {streams.batch_size} streams cannot be shared evenly among "
            f"{processes.count} processes; choose another batch_size"
        )
    schedule = Schedule.of(training, streams.steps_per_epoch)
    schedule.log_updates(streams.steps_per_epoch)
    if len(validation_text.tokens) < 2 and (training.keep == "best" or training.patience):
        raise CharlmError(
            "training: 'keep: best' and 'patience' need validation text; "
            "raise splits.validation or leave them out"
        )
    model = initial_network(vocabulary, architecture, training, device=device, precision=precision)
    teacher = load_teacher(vocabulary, training, device=device, precision=precision)
    needed_memory = estimate_memory(
        model, teacher.network if teacher else None, training, streams.window_size
    )
    log_memory_estimate(needed_memory, device)
    average = None if training.average is None else WeightAverage(model, training.average)
    return Trainer(
        settings=training,
        vocabulary=vocabulary,
        text=text,
        validation_text=validation_text,
        streams=streams,
        schedule=schedule,
        processes=processes,
        state=TrainingState(
            model=model,
            optimizer=Optimizer(training.optimizer, model, training.weight_decay),
            average=average,
            teacher=teacher,
            loss_sum=torch.zeros(2, dtype=widest_float(device), device=device),
        ),
        needed_memory=needed_memory,
    )


def _fingerprint(job: TrainingJob, device: torch.device, precision: Precision) -> dict[str, str]:
    """Return the digests of everything that determines the result."""
    training = job.located_settings()
    settings = asdict(job.architecture) | decisive_settings(training) | {"mixed": job.mixed}
    del settings["validate_every"]  # it determines the learning curve alone; see `Checkpoints`
    settings |= {
        "code": code_digest(__file__) if job.code is None else job.code,
        "device": device.type,
        "precision": precision,
        "PyTorch": torch.__version__,
    }
    files = {"vocabulary.json": job.vocabulary}
    splits = ("train", "validation", *["test"] * job.mixed)
    for split, ending in product(splits, ("npy", "documents.parquet")):
        files[f"{split}.{ending}"] = job.tokens / f"{split}.{ending}"
    for key, folder in (("init_from", training.init_from), ("teacher", training.teacher)):
        if folder:
            files[f"weights of {key}"] = Path(folder) / "model.safetensors"
    return fingerprint_of(settings, files)


def _write_results(job: TrainingJob, trainer: Trainer, precision: Precision) -> None:
    """Write the files of a training that has ended."""
    state, seconds = trainer.state, trainer.state.seconds
    curve = as_csv(state.history)
    timing: Timing = {
        "seconds": round(seconds, 3),
        "characters_per_second": round(trainer.characters / seconds),
        "threads": torch.get_num_threads() * job.training.processes,
        "history.csv": checksum_of(curve.encode()),
    }
    state.use_final_weights()
    write_text(job.folder / "history.csv", curve)
    samples: LearningSamples = {"samples": state.learning_samples}
    write_json(job.folder / "learning_samples.json", samples, ascii=False)
    write_json(job.folder / "timing.json", timing)
    save_model(
        job.folder,
        state.model,
        vocabulary=trainer.vocabulary,
        architecture=job.architecture,
        training={
            **decisive_settings(job.training),
            "validate_every": trainer.schedule.validate_every,
            "steps": state.step,
            "device": trainer.device.type,
            "precision": precision,
            "engine": state.model.members[0].recurrent.picked_engine,
        },
    )
