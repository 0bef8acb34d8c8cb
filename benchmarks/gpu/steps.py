"""Time whole training steps of presets, and the share of the time in which the GPU is idle."""

import time
from pathlib import Path

import torch

import benchmarks.gpu.stand_ins  # noqa: F401 (before what needs safetensors)
from benchmarks.training import gpu_idle_share, read_presets, trainer
from charlm.training.trainer import Trainer

PRESETS = Path(__file__).with_name("presets.json")
STEPS = 120


def seconds_per_step(training: Trainer) -> float:
    """Return the seconds of a step after a warm-up, which includes the capture of the graph."""
    for _ in range(10):
        training.advance()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        training.advance()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / STEPS


def measure() -> None:
    """Print a row for each preset and engine."""
    print("| preset | engine | one CUDA graph | ms | million characters/s | GPU idle |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (architecture, settings) in read_presets(PRESETS).items():
        for engine in ("auto", "torch"):
            training = trainer(torch.device("cuda"), architecture, settings, engine=engine)
            seconds = seconds_per_step(training)
            idle = gpu_idle_share(training, STEPS)
            picked = training.state.model.members[0].recurrent.picked_engine
            replayed = training.graphed is not None and training.graphed.is_replayed
            print(
                f"| {name} | {engine} ({picked}) | {'yes' if replayed else 'no'} "
                f"| {1e3 * seconds:.2f} | {training.streams.window_size / seconds / 1e6:.2f} "
                f"| {idle:.0%} |",
                flush=True,
            )
            del training
            torch.cuda.empty_cache()
