"""Measure speed and memory of `charlm.recurrent` against torch's layers.

Print Markdown tables of ratios of median times; above 1, ours is faster. Peers are timed in turn
after a warm-up.

After each ratio stands its bound, and the share of the bound that was reached. The bound is what
the ratio would be if ours took only as long as its matrix products, at the rate of a large product
timed in the same turns; a sampling step must read the weights as well. A star marks a ratio below
the goal.

`--full` takes eleven minutes on two idle cores. `--threads 1` compares the processor time of one
thread instead of elapsed time, which suits a busy machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.pipeline.machine import processor
from charlm.recurrent import GRU, LSTM, Precision

Run = Callable[[], object]
Row = tuple[object, ...]

Layer = LSTM | GRU | nn.LSTM | nn.GRU

ROOT = Path(__file__).parent.parent
OURS: dict[str, type[LSTM] | type[GRU]] = {"LSTM": LSTM, "GRU": GRU}
PEERS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"LSTM": nn.LSTM, "GRU": nn.GRU}
CELLS: dict[str, type[nn.LSTMCell] | type[nn.GRUCell]] = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell}
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
# Goals: our float32 / torch's float32, our bfloat16 / that, our bfloat16 / torch under autocast.
GOALS = {"LSTM": (1.0, 2.0, 1.2), "GRU": (1.5, 2.5, 1.3), "one step": (3.0, 3.0)}
SHAPES = [(128, 32, 64), (256, 64, 128), (512, 64, 128), (1024, 32, 64)]
FULL = [(h, b, t) for h in (128, 256, 512, 1024) for b in (32, 64, 128) for t in (64, 128)]
STEPS = [(n, h, b) for n in (1, 2) for h in (128, 512) for b in (1, 64)]
FULL_STEPS = [(n, h, b) for n in (1, 2) for h in (128, 256, 512, 1024) for b in (1, 64)]
FEATURES, SYMBOLS = 64, 96


def medians(runs: dict[str, Run], seconds: float = 1.5, rounds: int = 3) -> dict[str, float]:
    """Return the median seconds of each function.

    They are called in turn for `seconds`, and for at least `rounds` rounds.
    """
    for run in runs.values():
        run()
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(next(iter(times.values()))) < rounds:
        for name, run in runs.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def autocast(run: Run) -> Run:
    def inside() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            run()

    return inside


def forward_backward(layer: Layer, steps: int, batch: int) -> Run:
    inputs = torch.randn(steps, batch, FEATURES, requires_grad=True)
    gradient = torch.randn(steps, batch, layer.hidden_size)

    def run() -> None:
        layer.zero_grad()
        inputs.grad = None
        outputs, _ = layer(inputs)
        outputs.backward(gradient.to(outputs.dtype))

    return run


def training_step(layer: Layer, steps: int, batch: int) -> Run:
    """Return a step: embedding, layer, softmax over the symbols, clipping and AdamW."""
    embedding = nn.Embedding(SYMBOLS, FEATURES)
    head = nn.Linear(layer.hidden_size, SYMBOLS)
    model = nn.ModuleList([embedding, layer, head])
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    symbols = torch.randint(SYMBOLS, (steps + 1, batch))

    def run() -> None:
        optimizer.zero_grad()
        if isinstance(layer, LSTM | GRU):
            outputs, _ = layer.forward_indices(symbols[:-1], embedding.weight)
        else:
            outputs, _ = layer(embedding(symbols[:-1]))
        logits = head(outputs).float()
        loss = functional.cross_entropy(logits.flatten(0, 1), symbols[1:].flatten())
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


PRODUCT = 2 * 1024**3  # operations


def products() -> dict[str, Run]:
    """Return large matrix products in both precisions, torch's and ours."""
    from charlm.recurrent.cpu.launch import can_run_kernels, matrix_product, target

    runs: dict[str, Run] = {}
    # Where the processor has no product in bfloat16, the engine multiplies in float32.
    half = torch.bfloat16 if target and target.FAST_BFLOAT16 else torch.float32
    for name, kind in ((torch.float32, torch.float32), (torch.bfloat16, half)):
        a, b = torch.randn(1024, 1024).to(kind), torch.randn(1024, 1024).to(kind)
        runs[f"{name} torch"] = partial(torch.mm, a, b)
        if can_run_kernels(torch.float32):
            runs[f"{name} ours"] = partial(matrix_product, a, b)
    return runs


def product_rates(found: dict[str, float]) -> list[float]:
    """Return the operations per second of the timed products, in float32 and bfloat16."""
    return [
        PRODUCT / min(t for name, t in found.items() if name.startswith(f"torch.{kind} "))
        for kind in ("float32", "bfloat16")
    ]


def versus(peer: float, ours: float, bound: float, goal: float | None) -> str:
    """Format the ratio of two times, its bound and the share of the bound that was reached."""
    star = "*" if goal and round(peer / ours, 2) < goal else ""
    return f"{peer / ours:.2f}{star} of {peer / bound:.2f}, {bound / ours:.0%}"


def training(make: Callable[[Layer, int, int], Run], cell: str, *shape: int) -> Row:
    hidden, batch, steps = shape
    ours = OURS[cell]
    peer = PEERS[cell](FEATURES, hidden)
    single = ours(FEATURES, hidden, engine="fused")
    half = ours(FEATURES, hidden, engine="fused", precision="bfloat16")
    runs = {
        "torch": make(peer, steps, batch),
        "float32": make(single, steps, batch),
        "bfloat16": make(half, steps, batch),
    }
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():  # else torch has no LSTM in bfloat16
        runs["torch autocast"] = autocast(make(peer, steps, batch))
    found = medians({**runs, **products()})
    # Each weight takes part in three products: forward, backward and for its gradient. A whole
    # training step looks up the input's rows instead, and has the softmax's product.
    sizes = {name: weight.numel() for name, weight in peer.named_parameters()}
    weights = sizes["weight_hh_l0"]
    weights += hidden * SYMBOLS if make is training_step else sizes["weight_ih_l0"]
    rates = product_rates(found)
    bounds = [6 * steps * batch * weights / rate for rate in rates]
    goals = GOALS[cell]
    return (
        cell,
        *shape,
        versus(found["torch"], found["float32"], bounds[0], goals[0]),
        versus(found["torch"], found["bfloat16"], bounds[1], goals[1]),
        versus(found["torch autocast"], found["bfloat16"], bounds[1], goals[2])
        if "torch autocast" in found
        else "–",
        *(f"{rate / 1e9:.0f}" for rate in rates),
    )


def call_each(stepper: Callable[[Tensor], object], symbols: Tensor) -> None:
    for step in symbols:
        stepper(step)


def read(numbers: Tensor, times: int) -> None:
    for _ in range(times):
        torch.dot(numbers, numbers)


@torch.no_grad()
def sampling(cell: str, *shape: int) -> Row:
    layers, hidden, batch = shape
    ours = OURS[cell]
    embedding = torch.randn(SYMBOLS, FEATURES)
    symbols = torch.randint(SYMBOLS, (50, batch))
    cells = [CELLS[cell](FEATURES if n == 0 else hidden, hidden) for n in range(layers)]
    state = [torch.zeros(batch, hidden)] * layers
    memory = [torch.zeros(batch, hidden)] * layers

    def loop() -> None:
        for step in symbols:
            x: Tensor = functional.embedding(step, embedding)
            for n, torch_cell in enumerate(cells):
                if cell == "LSTM":
                    state[n], memory[n] = torch_cell(x, (state[n], memory[n]))
                else:
                    state[n] = torch_cell(x, state[n])
                x = state[n]

    runs: dict[str, Run] = {"torch": loop, **products()}
    weights = [p for torch_cell in cells for p in torch_cell.parameters()]
    count = sum(p.numel() for p in weights) - cells[0].weight_ih.numel()  # rows of the table
    for precision in PRECISIONS:
        layer = ours(FEATURES, hidden, layers, engine="fused", precision=precision)
        stepper = layer.stepper(batch, embedding)
        numbers = torch.ones(count, dtype=getattr(torch, precision)).view(torch.float32)
        runs[precision] = partial(call_each, stepper, symbols)
        runs[f"read {precision}"] = partial(read, numbers, len(symbols))
    found = medians(runs, 1)
    bounds = [
        max(len(symbols) * 2 * batch * count / rate, found[f"read {precision}"])
        for precision, rate in zip(PRECISIONS, product_rates(found), strict=True)
    ]
    return (
        f"{cell}Cell",
        *shape,
        *(
            versus(found["torch"], found[precision], bound, goal)
            for precision, bound, goal in zip(PRECISIONS, bounds, GOALS["one step"], strict=True)
        ),
    )


def memory(name: str) -> Row:
    """Return the rise of a fresh process's peak memory in a forward and backward pass."""
    command = [sys.executable, "-m", "benchmarks", "recurrent", "--measure", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return name, 512, 128, 256, done.stdout.strip()


def measure(name: str) -> None:
    hidden, batch, steps = 512, 128, 256
    if name.startswith("nn."):
        layer: Layer = PEERS[name.removeprefix("nn.")](FEATURES, hidden)
    else:
        cell, precision = name.split()
        layer = OURS[cell](FEATURES, hidden, engine="fused", precision=cast(Precision, precision))
    forward_backward(layer, 2, 8)()  # compile, start threads
    run = forward_backward(layer, steps, batch)
    before = peak_memory()
    run()
    print((peak_memory() - before) // 1024)


def peak_memory() -> int:
    """Return this process's peak memory in KiB; getrusage would include its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


TRAINING = (
    "cell | hidden | batch | length | fp32 / torch fp32 | bf16 / torch fp32 "
    "| bf16 / torch autocast | GFLOP/s of a product, fp32 | bf16"
)
STEP = "cell | layers | hidden | batch | fp32 / torch cells | bf16 / torch cells"
LAYERS = ("nn.LSTM", "LSTM float32", "LSTM bfloat16", "nn.GRU", "GRU float32", "GRU bfloat16")


def tables(
    full: bool,
) -> dict[str, tuple[str, str, Callable[..., Row], Sequence[tuple[str | int, ...]]]]:
    """Return the table of each part: title, columns, function of a row, arguments of each row."""
    shapes = [(cell, *shape) for cell in ("LSTM", "GRU") for shape in (FULL if full else SHAPES)]
    steps = [(cell, *s) for cell in ("LSTM", "GRU") for s in (FULL_STEPS if full else STEPS)]
    return {
        "layer": (
            "Forward + backward of one layer", TRAINING,
            partial(training, forward_backward), shapes,
        ),
        "step": ("A whole training step", TRAINING, partial(training, training_step), shapes),
        "sampling": ("One step of sampling", STEP, sampling, steps),
        "memory": (
            "Peak memory of forward + backward", "layer | hidden | batch | length | MB",
            memory, [(name,) for name in LAYERS],
        ),
    }  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks recurrent", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the whole grid of shapes")
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument("--part", nargs="+", choices=tables(full=False))
    parser.add_argument(
        "--into", type=Path, help="keep rows in this file; known rows are not measured again"
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.measure:
        measure(options.measure)
        return
    threads = torch.get_num_threads()
    print(
        f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, {threads} threads, "
        f"torch {torch.__version__}"
    )
    known: dict[str, Row] = {}
    if options.into and options.into.exists():
        known = dict(map(json.loads, options.into.read_text().splitlines()))
    for part, (title, columns, make, shapes) in tables(options.full).items():
        if part not in (options.part or [part]):
            continue
        print(f"\n## {title}\n\n| {columns} |\n|{'---|' * (columns.count('|') + 1)}")
        for shape in shapes:
            name = f"{part} {threads} {shape}"
            row = known.get(name) or make(*shape)
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
            if options.into and name not in known:
                with options.into.open("a") as file:
                    file.write(json.dumps([name, row]) + "\n")
