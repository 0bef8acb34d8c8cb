"""Time two layers of `charlm.recurrent` on a GPU beside other implementations.

Peers are torch's layer in bfloat16 and under autocast, two of its one-layer modules in float16 (for
which cuDNN has a persistent kernel) and, if installed (`pip install flashrnn`), FlashRNN with the
fastest of its backends.

The bound is the time of the matrix products, 48·H² operations per example, step and layer, at the
rate of a large bfloat16 product measured in the same run, plus 1 µs per step and direction, the
least time in which the programs on all multiprocessors can wait for each other.
"""

import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.recurrent import CELLS, OURS, PEERS, SYMBOLS, Run, call_each, medians
from charlm.recurrent import GRU, LSTM
from charlm.recurrent.gpu.enclosing import enclosed_in_graph
from charlm.recurrent.gpu.measured import LoopKind, card_of

LAYERS, STEPS = 2, 256
SHAPES = [
    (512, 64), (1024, 128), (256, 32), (640, 32), (1024, 64), (512, 256), (1024, 256), (512, 128),
]  # fmt: skip
"""Hidden sizes and batches, the most important ones first."""
LOOPS: tuple[LoopKind, ...] = ("resident", "replayed")
FLASHRNN = ("cuda_fused", "cuda", "triton_fused")


class Stack(nn.Module):
    """Layers one after another, in their own precision.

    Args:
        hidden_size: The width of the inputs and of each layer.
        kind: The precision of the layers.
        layers: The layers.
    """

    input_size: int
    hidden_size: int

    def __init__(self, hidden_size: int, kind: torch.dtype, *layers: nn.Module) -> None:
        super().__init__()
        self.input_size = self.hidden_size = hidden_size
        self.kind = kind
        self.layers = nn.ModuleList(layers).to(kind)

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        """Run the layers on inputs of shape (T, B, hidden_size)."""
        outputs = inputs.to(self.kind)
        for layer in self.layers:
            outputs, _ = layer(outputs)
        return outputs.float(), None


class Autocast(Stack):
    """Layers in float32 whose products are in bfloat16."""

    def __init__(self, layers: nn.LSTM | nn.GRU) -> None:
        super().__init__(layers.hidden_size, torch.float32, layers)

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        """Run the layers on inputs of shape (T, B, hidden_size)."""
        with torch.autocast("cuda", torch.bfloat16):
            return super().forward(inputs)


class FlashRNN(nn.Module):
    """A layer of FlashRNN with one head."""

    def __init__(self, cell: str, backend: str, hidden: int, batch: int) -> None:
        from flashrnn.flashrnn.flashrnn import FlashRNNConfig, flashrnn

        super().__init__()
        slots = 4 if cell == "lstm" else 3
        self.input = nn.Linear(hidden, slots * hidden, bias=False)
        self.weight = nn.Parameter(torch.randn(slots, 1, hidden, hidden) / hidden**0.5)
        self.bias = nn.Parameter(torch.zeros(4, 1, hidden))
        self.slots = slots
        self.run = flashrnn
        self.config = FlashRNNConfig(
            backend=backend, function=cell, head_dim=hidden, num_heads=1, batch_size=batch,
            input_shape="TBGHD", output_shape="STBHD", dtype="bfloat16", dtype_w="bfloat16",
            dtype_r="bfloat16", dtype_b="bfloat16",
        )  # fmt: skip

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        """Run the layer on inputs of shape (T, B, hidden)."""
        projected = self.input(inputs).unflatten(2, (self.slots, 1, -1))
        states, _ = self.run(projected, self.weight, self.bias, config=self.config)
        return states[0].flatten(2), None


Layers = LSTM | GRU | Stack


def stacks(cell: str, hidden: int, batch: int) -> dict[str, Layers]:
    """Return our layers, and those of the peers that are available."""
    ours, theirs = OURS[cell], PEERS[cell]
    found: dict[str, Layers] = {
        "ours": ours(hidden, hidden, LAYERS, engine="fused", precision="bfloat16"),
        "torch autocast": Autocast(theirs(hidden, hidden, LAYERS)),
        "torch bf16": Stack(hidden, torch.bfloat16, theirs(hidden, hidden, LAYERS)),
        "torch fp16, one by one": Stack(
            hidden, torch.float16, *(theirs(hidden, hidden) for _ in range(LAYERS))
        ),
    }
    for backend in FLASHRNN if find_spec("flashrnn") else ():
        try:
            layers = [FlashRNN(cell.lower(), backend, hidden, batch) for _ in range(LAYERS)]
            stack = Stack(hidden, torch.bfloat16, *layers)
            forward_backward(stack, batch)()
        except Exception as error:  # no compiler, or an unsupported shape
            print(f"FlashRNN {backend}: {str(error).splitlines()[:1]}", flush=True)
        else:
            found[f"FlashRNN {backend}"] = stack
    return found


def awaited(run: Run) -> Run:
    """Return `run` followed by a wait for the GPU."""

    def whole() -> None:
        run()
        torch.cuda.synchronize()

    return whole


def forward_backward(stack: Layers, batch: int) -> Run:
    inputs = torch.randn(STEPS, batch, stack.input_size, requires_grad=True)
    gradient = torch.randn(STEPS, batch, stack.hidden_size)

    def run() -> None:
        stack.zero_grad()
        inputs.grad = None
        outputs, _ = stack(inputs)
        outputs.backward(gradient)

    return run


def device_seconds(run: Run, repeats: int = 10) -> float | None:
    """Return the seconds that a function's kernels take, without the host; None if not measurable.

    The kernels are captured as one CUDA graph, and its replays are timed by events on the GPU.
    """
    with enclosed_in_graph():
        try:
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            with torch.cuda.stream(stream):
                for _ in range(3):
                    run()
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                run()
        except Exception as error:  # whatever a peer's library raises
            print(f"no device time: {str(error).splitlines()[:1]}", file=sys.stderr)
            return None
    graph.replay()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    for _ in range(repeats):
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / repeats


def bound(hidden: int, batch: int, rate: float) -> float:
    return 48 * hidden**2 * LAYERS * batch * STEPS / rate + 2 * STEPS * 1e-6


def product_rate() -> float:
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / medians({"product": awaited(lambda: a @ b)}, 2)["product"]


def milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1e3 * seconds:.2f}"


def with_loop(run: Run, loop: LoopKind) -> Run:
    """Return `run` with one of the two loops, see `charlm.recurrent.gpu.measured`."""

    def picked() -> None:
        with patch("charlm.recurrent.gpu.plan.fastest_loop", lambda card, shape: loop):
            run()

    return picked


def grid(seconds: float) -> None:
    """Print milliseconds of all layers for as many sizes as `seconds` allow, and the table rows."""
    stop = time.monotonic() + seconds
    rate = product_rate()
    names = ["resident", "replayed", "torch bf16", "torch autocast", "torch fp16, one by one"]
    print(f"{card_of(torch.device('cuda'))}; bfloat16 product: {rate / 1e12:.0f} TFLOP/s\n")
    print("Milliseconds of the kernels alone, and on the wall in brackets.\n")
    print("| cell | hidden | batch |", " | ".join(names), "| FlashRNN | bound |")
    print("| --- | --- | --- |", "--- | " * (len(names) + 2))
    rows, left_out = [], []
    for (hidden, batch), cell in product(SHAPES, OURS):
        if time.monotonic() > stop:
            left_out.append(f"{cell} {hidden} x {batch}")
            continue
        runs = {name: forward_backward(each, batch) for name, each in stacks(
            cell, hidden, batch).items()}  # fmt: skip
        ours = runs.pop("ours")
        runs = {loop: with_loop(ours, loop) for loop in LOOPS} | runs
        wall = medians({name: awaited(run) for name, run in runs.items()}, 1)
        alone = {name: device_seconds(run) for name, run in runs.items()}
        flash = [name for name in runs if name.startswith("FlashRNN")]
        best = min(flash, key=wall.__getitem__, default=None)
        found = [
            "–" if name not in wall else f"{milliseconds(alone[name])} ({milliseconds(wall[name])})"
            for name in (*names, best or "")
        ]
        limit = milliseconds(bound(hidden, batch, rate))
        print(f"| {cell} | {hidden} | {batch} |", " | ".join(found), f"| {limit} |", flush=True)
        fastest = min(LOOPS, key=lambda loop: alone[loop] or wall[loop])
        rows.append(f'Shape("{OURS[cell].cell}", {hidden}, {batch}): "{fastest}",')
    print("\nRows for `FASTEST_LOOP`:\n\n```\n" + "\n".join(rows) + "\n```")
    if left_out:
        print("\nLeft out for lack of time:", "; ".join(left_out))


def run_cells(
    cells: Sequence[nn.LSTMCell | nn.GRUCell], symbols: Tensor, table: Tensor, batch: int
) -> None:
    """Run torch's cells of equal width on symbols of shape (steps, batch), from a zero state."""
    states = [(table.new_zeros(batch, table.shape[1]),) * 2 for _ in cells]
    for step in symbols:
        outputs = functional.embedding(step, table)
        for number, cell in enumerate(cells):
            if isinstance(cell, nn.LSTMCell):
                states[number] = cell(outputs, states[number])
            else:
                states[number] = (cell(outputs, states[number][0]),) * 2
            outputs = states[number][0]


@torch.no_grad()
def sampling() -> None:
    print("| cell | layers | hidden | batch | µs per step | torch bf16 |")
    print("|---|---|---|---|---|---|")
    for cell, (layers, hidden, batch) in product(OURS, product((1, 2), (512, 1024), (1, 64))):
        embedding = torch.randn(SYMBOLS, hidden)
        symbols = torch.randint(SYMBOLS, (100, batch))
        cells = [CELLS[cell](hidden, hidden, dtype=torch.bfloat16) for _ in range(layers)]
        layer = OURS[cell](hidden, hidden, layers, engine="fused", precision="bfloat16")
        stepper = layer.stepper(batch, embedding)
        theirs = partial(run_cells, cells, symbols, embedding.bfloat16(), batch)
        runs = {"ours": awaited(partial(call_each, stepper, symbols)), "torch": awaited(theirs)}
        found = medians(runs, 2)
        print(
            f"| {cell}Cell | {layers} | {hidden} | {batch} "
            f"| {found['ours'] / len(symbols) * 1e6:.1f} "
            f"| {found['torch'] / found['ours']:.2f} |",
            flush=True,
        )
