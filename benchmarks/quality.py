"""How well, and how soon, models of Shakespeare predict: ours, a 5-gram and nanoGPT, in turn.

`make bench NANOGPT=PATH`, or `NANOGPT=PATH python -m benchmarks.quality [quick best10 best45 …]`,
with PATH the folder of a checkout of nanoGPT in which `data/shakespeare_char/prepare.py` has run:
its `input.txt` is the text of all. Its own figure is the one that it prints, a mean over random
windows; ours are full passes in order over the same last tenth of the text.
"""

import json
import os
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
"""What nanoGPT's README gives for a computer without a GPU; with one, its defaults stand."""


def nanogpt(checkout: Path) -> tuple[float, float]:
    """Train nanoGPT as its README says; return nats per character, as it prints them, and seconds.

    Its checkpoint is saved anew at each evaluation, in the checkout's folder `out-…`.
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


def ours(model: str, text: Path, folder: Path) -> tuple[float, float]:
    """Train one of the preset's models by the workflow; return nats per character and seconds.

    The seconds are those of the whole job, start-up and validations among them.
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
    benchmark = (folder / f"logs/shakespeare/train/{model}.benchmark.tsv").read_text()
    return record["validation"]["nats_per_character"], float(benchmark.split("\n")[1].split()[0])


def main(models: Sequence[str] = ()) -> None:
    if not os.environ.get("NANOGPT"):
        print("no NANOGPT=PATH is given, the folder of a checkout of nanoGPT: skipped")
        return
    checkout = Path(os.environ["NANOGPT"]).absolute()
    text = checkout / "data/shakespeare_char/input.txt"
    print("| model | nats per character | seconds | / nanoGPT's |")
    print("| --- | --- | --- | --- |")
    nats, peer = nanogpt(checkout)
    print(f"| nanoGPT | {nats:.4f} | {peer:.0f} | 1 |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in models or ("quick", "best10"):
            nats, seconds = ours(model, text, folder)
            print(f"| {model} | {nats:.4f} | {seconds:.0f} | {seconds / peer:.2f} |", flush=True)
        ngram = json.loads((folder / RESULTS / "baselines.json").read_text())["ngram"]
    print(f"| 5-gram | {ngram['validation']['nats_per_character']:.4f} | | |")


if __name__ == "__main__":
    main(sys.argv[1:])
