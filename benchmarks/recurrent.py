"""Speed and memory of `charlm.recurrent` against torch's layers, as ratios.

Peers are timed in turn in one run, after a warm-up, and medians are compared; a ratio above 1 means
that ours is faster. Run: ``python benchmarks/recurrent.py [--full] [--part PART]``. On a machine
that is busy with other things, ``--threads 1`` compares the processor time of one thread instead of
the time on the wall.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from charlm.recurrent import GRU, LSTM

PEERS: dict[type[nn.Module], type[nn.Module]] = {LSTM: nn.LSTM, GRU: nn.GRU}
CELLS = {LSTM: nn.LSTMCell, GRU: nn.GRUCell}
SHAPES = [(128, 32, 64), (128, 128, 64), (256, 64, 128), (512, 64, 128), (512, 128, 64)]
SHAPES += [(1024, 32, 64), (1024, 64, 64)]
FULL = [(h, b, t) for h in (128, 256, 512, 1024) for b in (32, 64, 128) for t in (64, 128)]
FEATURES, SYMBOLS = 64, 96


def medians(runs: dict[str, Callable[[], object]], seconds: float = 6.0) -> dict[str, float]:
    """Median seconds of each function, all called in turn for about `seconds`, 5 times or more."""
    for run in runs.values():
        run()
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(next(iter(times.values()))) < 5:
        for name, run in runs.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def autocast(run: Callable[[], object]) -> Callable[[], object]:
    def inside() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            run()

    return inside


def forward_backward(layer: nn.Module, steps: int, batch: int) -> Callable[[], object]:
    inputs = torch.randn(steps, batch, FEATURES, requires_grad=True)
    gradient = torch.randn(steps, batch, layer.hidden_size)

    def run() -> None:
        layer.zero_grad()
        inputs.grad = None
        outputs, _ = layer(inputs)
        outputs.backward(gradient.to(outputs.dtype))

    return run


def training_step(layer: nn.Module, steps: int, batch: int) -> Callable[[], object]:
    """Embedding, layer, softmax over the symbols, clipping and AdamW."""
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
        functional.cross_entropy(logits.flatten(0, 1), symbols[1:].flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


def product_rates() -> dict[torch.dtype, float]:
    """Operations a second of the fastest large matrix product: our own, or torch's."""
    from charlm.recurrent import cpu

    rates = {}
    for kind in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2048, 2048).to(kind), torch.randn(2048, 1024).to(kind)
        runs: dict[str, Callable[[], object]] = {"torch": lambda a=a, b=b: a @ b}
        if cpu.usable(torch.float32):
            runs["ours"] = lambda a=a, b=b: cpu._product(a, b)
        rates[kind] = 2 * 2048 * 2048 * 1024 / min(medians(runs, 2).values())
    return rates


def training(make: Callable[..., Callable[[], object]], shapes: list[tuple[int, int, int]]) -> None:
    rates = product_rates()
    print("product rate, GFLOP/s:", {str(k): round(r / 1e9) for k, r in rates.items()})
    print(
        "| cell | hidden | batch | length | fp32 / torch fp32 | bf16 / torch fp32 "
        "| bf16 / torch autocast | share of bound, fp32 | bf16 |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for ours, theirs in PEERS.items():
        for hidden, batch, steps in shapes:
            peer = theirs(FEATURES, hidden)
            runs = {
                "torch": make(peer, steps, batch),
                "torch autocast": autocast(make(peer, steps, batch)),
                "fp32": make(ours(FEATURES, hidden, engine="fused"), steps, batch),
                "bf16": make(
                    ours(FEATURES, hidden, engine="fused", precision="bfloat16"), steps, batch
                ),
            }
            found = medians(runs)
            weights = peer.weight_ih_l0.numel() + peer.weight_hh_l0.numel()
            work = 3 * 2 * steps * batch * weights
            print(
                f"| {theirs.__name__} | {hidden} | {batch} | {steps} "
                f"| {found['torch'] / found['fp32']:.2f} | {found['torch'] / found['bf16']:.2f} "
                f"| {found['torch autocast'] / found['bf16']:.2f} "
                f"| {work / rates[torch.float32] / found['fp32']:.0%} "
                f"| {work / rates[torch.bfloat16] / found['bf16']:.0%} |",
                flush=True,
            )


@torch.no_grad()
def sampling() -> None:
    print("| cell | layers | hidden | batch | fp32 / torch cells | bf16 / torch cells |")
    print("|---|---|---|---|---|---|")
    for ours, theirs in CELLS.items():
        for layers, hidden, batch in (
            (layers, hidden, batch)
            for layers in (1, 2)
            for hidden in (128, 512, 1024)
            for batch in (1, 64)
        ):
            embedding = torch.randn(SYMBOLS, FEATURES)
            symbols = torch.randint(SYMBOLS, (100, batch))
            cells = [theirs(FEATURES if n == 0 else hidden, hidden) for n in range(layers)]
            state = [torch.zeros(batch, hidden)] * layers
            memory = [torch.zeros(batch, hidden)] * layers

            def loop(
                cells: list[nn.Module] = cells,
                state: list[Tensor] = state,
                memory: list[Tensor] = memory,
                symbols: Tensor = symbols,
                embedding: Tensor = embedding,
            ) -> None:
                for step in symbols:
                    x = functional.embedding(step, embedding)
                    for n, cell in enumerate(cells):
                        if isinstance(cell, nn.LSTMCell):
                            state[n], memory[n] = cell(x, (state[n], memory[n]))
                        else:
                            state[n] = cell(x, state[n])
                        x = state[n]

            runs: dict[str, Callable[[], object]] = {"torch": loop}
            for precision in ("float32", "bfloat16"):
                layer = ours(FEATURES, hidden, layers, engine="fused", precision=precision)
                stepper = layer.stepper(batch, embedding)
                runs[precision] = lambda stepper=stepper, symbols=symbols: [
                    stepper(step) for step in symbols
                ]
            found = medians(runs, 3)
            print(
                f"| {theirs.__name__} | {layers} | {hidden} | {batch} "
                f"| {found['torch'] / found['float32']:.2f} "
                f"| {found['torch'] / found['bfloat16']:.2f} |",
                flush=True,
            )


def memory() -> None:
    """Growth of a process's peak memory over one forward and backward pass."""
    print("| layer | hidden | batch | length | MB |")
    print("|---|---|---|---|---|")
    for name in (
        "nn.LSTM",
        "LSTM float32",
        "LSTM bfloat16",
        "nn.GRU",
        "GRU float32",
        "GRU bfloat16",
    ):
        done = subprocess.run(
            [sys.executable, __file__, "--measure", name],
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"| {name} | 512 | 128 | 256 | {done.stdout.strip()} |", flush=True)


def measure(name: str) -> None:
    hidden, batch, steps = 512, 128, 256
    if name.startswith("nn."):
        layer: nn.Module = getattr(nn, name.removeprefix("nn."))(FEATURES, hidden)
    else:
        cell, precision = name.split()
        layer = {"LSTM": LSTM, "GRU": GRU}[cell](
            FEATURES, hidden, engine="fused", precision=precision
        )
    forward_backward(layer, 2, 8)()  # compile, start threads
    run = forward_backward(layer, steps, batch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the whole grid of shapes")
    parser.add_argument("--threads", type=int, help="as torch has it, by default")
    parser.add_argument("--part", choices=["layer", "step", "sampling", "memory"])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.measure:
        measure(options.measure)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    shapes = FULL if options.full else SHAPES
    parts: dict[str, tuple[str, Callable[[], None]]] = {
        "layer": ("forward + backward of one layer", lambda: training(forward_backward, shapes)),
        "step": ("a whole training step", lambda: training(training_step, shapes)),
        "sampling": ("one step of sampling", sampling),
        "memory": ("peak memory of forward + backward", memory),
    }
    for name, (title, run) in parts.items():
        if options.part in (None, name):
            print(f"\n## {title}\n")
            run()


if __name__ == "__main__":
    main()
