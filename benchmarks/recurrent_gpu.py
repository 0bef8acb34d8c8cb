"""Speed of two layers of `charlm.recurrent` on a GPU against the other ways to run them, as ratios.

Peers are timed in turn in one run, see `benchmarks.recurrent`; a ratio above 1 means that ours is
faster. They are torch's layer in bfloat16, two of its layers of one in float16 (which is what cuDNN
has a persistent kernel for) and, where it can be imported, FlashRNN (``pip install flashrnn``) with
whichever of its backends is the fastest. Run: ``python -m benchmarks.recurrent_gpu [--part PART]``.

The bound is the time that the products take, 48·H² operations an example, step and layer, at the
rate of a large bfloat16 product measured in the same run, and 1 µs a step and direction, which is
what it takes at least that programs on all processors wait for each other.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.recurrent import CELLS, PEERS, SYMBOLS, medians
from charlm.recurrent import GRU, LSTM
from charlm.recurrent.engines.base import Cell

LAYERS, STEPS = 2, 256
SHAPES = [(hidden, batch) for hidden in (512, 1024) for batch in (64, 128, 256)]
FLASHRNN = ("cuda_fused", "cuda", "triton_fused")

Run = Callable[[], object]


class Stack(nn.Module):
    """Layers one after another, in a precision of their own."""

    def __init__(self, hidden_size: int, kind: torch.dtype, *layers: nn.Module) -> None:
        super().__init__()
        self.input_size = self.hidden_size = hidden_size
        self.kind = kind
        self.layers = nn.ModuleList(layers).to(kind)

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        """Run all over (T, B, hidden_size)."""
        outputs = inputs.to(self.kind)
        for layer in self.layers:
            outputs, _ = layer(outputs)
        return outputs.float(), None


class FlashRNN(nn.Module):
    """A layer of one head."""

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
        """Run over (T, B, hidden)."""
        projected = self.input(inputs).unflatten(2, (self.slots, 1, -1))
        states, _ = self.run(projected, self.weight, self.bias, config=self.config)
        return states[0].flatten(2), None


def stacks(ours: type[nn.Module], hidden: int, batch: int) -> dict[str, nn.Module]:
    """Ours, and the peers that can be made."""
    theirs = PEERS[ours]
    found: dict[str, nn.Module] = {
        "ours": ours(hidden, hidden, LAYERS, engine="fused", precision="bfloat16"),
        "torch bf16": Stack(hidden, torch.bfloat16, theirs(hidden, hidden, LAYERS)),
        "torch fp16, one by one": Stack(
            hidden, torch.float16, *(theirs(hidden, hidden) for _ in range(LAYERS))
        ),
    }
    for backend in FLASHRNN if find_spec("flashrnn") else ():
        try:
            layers = [FlashRNN(ours.cell, backend, hidden, batch) for _ in range(LAYERS)]
            stack = Stack(hidden, torch.bfloat16, *layers)
            forward_backward(stack, batch)()
        except Exception as error:  # its compiler is missing, or the shape does not suit it
            print(f"FlashRNN {backend}: {str(error).splitlines()[:1]}", flush=True)
        else:
            found[f"FlashRNN {backend}"] = stack
    return found


def awaited(run: Run) -> Run:
    def whole() -> None:
        run()
        torch.cuda.synchronize()

    return whole


def forward_backward(stack: nn.Module, batch: int) -> Run:
    inputs = torch.randn(STEPS, batch, stack.input_size, requires_grad=True)
    gradient = torch.randn(STEPS, batch, stack.hidden_size)

    def run() -> None:
        stack.zero_grad()
        inputs.grad = None
        outputs, _ = stack(inputs)
        outputs.backward(gradient)

    return awaited(run)


def training_step(stack: nn.Module, batch: int) -> Run:
    """Embedding, layers, softmax over the symbols, clipping and AdamW."""
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
        functional.cross_entropy(logits, symbols[1:].flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return awaited(run)


def bound(hidden: int, batch: int, rate: float) -> float:
    return 48 * hidden**2 * LAYERS * batch * STEPS / rate + 2 * STEPS * 1e-6


def product_rate() -> float:
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / medians({"product": awaited(lambda: a @ b)}, 2)["product"]


def training(make: Callable[[nn.Module, int], Run]) -> None:
    rate = product_rate()
    print(f"bfloat16 product: {rate / 1e12:.0f} TFLOP/s\n")
    print("| cell | hidden | batch | ms | torch bf16 | torch fp16 | FlashRNN | share of bound |")
    print("|---|---|---|---|---|---|---|---|")
    for ours in PEERS:
        for hidden, batch in SHAPES:
            found = medians({n: make(s, batch) for n, s in stacks(ours, hidden, batch).items()}, 3)
            flash = [time for name, time in found.items() if name.startswith("FlashRNN")]
            best = f"{min(flash) / found['ours']:.2f}" if flash else "–"
            print(
                f"| {ours.__name__} | {hidden} | {batch} | {found['ours'] * 1e3:.2f} "
                f"| {found['torch bf16'] / found['ours']:.2f} "
                f"| {found['torch fp16, one by one'] / found['ours']:.2f} "
                f"| {best} | {bound(hidden, batch, rate) / found['ours']:.0%} |",
                flush=True,
            )


def loops() -> None:
    """The resident loops against the replayed ones: for `MEASURED` of the GPU engine's plan."""
    from charlm.recurrent.gpu.plan import MEASURED

    print("| cell | hidden | batch | ms | replayed |")
    print("|---|---|---|---|---|")
    for ours in PEERS:
        for hidden, batch in SHAPES:
            stack = ours(hidden, hidden, LAYERS, engine="fused", precision="bfloat16")
            run = forward_backward(stack, batch)
            shape = ours.cell, hidden, batch

            def replayed(run: Run = run, shape: tuple[Cell, int, int] = shape) -> None:
                with patch.dict(MEASURED, {shape: "replayed"}):
                    run()

            found = medians({"picked": run, "replayed": replayed}, 3)
            milliseconds = found["picked"] * 1e3
            ratio = found["replayed"] / found["picked"]
            print(f"| {ours.__name__} | {hidden} | {batch} | {milliseconds:.2f} | {ratio:.2f} |")


@torch.no_grad()
def sampling() -> None:
    print("| cell | layers | hidden | batch | µs a step | torch bf16 |")
    print("|---|---|---|---|---|---|")
    for ours, theirs in CELLS.items():
        for layers, hidden, batch in (
            (n, h, b) for n in (1, 2) for h in (512, 1024) for b in (1, 64)
        ):
            embedding = torch.randn(SYMBOLS, hidden)
            rounded = embedding.bfloat16()
            symbols = torch.randint(SYMBOLS, (100, batch))
            cells = [theirs(hidden, hidden, dtype=torch.bfloat16) for _ in range(layers)]
            states: list[list[Tensor]] = [[torch.zeros(batch, hidden).bfloat16()] * 2] * layers

            def loop(
                cells: list[nn.Module] = cells,
                states: list[list[Tensor]] = states,
                symbols: Tensor = symbols,
                table: Tensor = rounded,
            ) -> None:
                for step in symbols:
                    x = functional.embedding(step, table)
                    for n, cell in enumerate(cells):
                        pair = isinstance(cell, nn.LSTMCell)
                        moved = cell(x, tuple(states[n]) if pair else states[n][0])
                        states[n] = list(moved) if pair else [moved]
                        x = states[n][0]

            layer = ours(hidden, hidden, layers, engine="fused", precision="bfloat16")
            stepper = layer.stepper(batch, embedding)

            def steps(
                stepper: Callable[[Tensor], Tensor] = stepper, symbols: Tensor = symbols
            ) -> None:
                for step in symbols:
                    stepper(step)

            found = medians({"ours": awaited(steps), "torch": awaited(loop)}, 2)
            print(
                f"| {theirs.__name__} | {layers} | {hidden} | {batch} "
                f"| {found['ours'] / len(symbols) * 1e6:.1f} "
                f"| {found['torch'] / found['ours']:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts: dict[str, tuple[str, Callable[[], None]]] = {
        "layer": ("forward + backward of two layers", lambda: training(forward_backward)),
        "step": ("a whole training step", lambda: training(training_step)),
        "loops": ("what the loops could be, as ratios to what is picked", loops),
        "sampling": ("one step of sampling", sampling),
    }
    parser.add_argument("--part", choices=parts)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA GPU here")
        return
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for name, (title, run) in parts.items():
        if options.part in (None, name):
            print(f"\n## {title}\n")
            with torch.device("cuda"):
                run()


if __name__ == "__main__":
    main()
