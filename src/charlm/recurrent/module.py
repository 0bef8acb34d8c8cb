"""The arguments and parameters that `LSTM` and `GRU` share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from charlm.recurrent.dropout import dropout_mask
from charlm.recurrent.engines.base import Cell, Engine, Parameters, Precision
from charlm.recurrent.errors import LayerRuntimeError, LayerTypeError, LayerValueError
from charlm.recurrent.selection import EngineName, PickedEngine, find_engine, pick_engine


class RecurrentModule(nn.RNNBase):
    """A stack of layers of one cell.

    A subclass also inherits from `torch.nn.LSTM` or `torch.nn.GRU`, behind this class: the calls of
    ``super()`` end there.
    """

    cell: Cell
    engine: EngineName
    precision: Precision
    locked_dropout: bool
    weight_dropout: float
    weight_hh_l0: Tensor  # (G·H, H)

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
        self._refuse("bidirectional", bidirectional, "a language model reads in one direction only")
        self._refuse("proj_size", proj_size, "put a torch.nn.Linear after the layer")
        torch_init: Callable[..., None] = super().__init__  # of torch.nn.LSTM or torch.nn.GRU
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

    @property
    def _name(self) -> str:
        return type(self).__name__

    def flatten_parameters(self) -> None:
        """Do nothing: torch's layers copy their weights into one block for cuDNN, ours do not."""

    def extra_repr(self) -> str:
        """Describe the layer when it is printed, with those of our arguments that are not defaults.

        >>> from charlm.recurrent import GRU
        >>> GRU(5, 8, engine="reference")
        GRU(5, 8, engine=reference)
        """
        own = {"engine": "auto", "precision": "float32", "locked_dropout": False}
        own["weight_dropout"] = 0.0
        changed = [f"{k}={getattr(self, k)}" for k, v in own.items() if getattr(self, k) != v]
        return ", ".join([super().extra_repr(), *changed])

    def __prepare_scriptable__(self) -> nn.Module:
        """Return a layer of torch's with the same parameters, for `torch.jit.script`."""
        self._refuse_own_dropout()
        base = nn.LSTM if self.cell == "lstm" else nn.GRU
        layer = base(
            self.input_size, self.hidden_size, self.num_layers, self.bias, self.batch_first,
            self.dropout, device="meta",
        )  # fmt: skip
        for name in list(layer._parameters):
            setattr(layer, name, getattr(self, name))
        return layer.train(self.training)

    @property
    def picked_engine(self) -> PickedEngine:
        """The engine that runs: `engine`, or what `auto` stands for where the parameters are."""
        return self._pick_engine(self.weight_hh_l0)

    def _find_engine(self, weight: Tensor) -> Engine:
        return find_engine(self._pick_engine(weight), weight.device)

    def _pick_engine(self, weight: Tensor) -> PickedEngine:
        return pick_engine(
            self.engine,
            self.cell,
            hidden_size=self.hidden_size,
            precision=self._precision_for(weight),
            device=weight.device,
            dtype=weight.dtype,
        )

    def _precision_for(self, weight: Tensor) -> Precision:
        """Return `precision`, or bfloat16 inside ``torch.autocast(…, torch.bfloat16)``."""
        device = weight.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
            return "bfloat16"
        return self.precision

    def _layer_parameters(self, parameters: Sequence[Tensor], training: bool) -> Parameters:
        """Return one layer's parameters with zeros for missing biases.

        In training, DropConnect on the recurrent weights, one draw for all steps: S. Merity,
        N. S. Keskar, R. Socher: Regularizing and optimizing LSTM language models. ICLR 2018.

        Args:
            parameters: the layer's row of `all_weights`.
            training: whether `weight_dropout` is active.
        """
        weight_ih, weight_hh, *biases = parameters
        if training and self.weight_dropout:
            weight_hh = weight_hh * dropout_mask(weight_hh, self.weight_dropout)
        if not biases:
            biases = [weight_ih.new_zeros(weight_ih.shape[0])] * 2
        return Parameters(weight_ih, weight_hh, *biases)

    def _refuse(self, what: str, given: object, instead: str) -> None:
        if given:
            raise LayerValueError(f"{self._name}: {what} is not supported; {instead}")

    def _refuse_own_dropout(self) -> None:
        locked = self.locked_dropout and self.dropout > 0 and self.num_layers > 1
        if self.training and (locked or self.weight_dropout > 0):
            raise LayerRuntimeError(
                f"{self._name}: locked_dropout and weight_dropout cannot be recorded or "
                "transformed; call eval() first"
            )
