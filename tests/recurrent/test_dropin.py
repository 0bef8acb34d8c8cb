"""Drop-in replacements: what torch's layers do, run on theirs and on ours.

A behaviour is a function of the class. It gives the same numbers with both, or both raise, ours an
error of torch's type. `REFUSED` names what we refuse although torch accepts it, with the word of
the class's docstring that tells so.
"""

import copy
import io
import pickle
import re
import threading
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils import checkpoint

from charlm.errors import CharlmError
from charlm.recurrent import GRU, LSTM

ENGINES = ("reference", "fused", "auto", "torch")
BEHAVIOURS = {}
REFUSED = {
    "bidirectional": "bidirectional",
    "proj_size": "proj_size",
    "packed": "PackedSequence",
    "packed_with_state": "PackedSequence",
    "symbolic_trace": "torch.fx.symbolic_trace",
    "second_derivatives": "Second derivatives",
    "hessian": "Second derivatives",
    "weight_hh_with_fewer_columns": "shapes that do not fit",
    "weight_hh_with_more_columns": "shapes that do not fit",
    "weight_hh_with_fewer_rows": "shapes that do not fit",
    "weight_ih_with_fewer_columns": "shapes that do not fit",
    "weight_ih_with_more_rows": "shapes that do not fit",
    "functional_call_of_other_shape": "shapes that do not fit",
    "batched_gradients": "is_grads_batched",
    "vectorized_jacobian": "vectorized Jacobians",
}
"""Some of it only by some engines: the reference engine has second derivatives."""
COARSE = {"autocast_bfloat16", "autocast_bfloat16_after_linear", "autocast_float16_after_linear",
          "autocast_backward"}  # fmt: skip
"""Computed in 16 bits by torch, and by us at least in part."""


def behaviour(function):
    BEHAVIOURS[function.__name__] = function
    return function


def is_lstm(new):
    return issubclass(new.func if isinstance(new, partial) else new, nn.LSTM)


def like(new, state):
    return (state, state + 1) if is_lstm(new) else state


def x(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(shape or (4, 3, 5), generator=generator, dtype=torch.float64).to(dtype)


def gradients(layer, outputs):
    layer.zero_grad()
    outputs.square().sum().backward()
    return {name: p.grad for name, p in layer.named_parameters()}


# Constructor


@behaviour
def attributes(new):
    layer = new(5, 6, 2, False, True, 0.25)
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
             "bidirectional", "proj_size", "mode", "training")  # fmt: skip
    return [getattr(layer, name) for name in names]


@behaviour
def keywords(new):
    return new(input_size=5, hidden_size=6, num_layers=2, bias=True, batch_first=True, dropout=0.0,
             bidirectional=False, device="cpu", dtype=torch.float64).all_weights  # fmt: skip


@behaviour
def initial_parameters(new):
    return dict(new(5, 6, 3).named_parameters())


@behaviour
def initial_parameters_without_biases(new):
    return dict(new(5, 6, 2, bias=False).named_parameters())


@behaviour
def order_of_parameters(new):
    return [name for name, _ in new(5, 6, 2).named_parameters()]


@behaviour
def order_of_state_dict(new):
    return list(new(5, 6, 2).state_dict())


@behaviour
def modules(new):
    return len(list(new(5, 6, 2).modules())), len(list(new(5, 6, 2).buffers()))


@behaviour
def all_weights(new):
    return new(5, 6, 2).all_weights


@behaviour
def default_dtype(new):
    torch.set_default_dtype(torch.float64)
    try:
        return new(5, 6)(torch.ones(2, 1, 5))
    finally:
        torch.set_default_dtype(torch.float32)


@behaviour
def default_device(new):
    with torch.device("meta"):
        layer = new(5, 6)
    return str(layer.weight_ih_l0.device), layer.weight_ih_l0.shape


@behaviour
def isinstance_of_torch_s(new):
    layer = new(5, 6)
    return isinstance(layer, nn.RNNBase), isinstance(layer, nn.LSTM), isinstance(layer, nn.GRU)


def text_of(*arguments, **options):
    return lambda new: repr(new(*arguments, **options))


for name, function in {
    "repr": text_of(5, 6),
    "repr_of_layers": text_of(5, 6, 2),
    "repr_of_all": text_of(5, 6, 2, bias=False, batch_first=True, dropout=0.5),
    "repr_in_a_model": lambda new: repr(nn.Sequential(new(5, 6), nn.Linear(6, 2))),
}.items():
    BEHAVIOURS[name] = function

for name, arguments, options in [
    ("no_arguments", (), {}),
    ("one_argument", (5,), {}),
    ("unknown_argument", (5, 6), {"nonsense": 1}),
    ("input_size_0", (0, 6), {}),
    ("input_size_negative", (-1, 6), {}),
    ("input_size_float", (5.0, 6), {}),
    ("input_size_text", ("5", 6), {}),
    ("input_size_none", (None, 6), {}),
    ("hidden_size_0", (5, 0), {}),
    ("hidden_size_negative", (5, -6), {}),
    ("hidden_size_float", (5, 6.0), {}),
    ("num_layers_0", (5, 6, 0), {}),
    ("num_layers_negative", (5, 6, -1), {}),
    ("num_layers_float", (5, 6, 1.5), {}),
    ("num_layers_text", (5, 6, "2"), {}),
    ("bias_number", (5, 6, 1, 1), {}),
    ("bias_none", (5, 6), {"bias": None}),
    ("batch_first_number", (5, 6), {"batch_first": 1}),
    ("dropout_above_1", (5, 6, 2), {"dropout": 1.5}),
    ("dropout_negative", (5, 6, 2), {"dropout": -0.1}),
    ("dropout_nan", (5, 6, 2), {"dropout": float("nan")}),
    ("dropout_bool", (5, 6, 2), {"dropout": True}),
    ("dropout_text", (5, 6, 2), {"dropout": "much"}),
    ("dropout_none", (5, 6, 2), {"dropout": None}),
    ("proj_size_negative", (5, 6), {"proj_size": -1}),
    ("proj_size_too_large", (5, 6), {"proj_size": 6}),
    ("integer_parameters", (5, 6), {"dtype": torch.int64}),
    ("dtype_text", (5, 6), {"dtype": "float32"}),
    ("unknown_device", (5, 6), {"device": "moon"}),
]:

    def construct(new, arguments=arguments, options=options):
        return repr(new(*arguments, **options))

    BEHAVIOURS[name] = construct


@behaviour
def warning_for_dropout_with_one_layer(new):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        new(5, 6, dropout=0.5)
        new(5, 6, 2, dropout=0.5)
    return [(each.category.__name__, str(each.message)) for each in caught]


@behaviour
def bidirectional(new):
    return new(5, 6, bidirectional=True)(x())


@behaviour
def proj_size(new):
    return new(5, 6, proj_size=3)(x()) if is_lstm(new) else new(5, 6, 1, True, False, 0.0, False, 3)


# Forward pass


@behaviour
def forward(new):
    return new(5, 6, 2)(x())


@behaviour
def forward_with_state(new):
    return new(5, 6, 2)(x(), like(new, x(2, 3, 6)))


@behaviour
def hx_by_name(new):
    return new(5, 6)(input=x(), hx=like(new, x(1, 3, 6)))


@behaviour
def hx_none(new):
    return new(5, 6)(x(), None)


@behaviour
def hx_as_list(new):
    return new(5, 6)(x(), list(like(new, x(1, 3, 6)))) if is_lstm(new) else new(5, 6)(x())


@behaviour
def type_of_results(new):
    outputs, state = new(5, 6)(x())
    return type(outputs).__name__, type(state).__name__


@behaviour
def batch_first(new):
    return new(5, 6, 2, batch_first=True)(x(), like(new, x(2, 4, 6)))


@behaviour
def unbatched(new):
    return new(5, 6, 2)(x(4, 5), like(new, x(2, 6)))


@behaviour
def unbatched_without_state(new):
    return new(5, 6, 2)(x(4, 5))


@behaviour
def unbatched_batch_first(new):
    return new(5, 6, 2, batch_first=True)(x(4, 5), like(new, x(2, 6)))


@behaviour
def without_biases(new):
    return new(5, 6, 2, bias=False)(x())


@behaviour
def one_step(new):
    return new(5, 6)(x(1, 1, 5))


@behaviour
def one_feature(new):
    return new(1, 1)(x(3, 2, 1))


@behaviour
def empty_batch(new):
    return new(5, 6)(x(4, 0, 5))


@behaviour
def step_by_step(new):
    layer, state, outputs = new(5, 6), None, []
    for step in x():
        output, state = layer(step[None], state)
        outputs.append(output)
    return outputs, state


@behaviour
def truncated_backward(new):
    layer = new(5, 6)
    _, state = layer(x())
    state = tuple(part.detach() for part in state) if is_lstm(new) else state.detach()
    return gradients(layer, layer(x(), state)[0])


@behaviour
def backward(new):
    layer = new(5, 6, 2)
    return gradients(layer, layer(x())[0])


@behaviour
def backward_to_inputs_and_state(new):
    inputs, state = x().requires_grad_(), x(1, 3, 6).requires_grad_()
    outputs, final = new(5, 6)(inputs, (state, state.cos()) if is_lstm(new) else state)
    last = final[1] if is_lstm(new) else final
    return torch.autograd.grad(outputs.sum() + last.square().sum(), (inputs, state))


@behaviour
def backward_from_the_state_alone(new):
    layer = new(5, 6)
    state = layer(x())[1]
    return gradients(layer, state[0] if is_lstm(new) else state)


@behaviour
def non_contiguous_inputs(new):
    return new(5, 6)(x(3, 5, 4).permute(2, 0, 1)), new(5, 6)(x(4, 3, 10)[..., ::2])


@behaviour
def expanded_inputs(new):
    return new(5, 6)(x(1, 1, 5).expand(4, 3, 5), like(new, x(1, 1, 6).expand(1, 3, 6)))


@behaviour
def offset_inputs(new):
    return new(5, 6)(x(61)[1:].view(4, 3, 5))


@behaviour
def same_tensor_for_h_and_c(new):
    state = x(1, 3, 6)
    return new(5, 6)(x(), (state, state) if is_lstm(new) else state)


@behaviour
def inputs_that_are_parameters(new):
    inputs = nn.Parameter(x())
    new(5, 6)(inputs)[0].sum().backward()
    return inputs.grad


@behaviour
def results_are_not_changed_by_later_calls(new):
    layer = new(5, 6)
    first = layer(x())
    kept = copy.deepcopy([part.detach() for part in (first[0], first[1][0])])
    layer(x() + 1)
    return kept, first[0], first[1][0]


@behaviour
def extreme_inputs(new):
    return new(5, 6)(x() * 1e30)


for name, inputs, state in [
    ("input_of_1_dimension", x(5), None),
    ("input_of_4_dimensions", x(2, 4, 3, 5), None),
    ("input_of_0_dimensions", torch.zeros(()), None),
    ("input_of_other_size", x(4, 3, 4), None),
    ("unbatched_input_of_other_size", x(4, 4), None),
    ("input_double", x(dtype=torch.float64), None),
    ("input_half", x(dtype=torch.float16), None),
    ("input_integer", torch.ones(4, 3, 5, dtype=torch.int64), None),
    ("input_bool", torch.ones(4, 3, 5, dtype=torch.bool), None),
    ("input_complex", torch.ones(4, 3, 5, dtype=torch.complex64), None),
    ("input_sparse", x().to_sparse(), None),
    ("input_meta", x().to("meta"), None),
    ("input_list", [[1.0] * 5], None),
    ("input_none", None, None),
    ("input_array", x().numpy(), None),
    ("no_steps", x(0, 3, 5), None),
    ("no_steps_unbatched", x(0, 5), None),
    ("state_of_other_batch", x(), x(1, 2, 6)),
    ("state_of_other_size", x(), x(1, 3, 5)),
    ("state_of_other_layers", x(), x(2, 3, 6)),
    ("state_of_2_dimensions", x(), x(3, 6)),
    ("state_of_4_dimensions", x(), x(1, 1, 3, 6)),
    ("unbatched_state_of_3_dimensions", x(4, 5), x(1, 1, 6)),
    ("unbatched_state_of_other_size", x(4, 5), x(1, 5)),
    ("state_double", x(), x(1, 3, 6, dtype=torch.float64)),
    ("state_integer", x(), torch.ones(1, 3, 6, dtype=torch.int64)),
    ("state_meta", x(), x(1, 3, 6).to("meta")),
]:

    def call(new, inputs=inputs, state=state):
        return new(5, 6)(inputs, None if state is None else like(new, state))

    BEHAVIOURS[name] = call

for name, make in {
    "state_number": lambda h: 5,
    "state_text": lambda h: "zero",
    "state_empty": lambda h: (),
    "state_of_one": lambda h: (h,),
    "state_of_three": lambda h: (h, h, h),
    "state_with_none": lambda h: (h, None),
    "state_stacked": lambda h: torch.stack([h, h]),
    "state_dictionary": lambda h: {"h": h},
}.items():

    def call_with(new, make=make):
        return new(5, 6)(x(), make(x(1, 3, 6)))

    BEHAVIOURS[name] = call_with


@behaviour
def state_of_the_other_cell(new):
    state = x(1, 3, 6)
    return new(5, 6)(x(), state if is_lstm(new) else (state, state))


@behaviour
def too_many_arguments(new):
    return new(5, 6)(x(), None, None)


@behaviour
def state_by_another_name(new):
    return new(5, 6)(x(), state=None)


@behaviour
def packed(new):
    sequence = nn.utils.rnn.pack_sequence([x(3, 5), x(2, 5)])
    return new(5, 6)(sequence)[0].data


@behaviour
def packed_with_state(new):
    sequence = nn.utils.rnn.pack_padded_sequence(x(), [4, 2, 1])
    return new(5, 6)(sequence, like(new, x(1, 3, 6)))[0].data


# In-place operations on results


@behaviour
def in_place_on_the_state(new):
    layer = new(5, 6)
    state = layer(x())[1]
    return gradients(layer, (state[0] if is_lstm(new) else state).mul_(2))


@behaviour
def in_place_without_gradients(new):
    with torch.no_grad():
        outputs, state = new(5, 6)(x())
        return outputs.relu_(), (state[0] if is_lstm(new) else state).add_(1)


@behaviour
def in_place_under_inference(new):
    with torch.inference_mode():
        return new(5, 6)(x())[0].relu_()


# Parameters


@behaviour
def load_state_dict(new):
    layer, other = new(5, 6, 2), new(5, 6, 2)
    result = other.load_state_dict(layer.state_dict())
    return str(result), other(x())


@behaviour
def load_state_dict_assign(new):
    layer, other = new(5, 6), new(5, 6, device="meta")
    other.load_state_dict(layer.state_dict(), assign=True)
    return other(x())


@behaviour
def load_missing(new):
    state = new(5, 6).state_dict()
    del state["bias_hh_l0"]
    return new(5, 6).load_state_dict(state)


@behaviour
def load_missing_not_strict(new):
    state = new(5, 6).state_dict()
    del state["bias_hh_l0"]
    return str(new(5, 6).load_state_dict(state, strict=False))


@behaviour
def load_unexpected(new):
    return new(5, 6).load_state_dict(new(5, 6, 2).state_dict())


@behaviour
def load_other_size(new):
    return new(5, 6).load_state_dict(new(5, 7).state_dict())


@behaviour
def load_into_torch_s(new):
    peer = (nn.LSTM if is_lstm(new) else nn.GRU)(5, 6, 2)
    peer.load_state_dict(new(5, 6, 2).state_dict())
    return peer(x())


@behaviour
def load_from_torch_s(new):
    layer = new(5, 6, 2)
    layer.load_state_dict((nn.LSTM if is_lstm(new) else nn.GRU)(5, 6, 2).state_dict())
    return layer(x())


@behaviour
def reset_parameters(new):
    layer = new(5, 6, 2)
    torch.manual_seed(3)
    layer.reset_parameters()
    return layer(x())


@behaviour
def flatten_parameters(new):
    layer = new(5, 6)
    return layer.flatten_parameters(), layer(x())


@behaviour
def deepcopy(new):
    layer = new(5, 6, 2)
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
    return copied(x()), layer(x())


@behaviour
def save_and_load_a_module(new):
    layer, buffer = new(5, 6, 2), io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)(x())


@behaviour
def pickled(new):
    layer = pickle.loads(pickle.dumps(new(5, 6, 2, batch_first=True)))
    return layer(x()), repr(layer)


@behaviour
def save_and_load_a_state_dict(new):
    layer, buffer = new(5, 6, 2), io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    layer.reset_parameters()
    layer.load_state_dict(torch.load(buffer))
    return layer(x())


@behaviour
def frozen(new):
    layer = new(5, 6).requires_grad_(False)
    outputs, _ = layer(x())
    return outputs.requires_grad, outputs


@behaviour
def partly_frozen(new):
    layer = new(5, 6, 2)
    layer.weight_hh_l0.requires_grad_(False)
    layer.bias_ih_l1.requires_grad_(False)
    layer(x())[0].sum().backward()
    return {name: p.grad for name, p in layer.named_parameters()}


@behaviour
def frozen_with_inputs(new):
    inputs = x().requires_grad_()
    new(5, 6).requires_grad_(False)(inputs)[0].sum().backward()
    return inputs.grad


@behaviour
def zero_grad(new):
    layer = new(5, 6)
    layer(x())[0].sum().backward()
    layer.zero_grad()
    cleared = [p.grad for p in layer.parameters()]
    layer(x())[0].sum().backward()
    layer.zero_grad(set_to_none=False)
    return cleared, [p.grad for p in layer.parameters()]


@behaviour
def replaced_parameter(new):
    layer = new(5, 6)
    layer.weight_hh_l0 = nn.Parameter(x(layer.weight_hh_l0.shape[0], 6))
    return layer(x())


@behaviour
def replaced_by_a_tensor(new):
    layer = new(5, 6)
    layer.weight_hh_l0 = x(3, 3)
    return layer(x())


@behaviour
def replaced_data(new):
    layer = new(5, 6)
    layer.weight_hh_l0.data = x(layer.weight_hh_l0.shape[0], 6)
    layer.bias_ih_l0.data.zero_()
    return layer(x())


@behaviour
def shared_between_layers(new):
    layer = new(6, 6, 2)
    layer.weight_ih_l1, layer.weight_hh_l1 = layer.weight_ih_l0, layer.weight_hh_l0
    return gradients(layer, layer(x(4, 3, 6))[0])


@behaviour
def shared_between_modules(new):
    first, second = new(6, 6), new(6, 6)
    second.weight_hh_l0 = first.weight_hh_l0
    return gradients(first, second(first(x(4, 3, 6))[0])[0])


@behaviour
def used_twice(new):
    layer = new(5, 6)
    return gradients(layer, layer(x())[0] + layer(x() * 2)[0])


@behaviour
def tied_to_an_embedding(new):
    layer, embedding = new(6, 6), nn.Embedding(7, 6)
    outputs, _ = layer(embedding(torch.arange(7)[:, None]))
    return gradients(layer, outputs @ embedding.weight.T), embedding.weight.grad


def with_weight(shape):
    def run(new):
        layer = new(5, 6)
        name, *size = shape
        rows = layer.weight_hh_l0.shape[0]
        size[0] += rows
        setattr(layer, name, nn.Parameter(x(*size)))
        return layer(x())

    return run


for name, shape in {
    "weight_hh_with_fewer_columns": ("weight_hh_l0", 0, 5),
    "weight_hh_with_more_columns": ("weight_hh_l0", 0, 7),
    "weight_hh_with_fewer_rows": ("weight_hh_l0", -6, 6),
    "weight_ih_with_fewer_columns": ("weight_ih_l0", 0, 4),
    "weight_ih_with_more_rows": ("weight_ih_l0", 6, 5),
    "bias_ih_too_short": ("bias_ih_l0", -6),
    "bias_hh_too_long": ("bias_hh_l0", 6),
}.items():
    BEHAVIOURS[name] = with_weight(shape)


def with_dtype(name, dtype):
    def run(new):
        layer = new(5, 6)
        parameter = getattr(layer, name)
        parameter.data = parameter.data.to(dtype)
        return layer(x())

    return run


for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
    BEHAVIOURS[f"{name}_double"] = with_dtype(name, torch.float64)
    BEHAVIOURS[f"{name}_meta"] = with_dtype(name, "meta")


# Types and devices


@behaviour
def double(new):
    layer = new(5, 6, 2).double()
    return gradients(layer, layer(x(dtype=torch.float64))[0])


@behaviour
def half(new):
    return new(5, 6).half()(x(dtype=torch.float16))


@behaviour
def bfloat16(new):
    return new(5, 6).bfloat16()(x(dtype=torch.bfloat16))


@behaviour
def to_dtype_and_back(new):
    return new(5, 6).to(torch.float64).to(torch.float32)(x())


@behaviour
def to_cpu(new):
    return new(5, 6).cpu().to("cpu").to(device="cpu")(x())


@behaviour
def to_empty(new):
    layer = new(5, 6, device="meta").to_empty(device="cpu")
    torch.manual_seed(3)
    layer.reset_parameters()
    return layer(x())


@behaviour
def share_memory(new):
    layer = new(5, 6).share_memory()
    return layer.weight_hh_l0.is_shared(), layer(x())


@behaviour
def meta_shapes(new):
    outputs, state = new(5, 6, 2, device="meta")(x().to("meta"))
    return outputs.shape, str(outputs.device), state[0].shape


@behaviour
def swapped_tensors(new):
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return new(5, 6).double()(x(dtype=torch.float64))
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


# Modes


@behaviour
def no_grad(new):
    with torch.no_grad():
        outputs, _ = new(5, 6)(x())
    return outputs.requires_grad, outputs


@behaviour
def inference_mode(new):
    with torch.inference_mode():
        outputs, _ = new(5, 6)(x())
    return outputs.is_inference(), outputs.clone()


@behaviour
def made_under_inference_mode(new):
    with torch.inference_mode():
        return new(5, 6)(x())


@behaviour
def anomaly_detection(new):
    layer = new(5, 6)
    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        return gradients(layer, layer(x())[0])


@behaviour
def train_and_eval(new):
    layer = new(5, 6, 2, dropout=0.5)
    return layer.training, layer.eval().training, layer(x())


@behaviour
def all_is_dropped(new):
    return new(5, 6, 2, dropout=1.0)(x())


@behaviour
def dropout_changes_in_training(new):
    layer = new(5, 60, 2, dropout=0.5)
    return torch.equal(layer(x())[0], layer(x())[0])


@behaviour
def dropout_follows_the_seed(new):
    layer = new(5, 60, 2, dropout=0.5)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(layer(x())[0])
    return torch.equal(*found)


@behaviour
def dropout_set_later(new):
    layer = new(5, 6, 2)
    layer.dropout = 1.0
    return layer(x())


@behaviour
def batch_first_set_later(new):
    layer = new(5, 6)
    layer.batch_first = True
    return layer(x())


@behaviour
def autocast_bfloat16(new):
    with torch.autocast("cpu", torch.bfloat16):
        return as_float(new(5, 6)(x()))


@behaviour
def autocast_bfloat16_after_linear(new):
    with torch.autocast("cpu", torch.bfloat16):
        return as_float(new(5, 6)(nn.Linear(5, 5)(x())))


@behaviour
def autocast_float16_after_linear(new):
    with torch.autocast("cpu", torch.float16):
        return as_float(new(5, 6)(nn.Linear(5, 5)(x())))


@behaviour
def autocast_backward(new):
    layer = new(5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = layer(x())
    return gradients(layer, outputs.float())


@behaviour
def autocast_disabled(new):
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        return new(5, 6)(x())


def as_float(results):
    outputs, state = results
    return outputs.float(), [p.float() for p in (state if isinstance(state, tuple) else [state])]


# Hooks and wrappers


@behaviour
def forward_hooks(new):
    layer, seen = new(5, 6), []
    layer.register_forward_pre_hook(lambda module, given: (given[0] * 2,))
    layer.register_forward_hook(lambda module, given, results: seen.append(results[0]))
    return layer(x()), seen


@behaviour
def forward_hook_with_kwargs(new):
    layer, seen = new(5, 6), []
    layer.register_forward_hook(
        lambda module, given, named, results: seen.extend(named), with_kwargs=True
    )
    layer(x(), hx=like(new, x(1, 3, 6)))
    return seen


@behaviour
def backward_hooks(new):
    layer, seen = new(5, 6), []
    layer.register_full_backward_hook(lambda module, given, results: seen.append(given[0]))
    layer(x().requires_grad_())[0].sum().backward()
    return seen


@behaviour
def tensor_hooks(new):
    layer, seen = new(5, 6), []
    layer.weight_hh_l0.register_hook(lambda gradient: seen.append(gradient.clone()) or gradient * 2)
    layer.bias_ih_l0.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    return gradients(layer, layer(x())[0]), sorted(seen, key=torch.Tensor.dim)


@behaviour
def apply_a_function(new):
    layer, seen = new(5, 6), []
    layer.apply(lambda module: seen.append(isinstance(module, nn.RNNBase)))
    return seen


@behaviour
def initialized_by_isinstance(new):
    def initialize(module):
        if isinstance(module, nn.LSTM | nn.GRU):
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    nn.init.orthogonal_(parameter)
                else:
                    nn.init.constant_(parameter, 0.1)

    return nn.Sequential(new(5, 6)).apply(initialize)(x())


@behaviour
def in_a_module_list(new):
    layers = nn.ModuleList([new(5, 5), new(5, 5)])
    inputs = x()
    for layer in layers:
        inputs, _ = layer(inputs)
    return inputs, list(layers.state_dict())


def checkpointed(use_reentrant):
    def run(new):
        layer, inputs = new(5, 6, 2), x().requires_grad_()
        outputs = checkpoint.checkpoint(lambda t: layer(t)[0], inputs, use_reentrant=use_reentrant)
        return gradients(layer, outputs), inputs.grad

    return run


BEHAVIOURS["checkpoint"] = checkpointed(False)
BEHAVIOURS["checkpoint_reentrant"] = checkpointed(True)


@behaviour
def saved_on_cpu(new):
    layer = new(5, 6)
    with torch.autograd.graph.save_on_cpu():
        outputs, _ = layer(x())
    return gradients(layer, outputs)


@behaviour
def threads(new):
    layer, found = new(5, 6), [None] * 4

    def run(number):
        found[number] = layer(x() * number)[0].detach()

    workers = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


@behaviour
def replicated(new):
    layer = new(5, 6)
    replica = layer._replicate_for_data_parallel()
    replica.weight_hh_l0 = layer.weight_hh_l0 * 2
    return replica(x()), layer(x())


@behaviour
def averaged_model(new):
    layer = new(5, 6)
    averaged = torch.optim.swa_utils.AveragedModel(layer)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(3)
    averaged.update_parameters(layer)
    return averaged(x())


@behaviour
def trained_by_adam(new):
    layer = new(5, 6)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x())[0].square().sum().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        optimizer.step()
    return layer(x())


@behaviour
def parameters_to_vector(new):
    layer = new(5, 6)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(vector * 2, layer.parameters())
    return layer(x())


# Parametrizations


@behaviour
def weight_norm(new):
    layer = parametrizations.weight_norm(new(5, 6), "weight_hh_l0")
    return gradients(layer, layer(x())[0]), repr(layer)


@behaviour
def weight_norm_by_hook(new):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = nn.utils.weight_norm(new(5, 6), "weight_hh_l0")
    return gradients(layer, layer(x())[0])


@behaviour
def spectral_norm(new):
    layer = parametrizations.spectral_norm(new(5, 6), "weight_hh_l0").eval()
    return gradients(layer, layer(x())[0])


@behaviour
def orthogonal(new):
    layer = parametrizations.orthogonal(new(5, 6), "weight_hh_l0")
    return gradients(layer, layer(x())[0])


@behaviour
def own_parametrization(new):
    class Double(nn.Module):
        def forward(self, weight):
            return 2 * weight

    layer = new(5, 6, 2)
    for name in ("weight_ih_l0", "bias_hh_l1"):
        parametrize.register_parametrization(layer, name, Double())
    with parametrize.cached():
        cached = layer(x())
    found = gradients(layer, layer(x())[0])
    parametrize.remove_parametrizations(layer, "weight_ih_l0")
    return cached, found, layer(x()), list(layer.state_dict())


@behaviour
def deepcopy_of_a_parametrized_layer(new):
    layer = parametrizations.weight_norm(new(5, 6), "weight_hh_l0")
    return copy.deepcopy(layer)(x())


@behaviour
def pruned(new):
    layer = new(5, 6)
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    found = gradients(layer, layer(x())[0])
    prune.remove(layer, "weight_hh_l0")
    return found, layer(x()), list(layer.state_dict())


@behaviour
def functional_call_with_tensors(new):
    layer = new(5, 6)
    values = {name: p.detach() * 2 for name, p in layer.named_parameters()}
    return torch.func.functional_call(layer, values, (x(),)), layer(x())


@behaviour
def functional_call_in_part(new):
    layer = new(5, 6)
    weight = (layer.weight_hh_l0.detach() * 2).requires_grad_()
    outputs, _ = torch.func.functional_call(layer, {"weight_hh_l0": weight}, (x(),))
    outputs.sum().backward()
    return weight.grad, layer.weight_hh_l0.grad


@behaviour
def functional_call_of_other_shape(new):
    weight = {"weight_hh_l0": x(3, 3)}
    return torch.func.functional_call(new(5, 6), weight, (x(),))


# Transformations


@behaviour
def functional_gradient(new):
    layer = new(5, 6)
    values = {name: p.detach() for name, p in layer.named_parameters()}
    return torch.func.grad(
        lambda v: torch.func.functional_call(layer, v, (x(),))[0].square().sum()
    )(values)


@behaviour
def vmap(new):
    return torch.vmap(new(5, 6))(x(2, 4, 3, 5))


@behaviour
def jvp(new):
    layer = new(5, 6)
    return torch.func.jvp(lambda t: layer(t)[0], (x(),), (x() + 1,))


@behaviour
def forward_derivative(new):
    layer = new(5, 6)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x(), x() + 1)
        return torch.autograd.forward_ad.unpack_dual(layer(dual)[0]).tangent


@behaviour
def jacobian(new):
    layer = new(5, 6)
    return torch.autograd.functional.jacobian(lambda t: layer(t)[0], x(2, 1, 5))


@behaviour
def vectorized_jacobian(new):
    layer = new(5, 6)
    return torch.autograd.functional.jacobian(lambda t: layer(t)[0], x(2, 1, 5), vectorize=True)


@behaviour
def batched_gradients(new):
    inputs = x().requires_grad_()
    outputs, _ = new(5, 6)(inputs)
    return torch.autograd.grad(outputs, inputs, x(7, *outputs.shape), is_grads_batched=True)


@behaviour
def second_derivatives(new):
    layer, inputs = new(5, 6), x().requires_grad_()
    (gradient,) = torch.autograd.grad(layer(inputs)[0].sum(), inputs, create_graph=True)
    return gradients(layer, gradient)


@behaviour
def hessian(new):
    layer = new(2, 3)
    return torch.autograd.functional.hessian(lambda t: layer(t)[0].sum(), x(2, 1, 2))


@behaviour
def create_graph_alone(new):
    layer = new(5, 6)
    return torch.autograd.grad(layer(x())[0].sum(), tuple(layer.parameters()), create_graph=True)


@behaviour
def symbolic_trace(new):
    return torch.fx.symbolic_trace(nn.Sequential(new(5, 6)))(x())


@behaviour
def traced(new):
    return torch.jit.trace(new(5, 6), x())(x(2, 3, 5))


@behaviour
def scripted(new):
    return torch.jit.script(new(5, 6, 2))(x())


@behaviour
def exported(new):
    return torch.export.export(nn.Sequential(new(5, 6)), (x(),)).module()(x())


CASES = [
    pytest.param(cell, engine, name, id=f"{name}-{cell.__name__}-{engine}")
    for name in BEHAVIOURS
    for cell in (LSTM, GRU)
    for engine in ENGINES
]


def outcome(function, new):
    torch.manual_seed(0)
    try:
        return function(new), None
    except Exception as error:
        return None, error


def compare(ours, theirs, tolerance):
    if isinstance(theirs, torch.Tensor):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        compare(list(ours.values()), list(theirs.values()), tolerance)
    elif isinstance(theirs, list | tuple):
        for our, their in zip(ours, theirs, strict=True):
            compare(our, their, tolerance)
    elif isinstance(theirs, str):
        assert re.sub(", engine=[a-z]+", "", ours) == theirs
    else:
        assert ours == theirs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "engine", "name"), CASES)
def test_behaves_as_torch(cell, engine, name):
    new = cell if engine == "auto" else partial(cell, engine=engine)
    ours, our_error = outcome(BEHAVIOURS[name], new)
    theirs, their_error = outcome(BEHAVIOURS[name], getattr(nn, cell.__name__))
    if their_error is not None:
        assert our_error is not None, f"torch raises {their_error!r}"
        for kind in (ValueError, TypeError, RuntimeError):
            if isinstance(their_error, kind):
                assert isinstance(our_error, kind), f"{our_error!r}; torch raises {their_error!r}"
    elif name in REFUSED and our_error is not None:
        assert isinstance(our_error, CharlmError) or name == "symbolic_trace", repr(our_error)
        assert REFUSED[name] in LSTM.__doc__
    elif our_error is not None:
        raise our_error
    else:
        tolerance = 3e-2 if name in COARSE else 1e-2 if "half" in name or "bf" in name else 1e-4
        compare(ours, theirs, tolerance)


@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_the_docstring_names_is_refused(cell, name):
    _, error = outcome(BEHAVIOURS[name], partial(cell, engine="fused"))
    assert error is not None


def test_repr_names_our_arguments_where_they_are_not_defaults():
    layer = GRU(
        5, 6, 2, engine="fused", precision="bfloat16", locked_dropout=True, weight_dropout=0.5
    )
    assert repr(layer) == (
        "GRU(5, 6, num_layers=2, engine=fused, precision=bfloat16, locked_dropout=True, "
        "weight_dropout=0.5)"
    )


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_errors_of_ours_are_one_line_and_a_charlm_error(cell):
    for call in (
        lambda: cell(5, 0),
        lambda: cell(5, 6.0),
        lambda: cell(5, 6, dropout=2),
        lambda: cell(5, 6, engine="fast"),
        lambda: cell(5, 6, precision="half"),
        lambda: cell(5, 6, weight_dropout="much"),
        lambda: cell(5, 6, weight_dropout=float("nan")),
        lambda: cell(5, 6, locked_dropout="yes"),
        lambda: cell(5, 6)(x(5)),
        lambda: cell(5, 6)(x(4, 3, 4)),
        lambda: cell(5, 6)(x(dtype=torch.float64)),
        lambda: cell(5, 6)(x(), like(cell, x(1, 3, 5))),
        lambda: cell(5, 6)(x(), like(cell, x(1, 3, 6, dtype=torch.float64))),
        lambda: cell(5, 6).forward_indices(torch.ones(4, 3, dtype=torch.bool), x(7, 5)),
        lambda: cell(5, 6).forward_indices(torch.ones(4, dtype=torch.int64), x(7, 5)),
        lambda: cell(5, 6).forward_indices(torch.full((4, 3), 7), x(7, 5)),
        lambda: cell(5, 6).forward_indices(torch.ones(4, 3, dtype=torch.int64), x(7, 4)),
        lambda: cell(5, 6).stepper(2, x(7, 4)),
        lambda: cell(5, 6).stepper(2)(x(3, 5)),
    ):
        with pytest.raises(CharlmError, match=r"\A[^\n]+\Z"):
            call()
