"""Estimate how long the default models train on texts of several lengths.

It times some steps of each model on this machine, in processor time on one thread, and multiplies
them by the number of steps that the defaults choose. The times for more cores assume that the two
models train side by side and that twice the threads halve the time.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import torch

from benchmarks.training import trainer
from charlm.settings import Architecture, Cell, TrainingSettings
from charlm.training.automatic import automatic_architecture, automatic_training

TRAINING_SHARE = 0.9
"""The rest of the text is held out."""
STEPS = 10
"""Steps to time, after one to warm up."""


def seconds_of_training(cell: Cell, characters: int) -> float:
    """Return the estimated seconds of one thread for a training of a text of some characters."""
    symbols = round(TRAINING_SHARE * characters)
    architecture = automatic_architecture(Architecture(cell=cell), symbols)
    settings = automatic_training(TrainingSettings(sample_while_training=0), symbols, symbols // 10)
    assert settings.epochs != "auto"
    assert settings.batch_size != "auto"
    assert settings.sequence_length != "auto"
    steps = settings.epochs * symbols / (settings.batch_size * settings.sequence_length)
    # The text of the timing has no validation split.
    timed = trainer(
        torch.device("cpu"), architecture, replace(settings, keep="last", patience=None)
    )
    timed.advance()
    start = time.process_time()
    for _ in range(STEPS):
        timed.advance()
    return steps * (time.process_time() - start) / STEPS


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks duration", description=__doc__)
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 8])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| characters |", " | ".join(f"{cores} cores" for cores in options.cores), "|")
    for characters in (100_000, 1_000_000, 10_000_000, 100_000_000):
        slowest = max(seconds_of_training(cell, characters) for cell in get_args(Cell))
        minutes = (f"{slowest / 60 / (cores / 2):.1f} min" for cores in options.cores)
        print(f"| {characters:,} |", " | ".join(minutes), "|", flush=True)
