"""Compare the prediction quality and training time of nanoGPT, our models and the baselines.

All of them learn the Shakespeare text of nanoGPT's `data/shakespeare_char`, one after the other.
nanoGPT's score is the one that it prints, a mean over random windows. Our scores come from one
pass in order over the same last tenth of the text.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
PRESET = ROOT / "config/presets/shakespeare.yaml"
RESULTS = Path("results/shakespeare")
NANOGPT_ON_CPU = (
    *("--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=100"),
    *("--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128"),
    *("--max_iters=2000", "--lr_decay_iters=2000", "--dropout=0.0"),
)
"""The options that nanoGPT's README gives for a computer without a GPU."""


def train_nanogpt(checkout: Path) -> tuple[float, float]:
    """Train nanoGPT as its README says; return nats per character, as it prints them, and seconds.

    nanoGPT writes its checkpoints to the checkout's folder `out-…`.
    """
    flags = () if torch.cuda.is_available() else NANOGPT_ON_CPU
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "train.py", "config/train_shakespeare_char.py", *flags],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    losses = re.findall(r"val loss ([\d.]+)", done.stdout)
    return min(map(float, losses)), seconds


def train_ours(model: str, text: Path, folder: Path) -> tuple[float, float]:
    """Run the workflow for one model of the preset; return nats per character and seconds.

    The seconds are those of both jobs, training and mixing, with start-up and validation.
    """
    target = RESULTS / "models" / model / "metrics.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", "all", "--directory", folder),
            *("--snakefile", ROOT / "Snakefile", "--configfile", PRESET),
            *("--config", f"corpus={{source: {text}}}", "--", target, RESULTS / "baselines.json"),
        ],
        capture_output=True,
        check=True,
    )
    record = json.loads((folder / target).read_text())
    seconds = 0.0
    for job in ("train", "mix"):
        benchmark = (folder / f"logs/shakespeare/{job}/{model}.benchmark.tsv").read_text()
        seconds += float(benchmark.split("\n")[1].split()[0])
    return record["validation"]["nats_per_character"], seconds


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality", description=__doc__)
    parser.add_argument(
        "nanogpt",
        type=Path,
        metavar="NANOGPT",
        help="a checkout of nanoGPT in which data/shakespeare_char/prepare.py has run",
    )
    parser.add_argument(
        "models",
        nargs="*",
        default=["quick", "best10"],
        metavar="MODEL",
        help="models of config/presets/shakespeare.yaml (default: quick best10)",
    )
    options = parser.parse_args(arguments)
    checkout = options.nanogpt.absolute()
    text = checkout / "data/shakespeare_char/input.txt"
    print("| model | nats per character | seconds | / nanoGPT's |")
    print("| --- | --- | --- | --- |")
    nats, peer = train_nanogpt(checkout)
    print(f"| nanoGPT | {nats:.4f} | {peer:.0f} | 1 |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in options.models:
            nats, seconds = train_ours(model, text, folder)
            print(f"| {model} | {nats:.4f} | {seconds:.0f} | {seconds / peer:.2f} |", flush=True)
        baselines = json.loads((folder / RESULTS / "baselines.json").read_text())
    for name, baseline in baselines.items():
        print(f"| {name} | {baseline['validation']['nats_per_character']:.4f} | | |")
