"""Measure the speed of two layers of `charlm.recurrent` on a GPU against other implementations.

Print ratios of median times; above 1, ours is faster. Peers are timed in turn, see
`benchmarks.recurrent`. They are torch's layer in bfloat16, two of its one-layer modules in float16
(for which cuDNN has a persistent kernel) and, if installed (`pip install flashrnn`), FlashRNN with
the fastest of its backends.

The bound is the time of the matrix products, 48·H² operations per example, step and layer, at the
rate of a large bfloat16 product measured in the same run, plus 1 µs per step and direction, the
least time in which the programs on all multiprocessors can wait for each other.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.recurrent import CELLS, OURS, PEERS, SYMBOLS, Run, call_each, medians
from charlm.recurrent import GRU, LSTM
from charlm.recurrent.engines.base import Cell

LAYERS, STEPS = 2, 256
SHAPES = [(hidden, batch) for hidden in (512, 1024) for batch in (64, 128, 256)]
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

    return awaited(run)


def training_step(stack: Layers, batch: int) -> Run:
    """Return a step: embedding, layers, softmax over the symbols, clipping and AdamW."""
    embedding = nn.Embedding(SYMBOLS, stack.input_size)
    head = nn.Linear(stack.hidden_size, SYMBOLS)
    model = nn.ModuleList([embedding, stack, head])
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    symbols = torch.randint(SYMBOLS, (STEPS + 1, batch))

    def run() -> None:
        optimizer.zero_grad()
        if isinstance(stack, LSTM | GRU):
            outputs, _ = stack.forward_indices(symbols[:-1], embedding.weight)
        else:
            outputs, _ = stack(embedding(symbols[:-1]))
        logits = head(outputs).flatten(0, 1)
        torch.autograd.backward(functional.cross_entropy(logits, symbols[1:].flatten()))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return awaited(run)


def bound(hidden: int, batch: int, rate: float) -> float:
    return 48 * hidden**2 * LAYERS * batch * STEPS / rate + 2 * STEPS * 1e-6


def product_rate() -> float:
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / medians({"product": awaited(lambda: a @ b)}, 2)["product"]


def training(make: Callable[[Layers, int], Run]) -> None:
    rate = product_rate()
    print(f"bfloat16 product: {rate / 1e12:.0f} TFLOP/s\n")
    print("| cell | hidden | batch | ms | torch bf16 | torch fp16 | FlashRNN | share of bound |")
    print("|---|---|---|---|---|---|---|---|")
    for cell in OURS:
        for hidden, batch in SHAPES:
            made = stacks(cell, hidden, batch)
            found = medians({name: make(stack, batch) for name, stack in made.items()}, 3)
            flash = [time for name, time in found.items() if name.startswith("FlashRNN")]
            best = f"{min(flash) / found['ours']:.2f}" if flash else "–"
            print(
                f"| {cell} | {hidden} | {batch} | {found['ours'] * 1e3:.2f} "
                f"| {found['torch bf16'] / found['ours']:.2f} "
                f"| {found['torch fp16, one by one'] / found['ours']:.2f} "
                f"| {best} | {bound(hidden, batch, rate) / found['ours']:.0%} |",
                flush=True,
            )


def loops() -> None:
    """Compare the resident and the replayed loop with the picked one (`MEASURED` in `plan`)."""
    from charlm.recurrent.gpu.plan import MEASURED

    print("| cell | hidden | batch | ms | replayed |")
    print("|---|---|---|---|---|")
    for cell in OURS:
        for hidden, batch in SHAPES:
            stack = OURS[cell](hidden, hidden, LAYERS, engine="fused", precision="bfloat16")
            run = forward_backward(stack, batch)
            shape: tuple[Cell, int, int] = OURS[cell].cell, hidden, batch

            def replayed(run: Run = run, shape: tuple[Cell, int, int] = shape) -> None:
                with patch.dict(MEASURED, {shape: "replayed"}):
                    run()

            found = medians({"picked": run, "replayed": replayed}, 3)
            ratio = found["replayed"] / found["picked"]
            print(f"| {cell} | {hidden} | {batch} | {found['picked'] * 1e3:.2f} | {ratio:.2f} |")


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


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parts: dict[str, tuple[str, Callable[[], None]]] = {
        "layer": ("forward + backward of two layers", lambda: training(forward_backward)),
        "step": ("a whole training step", lambda: training(training_step)),
        "loops": ("the loops, as ratios to the one that is picked", loops),
        "sampling": ("one step of sampling", sampling),
    }
    parser.add_argument("--part", choices=parts)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("skipped: no CUDA GPU")
        return
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for name, (title, run) in parts.items():
        if options.part in (None, name):
            print(f"\n## {title}\n")
            with torch.device("cuda"):
                run()
