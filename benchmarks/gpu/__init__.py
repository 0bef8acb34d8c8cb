"""Measure everything on a GPU in under eight minutes, and write one Markdown file.

It runs the tests that need a GPU, checks that trainings repeat bit by bit, and times layers, whole
training steps and sampling. Each part has a time limit, and the file names what was left out. Only
torch, Triton, pandas, pyarrow and pytest are needed.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Part:
    """A part of the measurement, run in a process of its own."""

    title: str
    seconds: int  # the limit


PARTS = {
    "tests": Part("Tests on the GPU", 130),
    "bits": Part("The same bytes on every run", 70),
    "steps": Part("Whole training steps", 90),
    "layers": Part("Two layers, 256 steps, forward and backward", 110),
    "sampling": Part("One step of sampling", 40),
}


def run_part(name: str) -> None:
    """Run a part in this process; it prints Markdown."""
    # Import only what the part needs.
    if name == "tests":
        command = [
            *("-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider"),
            *("-p", "benchmarks.gpu.stand_ins", "-k", "gpu_"),
            *("tests/training/test_cuda_graph.py", "tests/recurrent/test_gpu.py"),
        ]
        print("```", flush=True)
        status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode
        print("```")
        sys.exit(status)
    if name == "bits":
        from benchmarks.gpu.bits import check

        check()
    elif name == "steps":
        from benchmarks.gpu.steps import measure

        measure()
    else:
        from benchmarks.gpu.layers import grid, sampling

        torch.manual_seed(0)
        with torch.device("cuda"):
            grid(0.7 * PARTS["layers"].seconds) if name == "layers" else sampling()


def section(name: str, part: Part, run: Callable[..., tuple[str, str]]) -> str:
    """Run a part within its limit, and return its section of the file."""
    start = time.monotonic()
    printed, failure = run(name, part.seconds)
    return (
        f"## {part.title}\n\n{printed.strip()}\n\n{failure}"
        f"({time.monotonic() - start:.0f} s of at most {part.seconds} s)\n"
    )


def in_process(name: str, seconds: int) -> tuple[str, str]:
    """Run a part in a process; return what it printed, and what went wrong."""
    command = [sys.executable, "-m", "benchmarks", "gpu", "--only", name]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    try:
        printed, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_group(process)
        printed, _ = process.communicate()
        return printed, "**Left out: what did not fit into the time limit.**\n\n"
    if process.returncode:
        last = "\n".join(errors.strip().splitlines()[-3:])
        return printed, f"**Failed with status {process.returncode}.**\n\n```\n{last}\n```\n\n"
    return printed, ""


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process and those that it started."""
    os.killpg(process.pid, signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--into", type=Path, default=Path("gpu.md"), help="the file to write")
    parser.add_argument("--only", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("skipped: no CUDA GPU")
        return
    if options.only:
        run_part(options.only)
        return
    text = f"# {torch.cuda.get_device_name()}, torch {torch.__version__}\n"
    for name, part in PARTS.items():
        if name in options.part:
            text += "\n" + section(name, part, in_process)
        else:
            text += f"\n## {part.title}\n\nNot asked for.\n"
        options.into.write_text(text, encoding="utf-8")
        print(f"{options.into}: {part.title}", flush=True)
