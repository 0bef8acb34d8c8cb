"""Types, devices, training, inference and autocast work as in torch."""

import pytest
import torch
from tests.recurrent.common import Layer
from tests.recurrent.dropin import Behaviours, New, gradients, x
from torch import Tensor, nn

from charlm.recurrent import EngineName

BEHAVIOURS = Behaviours(
    coarse=frozenset(
        {
            "autocast_bfloat16",
            "autocast_bfloat16_after_linear",
            "autocast_float16_after_linear",
            "autocast_backward",
        }
    )
)


@BEHAVIOURS.add
def double(new: New) -> object:
    layer = new(5, 6, 2).double()
    return gradients(layer, layer(x(dtype=torch.float64))[0])


@BEHAVIOURS.add
def half(new: New) -> object:
    return new(5, 6).half()(x(dtype=torch.float16))


@BEHAVIOURS.add
def bfloat16(new: New) -> object:
    return new(5, 6).bfloat16()(x(dtype=torch.bfloat16))


@BEHAVIOURS.add
def to_dtype_and_back(new: New) -> object:
    return new(5, 6).to(torch.float64).to(torch.float32)(x())


@BEHAVIOURS.add
def to_cpu(new: New) -> object:
    return new(5, 6).cpu().to("cpu").to(device="cpu")(x())


@BEHAVIOURS.add
def to_empty(new: New) -> object:
    layer = new(5, 6, device="meta").to_empty(device="cpu")
    torch.manual_seed(3)
    layer.reset_parameters()
    return layer(x())


@BEHAVIOURS.add
def share_memory(new: New) -> object:
    layer = new(5, 6).share_memory()
    return layer.weight_hh_l0.is_shared(), layer(x())


@BEHAVIOURS.add
def meta_shapes(new: New) -> object:
    outputs, state = new(5, 6, 2, device="meta")(x().to("meta"))
    return outputs.shape, str(outputs.device), state[0].shape


@BEHAVIOURS.add
def swapped_tensors(new: New) -> object:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return new(5, 6).double()(x(dtype=torch.float64))
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@BEHAVIOURS.add
def no_grad(new: New) -> object:
    with torch.no_grad():
        outputs, _ = new(5, 6)(x())
    return outputs.requires_grad, outputs


@BEHAVIOURS.add
def inference_mode(new: New) -> object:
    with torch.inference_mode():
        outputs, _ = new(5, 6)(x())
    return outputs.is_inference(), outputs.clone()


@BEHAVIOURS.add
def made_under_inference_mode(new: New) -> object:
    with torch.inference_mode():
        return new(5, 6)(x())


@BEHAVIOURS.add
def anomaly_detection(new: New) -> object:
    layer = new(5, 6)
    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        return gradients(layer, layer(x())[0])


@BEHAVIOURS.add
def train_and_eval(new: New) -> object:
    layer = new(5, 6, 2, dropout=0.5)
    return layer.training, layer.eval().training, layer(x())


@BEHAVIOURS.add
def all_is_dropped(new: New) -> object:
    return new(5, 6, 2, dropout=1.0)(x())


@BEHAVIOURS.add
def dropout_changes_in_training(new: New) -> object:
    layer = new(5, 60, 2, dropout=0.5)
    return torch.equal(layer(x())[0], layer(x())[0])


@BEHAVIOURS.add
def dropout_follows_the_seed(new: New) -> object:
    layer = new(5, 60, 2, dropout=0.5)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(layer(x())[0])
    return torch.equal(*found)


@BEHAVIOURS.add
def dropout_set_later(new: New) -> object:
    layer = new(5, 6, 2)
    layer.dropout = 1.0
    return layer(x())


@BEHAVIOURS.add
def batch_first_set_later(new: New) -> object:
    layer = new(5, 6)
    layer.batch_first = True
    return layer(x())


@BEHAVIOURS.add
def autocast_bfloat16(new: New) -> object:
    with torch.autocast("cpu", torch.bfloat16):
        return as_float(new(5, 6)(x()))


@BEHAVIOURS.add
def autocast_bfloat16_after_linear(new: New) -> object:
    with torch.autocast("cpu", torch.bfloat16):
        return as_float(new(5, 6)(nn.Linear(5, 5)(x())))


@BEHAVIOURS.add
def autocast_float16_after_linear(new: New) -> object:
    with torch.autocast("cpu", torch.float16):
        return as_float(new(5, 6)(nn.Linear(5, 5)(x())))


@BEHAVIOURS.add
def autocast_backward(new: New) -> object:
    layer = new(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(x())
    return gradients(layer, outputs.float())


@BEHAVIOURS.add
def autocast_disabled(new: New) -> object:
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        return new(5, 6)(x())


def as_float(results: tuple[Tensor, Tensor | tuple[Tensor, ...]]) -> object:
    outputs, state = results
    return outputs.float(), [p.float() for p in (state if isinstance(state, tuple) else [state])]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "engine", "name"), BEHAVIOURS.cases())
def test_types_and_modes_work_as_torch_s(cell: type[Layer], engine: EngineName, name: str) -> None:
    BEHAVIOURS.check(cell, engine, name)
