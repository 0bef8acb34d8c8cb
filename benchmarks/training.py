"""Where the time of a training step goes, as the trainer itself makes it.

On a CPU: the recurrent layers' share of a step; all else is overhead to be kept small. On a GPU:
the share of the time, from its first kernel to its last, in which the device idles, while
windows are cut and losses are noted as in any training.

Run: ``python -m benchmarks.training [--device cuda] [--threads 1] [--set hidden_size=1024 …]``,
where keys are those of a model in the configuration.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from charlm.model.devices import choose_device, choose_precision
from charlm.pipeline.config import resolve
from charlm.settings import Architecture, TrainingSettings
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary
from charlm.training.train_model import make_trainer
from charlm.training.trainer import Trainer

SYMBOLS = 65
STEPS = 120
"""More than twice the 50 after which a GPU is asked for its loss."""


def split(tokens: np.ndarray) -> TokenSplit:
    """Return random text as a split of one document."""
    sizes = {"tokens": len(tokens), "characters": len(tokens), "unknown_characters": 0}
    return TokenSplit(tokens, {name: np.array([size]) for name, size in sizes.items()})


def trainer(device: torch.device, settings: dict[str, str]) -> Trainer:
    """Return a training of random text."""
    model: dict[str, Any] = {"hidden_size": 512, "sequence_length": 64, "output_dropout": 0.4}
    values = {"corpus": {"name": "a", "source": "a"}, "models": {"m": model | settings}}
    architecture = resolve(values)["models"]["m"]
    training = architecture.pop("training")
    tokens = np.random.default_rng(0).integers(SYMBOLS, size=1_000_000, dtype=np.uint8)
    return make_trainer(
        Vocabulary(
            [chr(48 + n) for n in range(SYMBOLS)],
            [1] * SYMBOLS,
            {"unknown": None, "end_of_document": None},
        ),
        split(tokens),
        split(tokens[:0]),
        architecture=Architecture.from_mapping(architecture, "--set"),
        training=(settings := TrainingSettings.from_mapping(training, "--set")),
        device=device,
        precision=choose_precision(settings.precision, device),
    )


def covered(spans: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Return how much of the time the spans cover, and the time from the first to the last."""
    ordered = sorted(spans)
    busy, end = 0.0, ordered[0][0]
    for start, stop in ordered:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return busy, end - ordered[0][0]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    training = trainer(device, dict(each.split("=", 1) for each in options.set))
    on_gpu = device.type == "cuda"
    steps = STEPS if on_gpu else 10
    for _ in range(steps // 4):
        training.advance()
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    if on_gpu:
        torch.cuda.synchronize()
    with profile(activities=activities) as record:
        start = clock()
        for _ in range(steps):
            training.advance()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = (clock() - start) / steps
    print(f"{1e3 * seconds:.1f} ms a step of {training.streams.window_size} characters")
    events = record.events()
    if on_gpu:
        kernels = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
        busy, whole = covered((e.time_range.start, e.time_range.end) for e in kernels)
        print(f"the device idles {100 * (1 - busy / whole):.1f} % of the time")
    else:
        layers = sum(e.cpu_time_total for e in events if e.name in ("_Layer", "_LayerBackward"))
        steps_time = sum(e.self_cpu_time_total for e in events)
        print(f"{100 * layers / steps_time:.1f} % of it in the fused recurrent layers")


if __name__ == "__main__":
    main(sys.argv[1:])
