"""`LSTM` and `GRU`: drop-in replacements for `torch.nn.LSTM` and `torch.nn.GRU`."""

from collections.abc import Callable
from contextlib import suppress
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from charlm.recurrent.checks import (
    check_eager,
    check_indices,
    check_input,
    check_parameters,
    check_state_parts,
    check_state_shape,
    check_table,
)
from charlm.recurrent.cpu.launch import can_run_kernels
from charlm.recurrent.cpu.stepper import CPUStepper
from charlm.recurrent.eager import is_eager
from charlm.recurrent.engines.base import State
from charlm.recurrent.module import RecurrentModule
from charlm.recurrent.sequence import run_sequence
from charlm.recurrent.stepper import Stepper


class _Recurrent(RecurrentModule):
    """The methods that `LSTM` and `GRU` share; in them, a state is a tuple for both cells."""

    def forward_indices(
        self, indices: Tensor, table: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Run over rows of a table: the same as ``self(table[indices])``, but faster.

        The first layer's input product is then a look-up of rows of ``table @ weight_ih.T``.

        Args:
            indices: rows of the table, integers of shape (T, B), or (B, T) with `batch_first`.
            table: input vectors (V, input_size), such as an embedding's weights; it gets a
                gradient.
            state: the initial state, (h, c) of an LSTM or (h,) of a GRU: a tuple for both cells,
                each part (num_layers, B, H). Zeros by default.

        Returns:
            The last layer's hidden state after each step, (T, B, H) or (B, T, H), and the state
            after the last step, a tuple as above.

        Raises:
            CharlmError: an argument does not fit.
        """
        parameters = self.all_weights
        check_state_parts(self, state)
        if not is_eager(indices, table, *(state or ()), *parameters[0]):
            return self._run_torch(functional.embedding(indices, table), state)
        check_indices(self, indices, table)
        check_table(self, table, parameters[0][0])
        if self.batch_first:
            indices = indices.T
        outputs, final = run_sequence(
            self,
            table,
            indices=indices,
            state=state,
            parameters=parameters,
            training=self.training,
        )
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
        parameters = self.all_weights
        weight = parameters[0][0]
        check_eager(self, weight)
        check_parameters(self, parameters)
        if table is not None:
            check_table(self, table, weight)
        precision = self._precision_for(weight)
        fused = self._pick_engine(weight) == "fused"
        if fused and weight.device.type == "cpu" and can_run_kernels(weight.dtype):
            return CPUStepper(self, batch_size, table, precision)
        if fused and weight.is_cuda and weight.dtype == torch.float32:
            with suppress(ImportError):  # no Triton
                from charlm.recurrent.gpu.stepper import GPUStepper

                return GPUStepper(self, batch_size, table, precision)
        return Stepper(self, batch_size, table)

    def _run(self, input: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run over a sequence in either layout; the arguments of `forward`."""
        parameters = self.all_weights
        if not is_eager(input, *(state or ()), *parameters[0]):
            return self._run_torch(input, state)
        check_input(self, input, parameters[0][0])
        unbatched = input.dim() == 2
        if unbatched:
            if state is not None:
                check_state_shape(self, state, (self.num_layers, self.hidden_size), input)
                state = tuple(part.unsqueeze(1) for part in state)
            input = input.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
        outputs, final = run_sequence(
            self, input, indices=None, state=state, parameters=parameters, training=self.training
        )
        if unbatched:
            return outputs.squeeze(1), tuple(part.squeeze(1) for part in final)
        return outputs.transpose(0, 1) if self.batch_first else outputs, final

    def _run_torch(self, input: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run torch's own forward pass."""
        hx = state[0] if state is not None and self.cell == "gru" else state
        outputs, final = self._call_torch(input, hx)
        return outputs, final if isinstance(final, tuple) else (final,)

    def _call_torch(self, input: Tensor, hx: object) -> tuple[Tensor, Tensor | State]:
        """Call torch's own `forward`, which also says what is wrong with a state."""
        self._refuse("a PackedSequence", isinstance(input, PackedSequence), "pad the batch instead")
        self._refuse_own_dropout()
        forward: Callable[..., tuple[Tensor, Tensor | State]] = super().forward
        return forward(input, hx)


class LSTM(_Recurrent, nn.LSTM):
    """A stack of LSTM layers, a drop-in replacement for `torch.nn.LSTM`.

    It is a subclass of `torch.nn.LSTM`, with the same arguments, parameters, initialization and
    `repr`: a `state_dict` can be loaded into either class, and the same seed gives the same
    parameters. Errors have the types of torch's errors, and each is a `CharlmError`, too.

    While torch records or transforms operations (torch.jit, torch.export, ONNX, torch.func,
    forward-mode derivatives, a dispatch mode such as FakeTensorMode), on the meta device and for
    tensor subclasses, torch's own forward pass runs, in the parameters' precision.

    Not supported, although torch accepts it:
        - `bidirectional`: a language model reads in one direction only.
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
        - With the same seed, dropout between layers drops other outputs than in torch.
        - Code that compares ``type(layer)`` with torch's class, such as dynamic quantization, does
          not recognize the layer.

    Args, besides torch's:
        engine: `reference` computes `charlm.recurrent.equations` as written, in the parameters'
            precision; `fused` runs our own kernels; `torch` runs torch's functions; `auto` takes
            the faster of `fused` and `torch`.
        precision: `bfloat16` multiplies in bfloat16 if the processor is fast at it, and keeps
            states and parameters in float32. ``torch.autocast`` selects it, too.
        locked_dropout: whether dropout between layers drops the same outputs in all steps.
        weight_dropout: the probability that a recurrent weight is dropped, for all steps.

    Raises:
        CharlmError: an argument is not supported or out of range; also a ValueError or TypeError.

    >>> import torch
    >>> layer = LSTM(5, 8)
    >>> outputs, (h, c) = layer(torch.zeros(7, 3, 5))
    >>> outputs.shape, h.shape
    (torch.Size([7, 3, 8]), torch.Size([1, 3, 8]))
    """

    cell = "lstm"

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
        if not _is_pair_or_none(hx):
            return cast("tuple[Tensor, tuple[Tensor, Tensor]]", self._call_torch(input, hx))
        outputs, (h, c) = self._run(input, None if hx is None else tuple(hx))
        return outputs, (h, c)


class GRU(_Recurrent, nn.GRU):
    """A stack of GRU layers, a drop-in replacement for `torch.nn.GRU`; see `LSTM` for details."""

    cell = "gru"

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
        if _is_sequence(hx):
            return cast("tuple[Tensor, Tensor]", self._call_torch(input, hx))
        outputs, (h,) = self._run(input, None if hx is None else (hx,))
        return outputs, h


def _is_pair_or_none(hx: object) -> bool:
    return hx is None or (isinstance(hx, tuple | list) and len(hx) == 2)


def _is_sequence(hx: object) -> bool:
    return isinstance(hx, tuple | list)
