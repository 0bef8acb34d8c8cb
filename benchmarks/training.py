"""Show where the time of a training step goes, in the trainer itself.

On a CPU, print the share of the recurrent layers in a step; the rest is overhead. On a GPU, print
the share of the time between the first and the last kernel during which the GPU is idle.
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import DeviceType, ProfilerActivity, profile

from charlm.model.devices import choose_device, choose_precision
from charlm.settings import Architecture, EngineName, TrainingSettings
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.automatic import automatic_architecture, automatic_training
from charlm.training.train_model import make_trainer
from charlm.training.trainer import Trainer

SYMBOLS = 65
STEPS = 120
"""More than twice the 50 steps after which the trainer reads the loss from a GPU."""


def split(tokens: NDArray[np.uint8]) -> TokenSplit:
    """Return random text as a split of one document."""
    sizes = {"tokens": len(tokens), "characters": len(tokens), "unknown_characters": 0}
    return TokenSplit(tokens, {name: np.array([size]) for name, size in sizes.items()})


def read_settings(config: Path | None, model: str | None) -> tuple[Architecture, TrainingSettings]:
    """Return the settings of a model of a configuration, by default of its first model."""
    if config is None:
        return (
            Architecture(hidden_size=512, embedding_size=128, output_dropout=0.4),
            TrainingSettings(batch_size=64, sequence_length=64, learning_rate=3e-3),
        )
    models = json.loads(config.read_text(encoding="utf-8"))["models"]
    settings = models[model or next(iter(models))]
    training = settings.pop("training")
    where = str(config)
    return (
        Architecture.from_mapping(settings, where),
        TrainingSettings.from_mapping(training, where),
    )


def read_presets(file: Path) -> dict[str, tuple[Architecture, TrainingSettings]]:
    """Return the settings of the models in a file with a configuration for each name."""
    found = {}
    for name, config in json.loads(file.read_text(encoding="utf-8")).items():
        (model,) = config["models"].values()
        training = TrainingSettings.from_mapping(model.pop("training"), f"{file}: {name}")
        found[name] = Architecture.from_mapping(model, f"{file}: {name}"), training
    return found


def trainer(
    device: torch.device,
    architecture: Architecture,
    training: TrainingSettings,
    engine: EngineName | None = None,
) -> Trainer:
    """Return a trainer of random text, with another engine if one is given."""
    tokens = np.random.default_rng(0).integers(SYMBOLS, size=1_000_000, dtype=np.uint8)
    architecture = automatic_architecture(architecture, len(tokens))
    training = automatic_training(training, len(tokens), validation_symbols=0)
    training = replace(training, engine=engine or training.engine)
    return make_trainer(
        Vocabulary(
            [chr(48 + n) for n in range(SYMBOLS)],
            [1] * SYMBOLS,
            {"unknown": None, "end_of_document": None},
        ),
        split(tokens),
        split(tokens[:0]),
        architecture=architecture,
        training=training,
        device=device,
        precision=choose_precision(training.precision, device),
    )


def covered(spans: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Return the time that the spans cover, and the time from the first to the last.

    >>> covered([(0, 2), (1, 3), (5, 6)])
    (4.0, 6)
    """
    ordered = sorted(spans)
    busy, end = 0.0, ordered[0][0]
    for start, stop in ordered:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return busy, end - ordered[0][0]


def gpu_idle_share(training: Trainer, steps: int) -> float:
    """Return the share of the time in which the GPU is idle during some steps."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as record:
        for _ in range(steps):
            training.advance()
        torch.cuda.synchronize()
    events = [each for each in record.events() if each.device_type == DeviceType.CUDA]
    busy, whole = covered((each.time_range.start, each.time_range.end) for each in events)
    return 1 - busy / whole


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks training", description=__doc__)
    parser.add_argument(
        "config", nargs="?", type=Path, metavar="CONFIG", help="JSON that `charlm config` prints"
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a model of it; the first")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="number of threads; 1 measures processor time")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    training = trainer(device, *read_settings(options.config, options.model))
    on_gpu = device.type == "cuda"
    steps = STEPS if on_gpu else 10
    for _ in range(steps // 4):
        training.advance()
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    if on_gpu:
        torch.cuda.synchronize()
    with nullcontext() if on_gpu else profile(activities=[ProfilerActivity.CPU]) as record:
        start = clock()
        for _ in range(steps):
            training.advance()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = (clock() - start) / steps
    print(f"{1e3 * seconds:.1f} ms per step of {training.streams.window_size} characters")
    if record is None:
        print(f"the GPU is idle for {100 * gpu_idle_share(training, steps):.1f} % of the time")
    else:
        events = record.events()
        layers = sum(e.cpu_time_total for e in events if e.name in ("_Layer", "_LayerBackward"))
        steps_time = sum(e.self_cpu_time_total for e in events)
        print(f"the fused recurrent layers take {100 * layers / steps_time:.1f} % of it")
