"""`LSTM` and `GRU`: drop-in replacements for `torch.nn.LSTM` and `torch.nn.GRU`."""

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from charlm.errors import CharlmError
from charlm.recurrent.cpu.engine import FusedCPU
from charlm.recurrent.cpu.launch import can_run_kernels
from charlm.recurrent.cpu.stepper import CPUStepper
from charlm.recurrent.dropout import dropout_mask
from charlm.recurrent.eager import is_eager
from charlm.recurrent.engines.base import Engine, Parameters, State
from charlm.recurrent.engines.reference import Reference
from charlm.recurrent.engines.torch import Torch
from charlm.recurrent.errors import LayerRuntimeError, LayerTypeError, LayerValueError
from charlm.recurrent.stepper import Stepper, check_eager

EngineName = Literal["auto", "reference", "fused", "torch"]
Precision = Literal["float32", "bfloat16"]

# What `auto` picks by device, cell, precision and hidden size: the engine that was the faster one
# over the batches and lengths measured (docs/speed.md). A row holds for hidden sizes up to its own,
# and the first that fits counts. Where none does, nothing was measured, and torch's layers run.
_FASTEST: tuple[tuple[str, str, Precision, float, EngineName], ...] = (
    ("cpu", "lstm", "float32", math.inf, "fused"),
    ("cpu", "lstm", "bfloat16", math.inf, "fused"),
    ("cpu", "gru", "float32", math.inf, "fused"),
    ("cpu", "gru", "bfloat16", math.inf, "fused"),
)

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)

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
def _fused(device: str) -> Engine:
    """Find the fused engine for a kind of device, or say once that it has none."""
    if device == "cpu":
        return FusedCPU
    if device == "cuda":
        try:
            from charlm.recurrent.gpu.engine import FusedGPU
        except ImportError:
            _log.warning(
                "recurrent engine fused: Triton is missing; torch's own layers run instead"
            )
        else:
            return FusedGPU
    else:
        _log.warning("recurrent engine fused: none for %s; torch's own layers run instead", device)
    return Torch


def _in_turn(
    run: Callable[..., tuple[Tensor, State]],
    inputs: Tensor,
    indices: Tensor | None,
    states: list[State],
) -> tuple[Tensor, list[State]]:
    """Run a stack of layers over a sequence, one after another."""
    finals = []
    for layer, state in enumerate(states):
        inputs, final = run(layer, inputs, indices if layer == 0 else None, state)
        finals.append(final)
    return inputs, finals


class _Recurrent(nn.RNNBase):
    """What `LSTM` and `GRU` share."""

    cell: str
    gates: int
    engine: str
    precision: str
    locked_dropout: bool
    weight_dropout: float
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
        engine: EngineName = "auto",
        precision: Precision = "float32",
        locked_dropout: bool = False,
        weight_dropout: float = 0.0,
    ) -> None:
        self._refuse("bidirectional", bidirectional, "a language model reads one way only")
        self._refuse("proj_size", proj_size, "put a torch.nn.Linear after the layer")
        torch_init: Any = super().__init__  # of torch.nn.LSTM or torch.nn.GRU
        try:
            torch_init(
                input_size, hidden_size, num_layers, bias, batch_first, dropout,
                device=device, dtype=dtype,
            )  # fmt: skip
        except TypeError as error:
            raise LayerTypeError(f"{self._name}: {error}") from None
        except ValueError as error:
            raise LayerValueError(f"{self._name}: {error}") from None
        if type(weight_dropout) not in (int, float) or not 0 <= weight_dropout <= 1:
            raise LayerValueError(
                f"{self._name}: weight_dropout: expected a number from 0 to 1, got "
                f"{weight_dropout!r}"
            )
        for name, value, values in (
            ("engine", engine, ("auto", "reference", "fused", "torch")),
            ("precision", precision, ("float32", "bfloat16")),
        ):
            if value not in values:
                raise LayerValueError(
                    f"{self._name}: unknown {name} {value!r}; expected one of {', '.join(values)}"
                )
        if not isinstance(locked_dropout, bool):
            raise LayerTypeError(
                f"{self._name}: locked_dropout: expected a bool, got {locked_dropout!r}"
            )
        self.engine = engine
        self.precision = precision
        self.locked_dropout = locked_dropout
        self.weight_dropout = float(weight_dropout)

    def flatten_parameters(self) -> None:
        """Do nothing: torch's layers copy their weights into one block for cuDNN, ours do not."""

    def extra_repr(self) -> str:
        """Describe the layer when it is printed: our own arguments where they are not defaults."""
        own = {"engine": "auto", "precision": "float32", "locked_dropout": False}
        own["weight_dropout"] = 0.0
        changed = [f"{k}={getattr(self, k)}" for k, v in own.items() if getattr(self, k) != v]
        return ", ".join([super().extra_repr(), *changed])

    def __prepare_scriptable__(self) -> nn.Module:
        """Give `torch.jit.script` a layer of torch's with the same parameters."""
        self._refuse_own_dropout()
        base = nn.LSTM if self.cell == "lstm" else nn.GRU
        layer = base(
            self.input_size, self.hidden_size, self.num_layers, self.bias, self.batch_first,
            self.dropout, device="meta",
        )  # fmt: skip
        for name in list(layer._parameters):
            setattr(layer, name, getattr(self, name))
        return layer.train(self.training)

    def forward_indices(
        self, indices: Tensor, table: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Run over rows of a table: the same as ``self(table[indices])``, but faster.

        The first layer's input product is then a look-up of rows of ``table @ weight_ih.T``.

        Args:
            indices: rows of the table, integers of shape (T, B), or (B, T) with `batch_first`.
            table: input vectors (V, input_size), an embedding's weights say; it gets a gradient.
            state: the initial state (h, c) of an LSTM or (h,) of a GRU, a tuple for both cells, of
                shapes as in `forward`; zeros by default.

        Returns:
            The outputs as in `forward`, and the state after the last step, a tuple as above.

        Raises:
            CharlmError: an argument does not fit.
        """
        weights = self.all_weights
        self._check_state_size(state)
        if not is_eager(indices, table, *(state or ()), *weights[0]):
            return self._torch_forward(functional.embedding(indices, table), state)
        if indices.dim() != 2 or indices.dtype not in _INTEGERS:
            raise LayerRuntimeError(
                f"{self._name}: indices: expected integers of shape "
                f"{'(B, T)' if self.batch_first else '(T, B)'}, got {indices.dtype} of shape "
                f"{tuple(indices.shape)}"
            )
        self._check_inputs("table", table, weights[0][0])
        if indices.device != table.device:
            raise LayerRuntimeError(
                f"{self._name}: indices: on {indices.device}, but the table is on {table.device}"
            )
        if self.batch_first:
            indices = indices.T
        outputs, final = self._run(table, indices, state, self.training, weights)
        return outputs.transpose(0, 1) if self.batch_first else outputs, final

    def stepper(self, batch_size: int, table: Tensor | None = None) -> Stepper:
        """Make a `Stepper`, the fast way to sample: ``stepper(inputs)`` moves B streams one step.

        Args:
            batch_size: the number of streams B.
            table: input vectors (V, input_size); with it a step takes their row numbers (B,)
                rather than vectors (B, input_size).

        Raises:
            CharlmError: the table does not fit, or torch records operations.
        """
        weights = self.all_weights
        weight = weights[0][0]
        check_eager(self, weight)
        self._check_parameters(weights)
        if table is not None:
            self._check_inputs("table", table, weight)
        engine = self._picked(weight)
        if engine == "fused" and weight.device.type == "cpu" and can_run_kernels(weight.dtype):
            return CPUStepper(self, batch_size, table, self._precision(weight))
        if engine == "fused" and weight.is_cuda and weight.dtype == torch.float32:
            with suppress(ImportError):  # no Triton
                from charlm.recurrent.gpu.stepper import GPUStepper

                return GPUStepper(self, batch_size, table, self._precision(weight))
        return Stepper(self, batch_size, table)

    def _forward(self, input: Tensor, state: State | None) -> tuple[Tensor, State]:
        weights = self.all_weights
        if not is_eager(input, *(state or ()), *weights[0]):
            return self._torch_forward(input, state)
        self._check_inputs("input", input, weights[0][0])
        if input.dim() == 2:  # one example without a batch dimension
            if state is not None:
                for part in state:
                    self._check_state(part, (self.num_layers, self.hidden_size), input)
                state = tuple(part.unsqueeze(1) for part in state)
            outputs, final = self._run(input.unsqueeze(1), None, state, self.training, weights)
            return outputs.squeeze(1), tuple(part.squeeze(1) for part in final)
        if self.batch_first:
            input = input.transpose(0, 1)
        outputs, final = self._run(input, None, state, self.training, weights)
        return outputs.transpose(0, 1) if self.batch_first else outputs, final

    def _torch_forward(self, input: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run torch's own forward pass."""
        hx = state[0] if state is not None and self.cell == "gru" else state
        outputs, final = self._torch_call(input, hx)
        return outputs, final if self.cell == "lstm" else (final,)

    def _torch_call(self, input: Tensor, hx: Any) -> Any:
        """Call torch's own forward method, which also says what is wrong with odd arguments."""
        self._refuse("a PackedSequence", isinstance(input, PackedSequence), "pad the batch instead")
        self._refuse_own_dropout()
        return super().forward(input, hx)  # of torch.nn.LSTM or torch.nn.GRU

    def _run(
        self,
        inputs: Tensor,
        indices: Tensor | None,
        state: State | None,
        training: bool,
        parameters: list[list[nn.Parameter]],
    ) -> tuple[Tensor, State]:
        """Run all layers; `inputs` is (T, B, I), or a table with `indices` (T, B).

        The parameters are read once, as a parametrization computes them each time.
        """
        steps, batch = (inputs if indices is None else indices).shape[:2]
        if steps == 0:
            raise LayerRuntimeError(
                f"{self._name}: input: a sequence of length 0; give at least one step"
            )
        weight = parameters[0][0]
        self._check_parameters(parameters)
        initial = self._initial_state(state, batch, weight)
        precision = self._precision(weight)
        engine = self._engine(weight)
        inputs = inputs.to(weight.dtype)

        # What is drawn at random holds for all steps, also where a layer runs stretch by stretch.
        @cache
        def weights(layer: int) -> Parameters:
            return self._weights(parameters[layer], training)

        @cache
        def mask(layer: int) -> Tensor:
            return self._drop(weight.new_ones(1, batch, self.hidden_size), training)

        def run(
            layer: int, inputs: Tensor, indices: Tensor | None, state: State, **options: Any
        ) -> tuple[Tensor, State]:
            outputs, final = getattr(engine, self.cell)(
                inputs, indices, state, weights(layer), precision, **options
            )
            if layer < self.num_layers - 1:
                locked = self.locked_dropout
                outputs = outputs * mask(layer) if locked else self._drop(outputs, training)
            return outputs, final

        stack = getattr(engine, "stack", _in_turn)
        outputs, finals = stack(run, inputs, indices, list(zip(*initial, strict=True)))
        return outputs, tuple(torch.stack(part) for part in zip(*finals, strict=True))

    def _weights(self, parameters: list[nn.Parameter], training: bool) -> Parameters:
        """The weights and biases of a layer, its recurrent weights thinned in training.

        DropConnect on the recurrent weights, one draw for all steps: Merity, Keskar, Socher,
        Regularizing and optimizing LSTM language models, ICLR 2018.
        """
        weight_ih, weight_hh, *biases = parameters
        thinned: Tensor = weight_hh
        if training and self.weight_dropout:
            thinned = weight_hh * dropout_mask(weight_hh, self.weight_dropout)
        if not biases:
            zero = weight_ih.new_zeros(weight_ih.shape[0])
            return Parameters(weight_ih, thinned, zero, zero)
        return Parameters(weight_ih, thinned, *biases)

    def _drop(self, outputs: Tensor, training: bool) -> Tensor:
        """Dropout between layers; locked: one draw for all steps (Gal and Ghahramani, 2016)."""
        if not (training and self.dropout):
            return outputs
        return outputs * dropout_mask(outputs[:1] if self.locked_dropout else outputs, self.dropout)

    @property
    def picked_engine(self) -> str:
        """The engine that runs: `engine`, or what `auto` stands for where the parameters are."""
        return self._picked(self.weight_hh_l0)

    def _picked(self, weight: Tensor) -> str:
        if self.engine != "auto":
            return self.engine
        device = weight.device.type
        if device == "cpu" and not can_run_kernels(weight.dtype):
            return "torch"
        return _fastest(device, self.cell, self._precision(weight), self.hidden_size)

    def _engine(self, weight: Tensor) -> Engine:
        picked = self._picked(weight)
        if picked == "reference":
            return Reference
        return Torch if picked == "torch" else _fused(weight.device.type)

    def _precision(self, weight: Tensor) -> str:
        """`precision` as asked for, or bfloat16 inside ``torch.autocast(…, torch.bfloat16)``."""
        device = weight.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
            return "bfloat16"
        return self.precision

    def _initial_state(self, state: State | None, batch: int, weight: Tensor) -> State:
        self._check_state_size(state)
        shape = (self.num_layers, batch, self.hidden_size)
        if state is None:
            return (weight.new_zeros(shape),) * self._state_size
        for part in state:
            self._check_state(part, shape, weight)
        return tuple(part.to(weight.dtype) for part in state)

    def _check_parameters(self, parameters: list[list[nn.Parameter]]) -> None:
        """Refuse parameters that were replaced by others that do not fit: kernels would misread."""
        first = parameters[0][0]
        rows = self.gates * self.hidden_size
        features = self.input_size
        for names, tensors in zip(self._all_weights, parameters, strict=True):
            shapes = (rows, features), (rows, self.hidden_size), (rows,), (rows,)
            for name, tensor, shape in zip(names, tensors, shapes, strict=False):
                if (
                    tensor.shape != shape
                    or tensor.dtype != first.dtype
                    or tensor.device != first.device
                ):
                    raise LayerRuntimeError(
                        f"{self._name}: {name}: expected {first.dtype} of shape {shape} on "
                        f"{first.device}, got {tensor.dtype} of shape {tuple(tensor.shape)} on "
                        f"{tensor.device}"
                    )
            features = self.hidden_size

    def _check_state_size(self, state: State | None) -> None:
        if state is None or (isinstance(state, tuple) and len(state) == self._state_size):
            return
        got = f"a tuple of {len(state)}" if isinstance(state, tuple) else type(state).__name__
        expected = "(h, c)" if self.cell == "lstm" else "(h,)"
        raise LayerRuntimeError(f"{self._name}: state: expected a tuple {expected}, got {got}")

    def _check_state(self, part: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
        if part.shape != shape:
            raise LayerRuntimeError(
                f"{self._name}: state: expected shape {shape}, got {tuple(part.shape)}"
            )
        self._check_kind("state", part, like, LayerRuntimeError)

    def _check_inputs(self, name: str, inputs: Tensor, weight: Tensor) -> None:
        dimensions = (2,) if name == "table" else (2, 3)
        if inputs.dim() not in dimensions or inputs.shape[-1] != self.input_size:
            error = LayerRuntimeError if inputs.dim() in dimensions else LayerValueError
            raise error(
                f"{self._name}: {name}: expected {self.input_size} features in the last of "
                f"{' or '.join(map(str, dimensions))} dimensions, got shape {tuple(inputs.shape)}"
            )
        self._check_kind(name, inputs, weight, LayerValueError)

    def _check_kind(
        self, name: str, given: Tensor, weight: Tensor, error: type[CharlmError]
    ) -> None:
        """Refuse another device than the parameters', and another type where nothing converts."""
        if given.device != weight.device:
            raise LayerRuntimeError(
                f"{self._name}: {name}: on {given.device}, but the parameters are on "
                f"{weight.device}; move one of them"
            )
        if given.dtype == weight.dtype:
            return
        converts = self.precision == "bfloat16" or torch.is_autocast_enabled(weight.device.type)
        if not (converts and given.is_floating_point()):
            raise error(
                f"{self._name}: {name}: is {given.dtype} and the parameters are {weight.dtype}; "
                "convert one of them"
            )

    def _refuse(self, what: str, given: Any, instead: str) -> None:
        if given:
            raise LayerValueError(f"{self._name}: {what} is not supported; {instead}")

    def _refuse_own_dropout(self) -> None:
        locked = self.locked_dropout and self.dropout > 0 and self.num_layers > 1
        if self.training and (locked or self.weight_dropout > 0):
            raise LayerRuntimeError(
                f"{self._name}: locked_dropout and weight_dropout cannot be recorded or "
                "transformed; call eval() first"
            )

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _is_state(self, hx: object) -> bool:
        """Whether `hx` is a state as torch's layers take it; torch says what is wrong otherwise."""
        if self.cell == "gru":
            return not isinstance(hx, tuple | list)
        return hx is None or (isinstance(hx, tuple | list) and len(hx) == 2)

    @property
    def _state_size(self) -> int:
        return 2 if self.cell == "lstm" else 1


class LSTM(_Recurrent, nn.LSTM):
    """A stack of LSTM layers, a drop-in replacement for `torch.nn.LSTM`.

    It also is one: ``isinstance(layer, torch.nn.LSTM)`` holds. Arguments, parameters, their
    initialization, `repr` and the types of errors are torch's: a `state_dict` moves either way, and
    the same seed gives the same parameters. Every error raised here is a `CharlmError` as well.

    While torch records or transforms operations (torch.jit, torch.export, ONNX, torch.func,
    forward-mode derivatives, a dispatch mode such as FakeTensorMode), on the meta device and for
    tensor subclasses, torch's own forward pass runs, in the parameters' precision.

    Refused, where torch accepts them:
        - `bidirectional`: a language model reads one way only.
        - `proj_size`: put a torch.nn.Linear after the layer.
        - A PackedSequence: pad the batch instead.
        - torch.fx.symbolic_trace, which looks into the layer; use torch.export.
        - Parameters replaced by others of shapes that do not fit.
        - Second derivatives with the fused engine: use ``engine="reference"``.
        - A batch of gradients at once (is_grads_batched, vectorized Jacobians).
        - Recording or transforming in training with `locked_dropout` or `weight_dropout`: call
          ``eval()`` first.

    Other differences:
        - Inside `torch.autocast`, outputs and states keep the parameters' type. Products are
          bfloat16 where autocast asks for it, and float32 where it asks for float16.
        - Dropout between layers draws other numbers than torch's from the same seed.
        - Code that compares ``type(layer)`` with torch's class, such as dynamic quantization, does
          not recognize the layer.

    Args, where they are not torch's:
        engine: `reference` computes as `charlm.recurrent.equations` reads, in the parameters'
            precision; `fused` runs our own kernels; `torch` runs torch's own functions; `auto`
            takes the fastest of the last two.
        precision: `bfloat16` multiplies in bfloat16 where the processor does so fast, and keeps
            states and parameters in float32. ``torch.autocast`` selects it too.
        locked_dropout: draw the dropout between layers once for all steps.
        weight_dropout: probability with which a recurrent weight is dropped, for all steps.

    Raises:
        CharlmError: an argument is not supported or out of range; also a ValueError or TypeError.
    """

    cell = "lstm"
    gates = 4

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over a sequence.

        Args:
            input: (T, B, input_size), or (B, T, input_size) with `batch_first`; (T, input_size)
                for one example without a batch.
            hx: hidden and cell state (h, c), each (num_layers, B, H), or (num_layers, H) for one
                example; zeros by default.

        Returns:
            The last layer's hidden state after each step, (T, B, H) or (B, T, H), and the state
            after the last step, (h, c).

        Raises:
            CharlmError: an argument does not fit; also the type that torch raises.
        """
        if not self._is_state(hx):
            return self._torch_call(input, hx)  # type: ignore[no-any-return]
        outputs, (h, c) = self._forward(input, None if hx is None else tuple(hx))
        return outputs, (h, c)


class GRU(_Recurrent, nn.GRU):
    """A stack of GRU layers, a drop-in replacement for `torch.nn.GRU`.

    What is said of `LSTM` holds for it, too.
    """

    cell = "gru"
    gates = 3

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a sequence.

        Args:
            input: (T, B, input_size), or (B, T, input_size) with `batch_first`; (T, input_size)
                for one example without a batch.
            hx: hidden state (num_layers, B, H), or (num_layers, H) for one example; zeros by
                default.

        Returns:
            The last layer's hidden state after each step, (T, B, H) or (B, T, H), and the state
            after the last step.

        Raises:
            CharlmError: an argument does not fit; also the type that torch raises.
        """
        if not self._is_state(hx):
            return self._torch_call(input, hx)  # type: ignore[no-any-return]
        outputs, (h,) = self._forward(input, None if hx is None else (hx,))
        return outputs, h
