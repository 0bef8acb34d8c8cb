"""`LSTM` and `GRU`: modules that take the places of `torch.nn.LSTM` and `torch.nn.GRU`."""

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from charlm.errors import CharlmError
from charlm.recurrent import cpu
from charlm.recurrent.dropout import dropout_mask
from charlm.recurrent.reference import Reference, Torch
from charlm.recurrent.stepper import Stepper

Engine = Literal["auto", "reference", "fused", "torch"]
Precision = Literal["float32", "bfloat16"]

# What `auto` picks by device, cell, precision and hidden size: the engine that was the faster one
# over the batches and lengths measured (docs/speed.md). A row holds for hidden sizes up to its own,
# and the first that fits counts. Where none does, nothing was measured, and torch's layers run.
_FASTEST: tuple[tuple[str, str, Precision, float, Engine], ...] = (
    ("cpu", "lstm", "float32", math.inf, "fused"),
    ("cpu", "lstm", "bfloat16", math.inf, "fused"),
    ("cpu", "gru", "float32", math.inf, "fused"),
    ("cpu", "gru", "bfloat16", math.inf, "fused"),
)

_log = logging.getLogger(__name__)


@cache
def _fastest(device: str, cell: str, precision: str, hidden_size: int) -> str:
    """Look up what `auto` stands for, and say so once."""
    here = device, cell, precision
    measured = (row[-1] for row in _FASTEST if row[:3] == here and hidden_size <= row[3])
    engine = next(measured, None)
    _log.info(
        "recurrent engine auto: %s for %s, hidden size %d, %s, on %s: %s",
        engine or "torch", cell, hidden_size, precision, device,
        "the fastest measured there" if engine else "nothing was measured there",
    )  # fmt: skip
    return engine or "torch"


@cache
def _fused(device: str) -> Any:
    """Find the fused engine for a kind of device, or say once that it has none."""
    if device == "cpu":
        return cpu.Fused
    if device == "cuda":
        try:
            from charlm.recurrent import gpu
        except ImportError:
            _log.warning(
                "recurrent engine fused: Triton is missing; torch's own layers run instead"
            )
        else:
            return gpu.Fused
    else:
        _log.warning("recurrent engine fused: none for %s; torch's own layers run instead", device)
    return Torch


def _in_turn(
    run: Callable[..., tuple[Tensor, Any]],
    inputs: Tensor,
    indices: Tensor | None,
    states: list[Any],
) -> tuple[Tensor, list[Any]]:
    """Run a stack of layers over a sequence, one after another."""
    finals = []
    for layer, state in enumerate(states):
        inputs, final = run(layer, inputs, indices if layer == 0 else None, state)
        finals.append(final)
    return inputs, finals


class _Recurrent(nn.Module):
    """A stack of recurrent layers that takes the place of torch's.

    Parameter names, shapes, gate order and initialisation are torch's, so that a `state_dict`
    moves either way and the same seed gives the same parameters. Not supported are `bidirectional`,
    `proj_size` and packed sequences.

    Args, where they are not torch's:
        engine: `reference` computes as `charlm.recurrent.equations` reads, in the parameters'
            precision; `fused` runs our own kernels; `torch` runs torch's own layers; `auto` takes
            the fastest of the last two.
        precision: `bfloat16` multiplies in bfloat16 where the processor does so fast, and keeps
            states and parameters in float32. ``torch.autocast`` selects it too.
        locked_dropout: draw the dropout between layers once for all steps.
        weight_dropout: probability with which a recurrent weight is dropped, for all steps.

    Raises:
        CharlmError: an argument is not supported or out of range.
    """

    cell: str
    gates: int
    weight_hh_l0: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        engine: Engine = "auto",
        precision: Precision = "float32",
        locked_dropout: bool = False,
        weight_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self._refuse("bidirectional", bidirectional, "a language model reads one way only")
        self._refuse("proj_size", proj_size, "put a torch.nn.Linear after the layer")
        for name, size in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ):
            if size < 1:
                raise CharlmError(f"{self._name}: {name}: {size} is below 1")
        for name, probability in (("dropout", dropout), ("weight_dropout", weight_dropout)):
            if not 0 <= probability <= 1:
                raise CharlmError(f"{self._name}: {name}: {probability} is not between 0 and 1")
        for name, value, values in (
            ("engine", engine, ("auto", "reference", "fused", "torch")),
            ("precision", precision, ("float32", "bfloat16")),
        ):
            if value not in values:
                raise CharlmError(f"{self._name}: {name}: {value!r} is none of {', '.join(values)}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.engine = engine
        self.precision = precision
        self.locked_dropout = locked_dropout
        self.weight_dropout = weight_dropout
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, input_size if layer == 0 else hidden_size),
                "weight_hh": (rows, hidden_size),
            }
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            for name, shape in shapes.items():
                parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}_l{layer}", parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/√H, 1/√H), as torch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: torch's layers have it for cuDNN's sake, and callers may call it."""

    def extra_repr(self) -> str:
        """Describe the layer when it is printed."""
        return (
            f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
            f"dropout={self.dropout}, engine={self.engine}, precision={self.precision}"
        )

    def forward_indices(self, indices: Tensor, table: Tensor, state: Any = None) -> Any:
        """Run over rows of a table: the same as ``self(table[indices], state)``, but faster.

        The first layer's input product is then a look-up of rows of ``table @ weight_ih.T``.

        Args:
            indices: rows of the table, integers of shape (T, B), or (B, T) with `batch_first`.
            table: input vectors (V, input_size), an embedding's weights say; it gets a gradient.
            state: as in `forward`.

        Returns:
            As `forward`.

        Raises:
            CharlmError: an argument does not fit.
        """
        if indices.dim() != 2 or indices.is_floating_point():
            raise CharlmError(
                f"{self._name}: indices: expected integers of shape "
                f"{'(B, T)' if self.batch_first else '(T, B)'}, got {indices.dtype} of shape "
                f"{tuple(indices.shape)}"
            )
        self._check_inputs("table", table)
        return self._run(table, indices.T if self.batch_first else indices, state, self.training)

    def stepper(self, batch_size: int, table: Tensor | None = None) -> Stepper:
        """Make a `Stepper`, the fast way to sample: ``stepper(inputs)`` moves B streams one step.

        Args:
            batch_size: the number of streams B.
            table: input vectors (V, input_size); with it a step takes their row numbers (B,)
                rather than vectors (B, input_size).
        """
        weight = self.weight_hh_l0
        engine = self._picked(weight)
        if engine == "fused" and weight.device.type == "cpu" and cpu.usable(weight.dtype):
            return cpu.FusedStepper(self, batch_size, table, self._precision(weight))
        if engine == "fused" and weight.is_cuda and weight.dtype == torch.float32:
            with suppress(ImportError):  # no Triton
                from charlm.recurrent import gpu

                return gpu.FusedStepper(self, batch_size, table, self._precision(weight))
        return Stepper(self, batch_size, table)

    def _forward(self, input: Any, state: Any) -> tuple[Tensor, Any]:
        self._refuse("a PackedSequence", isinstance(input, PackedSequence), "pad the batch instead")
        self._check_inputs("input", input)
        if input.dim() == 2:  # one example without a batch dimension
            batched = None if state is None else tuple(s.unsqueeze(1) for s in self._pack(state))
            outputs, final = self._run(
                input.unsqueeze(1),
                None,
                None if batched is None else self._unpack(batched),
                self.training,
            )
            squeezed = tuple(s.squeeze(1) for s in self._pack(final))
            return outputs.squeeze(0 if self.batch_first else 1), self._unpack(squeezed)
        return self._run(
            input.transpose(0, 1) if self.batch_first else input, None, state, self.training
        )

    def _run(
        self, inputs: Tensor, indices: Tensor | None, state: Any, training: bool
    ) -> tuple[Tensor, Any]:
        """Run all layers; `inputs` is (T, B, I), or a table with `indices` (T, B)."""
        steps, batch = (inputs if indices is None else indices).shape[:2]
        if steps == 0:
            raise CharlmError(f"{self._name}: input: a sequence of length 0; give at least a step")
        initial = self._initial_state(state, batch)
        precision = self._precision(inputs)
        engine = self._engine(inputs)
        inputs = inputs.to(self.weight_hh_l0.dtype)

        # What is drawn at random holds for all steps, also where a layer runs stretch by stretch.
        @cache
        def weights(layer: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            return self._weights(layer, training)

        @cache
        def mask(layer: int) -> Tensor:
            ones = self.weight_hh_l0.new_ones(1, batch, self.hidden_size)
            return self._drop(ones, training)

        def run(
            layer: int, inputs: Tensor, indices: Tensor | None, state: Any, **options: Any
        ) -> tuple[Tensor, list[Tensor]]:
            outputs, *final = getattr(engine, self.cell)(
                inputs, indices, *state, *weights(layer), precision, **options
            )
            if layer < self.num_layers - 1:
                locked = self.locked_dropout
                outputs = outputs * mask(layer) if locked else self._drop(outputs, training)
            return outputs, final

        stack = getattr(engine, "stack", _in_turn)
        inputs, finals = stack(run, inputs, indices, list(zip(*initial, strict=True)))
        state = self._unpack(tuple(torch.stack(part) for part in zip(*finals, strict=True)))
        return inputs.transpose(0, 1) if self.batch_first else inputs, state

    def _weights(self, layer: int, training: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The weights and biases of a layer, its recurrent weights thinned in training.

        DropConnect on the recurrent weights, one draw for all steps: Merity, Keskar, Socher,
        Regularizing and optimizing LSTM language models, ICLR 2018.
        """
        weight_ih = self.get_parameter(f"weight_ih_l{layer}")
        weight_hh: Tensor = self.get_parameter(f"weight_hh_l{layer}")
        if training and self.weight_dropout:
            weight_hh = weight_hh * dropout_mask(weight_hh, self.weight_dropout)
        if not self.bias:
            zero = weight_ih.new_zeros(weight_ih.shape[0])
            return weight_ih, weight_hh, zero, zero
        return (
            weight_ih,
            weight_hh,
            self.get_parameter(f"bias_ih_l{layer}"),
            self.get_parameter(f"bias_hh_l{layer}"),
        )

    def _drop(self, outputs: Tensor, training: bool) -> Tensor:
        """Dropout between layers; locked: one draw for all steps (Gal and Ghahramani, 2016)."""
        if not (training and self.dropout):
            return outputs
        return outputs * dropout_mask(outputs[:1] if self.locked_dropout else outputs, self.dropout)

    @property
    def picked_engine(self) -> str:
        """The engine that runs: `engine`, or what `auto` stands for where the parameters are."""
        return self._picked(self.weight_hh_l0)

    def _picked(self, inputs: Tensor) -> str:
        if self.engine != "auto":
            return self.engine
        device = inputs.device.type
        if device == "cpu" and not cpu.usable(self.weight_hh_l0.dtype):
            return "torch"
        return _fastest(device, self.cell, self._precision(inputs), self.hidden_size)

    def _engine(self, inputs: Tensor) -> Any:
        picked = self._picked(inputs)
        plain = {"reference": Reference, "torch": Torch}
        return plain[picked] if picked in plain else _fused(inputs.device.type)

    def _precision(self, inputs: Tensor) -> str:
        """`precision` as asked for, or bfloat16 inside ``torch.autocast(…, torch.bfloat16)``."""
        device = inputs.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
            return "bfloat16"
        return self.precision

    def _initial_state(self, state: Any, batch: int) -> tuple[Tensor, ...]:
        shape = (self.num_layers, batch, self.hidden_size)
        if state is None:
            zero = self.weight_hh_l0.new_zeros(shape)
            return (zero,) * len(self._pack((zero, zero) if self.cell == "lstm" else zero))
        for part in self._pack(state):
            if part.shape != shape:
                raise CharlmError(
                    f"{self._name}: state: expected shape {shape}, got {tuple(part.shape)}"
                )
        return tuple(part.to(self.weight_hh_l0.dtype) for part in self._pack(state))

    def _check_inputs(self, name: str, inputs: Tensor) -> None:
        dimensions = (2,) if name == "table" else (2, 3)
        if inputs.dim() not in dimensions or inputs.shape[-1] != self.input_size:
            raise CharlmError(
                f"{self._name}: {name}: expected {self.input_size} features in the last of "
                f"{' or '.join(map(str, dimensions))} dimensions, got shape {tuple(inputs.shape)}"
            )
        dtype = self.weight_hh_l0.dtype
        if inputs.dtype != dtype and self._precision(inputs) != "bfloat16":
            raise CharlmError(
                f"{self._name}: {name}: is {inputs.dtype} and the parameters are {dtype}; "
                "convert one of them"
            )

    def _refuse(self, what: str, given: Any, instead: str) -> None:
        if given:
            raise CharlmError(f"{self._name}: {what} is not supported; {instead}")

    @property
    def _name(self) -> str:
        return type(self).__name__

    # A state is one tensor or two to the caller, and a tuple of tensors in here.

    @staticmethod
    def _pack(state: Any) -> tuple[Tensor, ...]:
        return state if isinstance(state, tuple) else (state,)

    @staticmethod
    def _unpack(parts: tuple[Tensor, ...]) -> Any:
        return parts[0] if len(parts) == 1 else parts


class LSTM(_Recurrent):
    """A stack of LSTM layers, to be used as `torch.nn.LSTM` is."""

    cell = "lstm"
    gates = 4

    def forward(
        self, input: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over a sequence.

        Args:
            input: (T, B, input_size), or (B, T, input_size) with `batch_first`; (T, input_size)
                for one example without a batch.
            state: hidden and cell state (h, c), each (num_layers, B, H); zeros by default.

        Returns:
            The last layer's hidden state after each step, (T, B, H) or (B, T, H), and the state
            after the last step, (h, c).

        Raises:
            CharlmError: an argument does not fit.
        """
        return self._forward(input, state)


class GRU(_Recurrent):
    """A stack of GRU layers, to be used as `torch.nn.GRU` is."""

    cell = "gru"
    gates = 3

    def forward(self, input: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over a sequence.

        Args:
            input: (T, B, input_size), or (B, T, input_size) with `batch_first`; (T, input_size)
                for one example without a batch.
            state: hidden state (num_layers, B, H); zeros by default.

        Returns:
            The last layer's hidden state after each step, (T, B, H) or (B, T, H), and the state
            after the last step.

        Raises:
            CharlmError: an argument does not fit.
        """
        return self._forward(input, state)
