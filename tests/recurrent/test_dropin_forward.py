"""The forward pass: results, gradients and the types of errors are torch's."""

import copy
from collections.abc import Callable

import pytest
import torch
from tests.recurrent.common import Layer
from tests.recurrent.dropin import Behaviour, Behaviours, New, as_state, gradients, is_lstm, x
from torch import Tensor, nn

from charlm.recurrent import GRU, LSTM, EngineName

BEHAVIOURS = Behaviours(
    refused={
        "packed": "PackedSequence",
        "packed_with_state": "PackedSequence",
    }
)


@BEHAVIOURS.add
def forward(new: New) -> object:
    return new(5, 6, 2)(x())


@BEHAVIOURS.add
def forward_with_state(new: New) -> object:
    return new(5, 6, 2)(x(), as_state(new, x(2, 3, 6)))


@BEHAVIOURS.add
def hx_by_name(new: New) -> object:
    return new(5, 6)(input=x(), hx=as_state(new, x(1, 3, 6)))


@BEHAVIOURS.add
def hx_none(new: New) -> object:
    return new(5, 6)(x(), None)


@BEHAVIOURS.add
def hx_as_list(new: New) -> object:
    return new(5, 6)(x(), list(as_state(new, x(1, 3, 6)))) if is_lstm(new) else new(5, 6)(x())


@BEHAVIOURS.add
def type_of_results(new: New) -> object:
    outputs, state = new(5, 6)(x())
    return type(outputs).__name__, type(state).__name__


@BEHAVIOURS.add
def batch_first(new: New) -> object:
    return new(5, 6, 2, batch_first=True)(x(), as_state(new, x(2, 4, 6)))


@BEHAVIOURS.add
def unbatched(new: New) -> object:
    return new(5, 6, 2)(x(4, 5), as_state(new, x(2, 6)))


@BEHAVIOURS.add
def unbatched_without_state(new: New) -> object:
    return new(5, 6, 2)(x(4, 5))


@BEHAVIOURS.add
def unbatched_batch_first(new: New) -> object:
    return new(5, 6, 2, batch_first=True)(x(4, 5), as_state(new, x(2, 6)))


@BEHAVIOURS.add
def without_biases(new: New) -> object:
    return new(5, 6, 2, bias=False)(x())


@BEHAVIOURS.add
def one_step(new: New) -> object:
    return new(5, 6)(x(1, 1, 5))


@BEHAVIOURS.add
def one_feature(new: New) -> object:
    return new(1, 1)(x(3, 2, 1))


@BEHAVIOURS.add
def empty_batch(new: New) -> object:
    return new(5, 6)(x(4, 0, 5))


@BEHAVIOURS.add
def step_by_step(new: New) -> object:
    layer, state, outputs = new(5, 6), None, []
    for step in x():
        output, state = layer(step[None], state)
        outputs.append(output)
    return outputs, state


@BEHAVIOURS.add
def truncated_backward(new: New) -> object:
    layer = new(5, 6)
    _, state = layer(x())
    state = tuple(part.detach() for part in state) if is_lstm(new) else state.detach()
    return gradients(layer, layer(x(), state)[0])


@BEHAVIOURS.add
def backward(new: New) -> object:
    layer = new(5, 6, 2)
    return gradients(layer, layer(x())[0])


@BEHAVIOURS.add
def backward_to_inputs_and_state(new: New) -> object:
    inputs, state = x().requires_grad_(), x(1, 3, 6).requires_grad_()
    outputs, final = new(5, 6)(inputs, (state, state.cos()) if is_lstm(new) else state)
    last = final[1] if is_lstm(new) else final
    return torch.autograd.grad(outputs.sum() + last.square().sum(), (inputs, state))


@BEHAVIOURS.add
def backward_from_the_state_alone(new: New) -> object:
    layer = new(5, 6)
    state = layer(x())[1]
    return gradients(layer, state[0] if is_lstm(new) else state)


@BEHAVIOURS.add
def non_contiguous_inputs(new: New) -> object:
    return new(5, 6)(x(3, 5, 4).permute(2, 0, 1)), new(5, 6)(x(4, 3, 10)[..., ::2])


@BEHAVIOURS.add
def expanded_inputs(new: New) -> object:
    return new(5, 6)(x(1, 1, 5).expand(4, 3, 5), as_state(new, x(1, 1, 6).expand(1, 3, 6)))


@BEHAVIOURS.add
def offset_inputs(new: New) -> object:
    return new(5, 6)(x(61)[1:].view(4, 3, 5))


@BEHAVIOURS.add
def same_tensor_for_h_and_c(new: New) -> object:
    state = x(1, 3, 6)
    return new(5, 6)(x(), (state, state) if is_lstm(new) else state)


@BEHAVIOURS.add
def inputs_that_are_parameters(new: New) -> object:
    inputs = nn.Parameter(x())
    new(5, 6)(inputs)[0].sum().backward()
    return inputs.grad


@BEHAVIOURS.add
def results_are_not_changed_by_later_calls(new: New) -> object:
    layer = new(5, 6)
    first = layer(x())
    kept = copy.deepcopy([part.detach() for part in (first[0], first[1][0])])
    layer(x() + 1)
    return kept, first[0], first[1][0]


@BEHAVIOURS.add
def extreme_inputs(new: New) -> object:
    return new(5, 6)(x() * 1e30)


GIVEN: list[tuple[str, object, Tensor | None]] = [
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
]


def called_with(inputs: object, state: Tensor | None) -> Behaviour:
    return lambda new: new(5, 6)(inputs, None if state is None else as_state(new, state))


for name, inputs, state in GIVEN:
    BEHAVIOURS.add_as(name, called_with(inputs, state))

NO_STATES: dict[str, Callable[[Tensor], object]] = {
    "state_number": lambda h: 5,
    "state_text": lambda h: "zero",
    "state_empty": lambda h: (),
    "state_of_one": lambda h: (h,),
    "state_of_three": lambda h: (h, h, h),
    "state_with_none": lambda h: (h, None),
    "state_stacked": lambda h: torch.stack([h, h]),
    "state_dictionary": lambda h: {"h": h},
}


def called_with_state(make: Callable[[Tensor], object]) -> Behaviour:
    return lambda new: new(5, 6)(x(), make(x(1, 3, 6)))


for name, make in NO_STATES.items():
    BEHAVIOURS.add_as(name, called_with_state(make))


@BEHAVIOURS.add
def state_of_the_other_cell(new: New) -> object:
    state = x(1, 3, 6)
    return new(5, 6)(x(), state if is_lstm(new) else (state, state))


@BEHAVIOURS.add
def too_many_arguments(new: New) -> object:
    return new(5, 6)(x(), None, None)


@BEHAVIOURS.add
def state_by_another_name(new: New) -> object:
    return new(5, 6)(x(), state=None)


@BEHAVIOURS.add
def packed(new: New) -> object:
    sequence = nn.utils.rnn.pack_sequence([x(3, 5), x(2, 5)])
    return new(5, 6)(sequence)[0].data


@BEHAVIOURS.add
def packed_with_state(new: New) -> object:
    sequence = nn.utils.rnn.pack_padded_sequence(x(), [4, 2, 1])
    return new(5, 6)(sequence, as_state(new, x(1, 3, 6)))[0].data


@BEHAVIOURS.add
def in_place_on_the_state(new: New) -> object:
    layer = new(5, 6)
    state = layer(x())[1]
    return gradients(layer, (state[0] if is_lstm(new) else state).mul_(2))


@BEHAVIOURS.add
def in_place_without_gradients(new: New) -> object:
    with torch.no_grad():
        outputs, state = new(5, 6)(x())
        return outputs.relu_(), (state[0] if is_lstm(new) else state).add_(1)


@BEHAVIOURS.add
def in_place_under_inference(new: New) -> object:
    with torch.inference_mode():
        return new(5, 6)(x())[0].relu_()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "engine", "name"), BEHAVIOURS.cases())
def test_forward_works_as_torch_s(cell: type[Layer], engine: EngineName, name: str) -> None:
    BEHAVIOURS.check(cell, engine, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("name", BEHAVIOURS.refused)
def test_what_the_docstring_names_is_refused(cell: type[Layer], name: str) -> None:
    BEHAVIOURS.check_refused(cell, name)
