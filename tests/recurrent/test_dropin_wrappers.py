"""Hooks, optimizers, threads and containers work with our layers as with torch's."""

import threading

import pytest
import torch
from tests.recurrent.common import Layer
from tests.recurrent.dropin import Behaviour, Behaviours, New, as_state, gradients, x
from torch import Tensor, nn
from torch.utils import checkpoint

from charlm.recurrent import EngineName

BEHAVIOURS = Behaviours()


@BEHAVIOURS.add
def forward_hooks(new: New) -> object:
    layer, seen = new(5, 6), []
    layer.register_forward_pre_hook(lambda module, given: (given[0] * 2,))
    layer.register_forward_hook(lambda module, given, results: seen.append(results[0]))
    return layer(x()), seen


@BEHAVIOURS.add
def forward_hook_with_kwargs(new: New) -> object:
    layer, seen = new(5, 6), []
    layer.register_forward_hook(
        lambda module, given, named, results: seen.extend(named), with_kwargs=True
    )
    layer(x(), hx=as_state(new, x(1, 3, 6)))
    return seen


@BEHAVIOURS.add
def backward_hooks(new: New) -> object:
    layer, seen = new(5, 6), []
    layer.register_full_backward_hook(lambda module, given, results: seen.append(given[0]))
    layer(x().requires_grad_())[0].sum().backward()
    return seen


@BEHAVIOURS.add
def tensor_hooks(new: New) -> object:
    layer = new(5, 6)
    seen: list[Tensor] = []

    def double(gradient: Tensor) -> Tensor:
        seen.append(gradient.clone())
        return gradient * 2

    layer.weight_hh_l0.register_hook(double)
    layer.bias_ih_l0.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    return gradients(layer, layer(x())[0]), sorted(seen, key=Tensor.dim)


@BEHAVIOURS.add
def apply_a_function(new: New) -> object:
    layer, seen = new(5, 6), []
    layer.apply(lambda module: seen.append(isinstance(module, nn.RNNBase)))
    return seen


@BEHAVIOURS.add
def initialized_by_isinstance(new: New) -> object:
    def initialize(module: nn.Module) -> None:
        if isinstance(module, nn.LSTM | nn.GRU):
            for name, parameter in module.named_parameters():
                if name.startswith("weight"):
                    nn.init.orthogonal_(parameter)
                else:
                    nn.init.constant_(parameter, 0.1)

    return nn.Sequential(new(5, 6)).apply(initialize)(x())


@BEHAVIOURS.add
def in_a_module_list(new: New) -> object:
    layers = nn.ModuleList([new(5, 5), new(5, 5)])
    inputs = x()
    for layer in layers:
        inputs, _ = layer(inputs)
    return inputs, list(layers.state_dict())


def checkpointed(use_reentrant: bool) -> Behaviour:
    def run(new: New) -> object:
        layer, inputs = new(5, 6, 2), x().requires_grad_()
        outputs = checkpoint.checkpoint(lambda t: layer(t)[0], inputs, use_reentrant=use_reentrant)
        return gradients(layer, outputs), inputs.grad

    return run


BEHAVIOURS.add_as("checkpoint", checkpointed(False))
BEHAVIOURS.add_as("checkpoint_reentrant", checkpointed(True))


@BEHAVIOURS.add
def saved_on_cpu(new: New) -> object:
    layer = new(5, 6)
    with torch.autograd.graph.save_on_cpu():
        outputs, _ = layer(x())
    return gradients(layer, outputs)


@BEHAVIOURS.add
def threads(new: New) -> object:
    layer = new(5, 6)
    found: list[Tensor | None] = [None] * 4

    def run(number: int) -> None:
        found[number] = layer(x() * number)[0].detach()

    workers = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


@BEHAVIOURS.add
def replicated(new: New) -> object:
    layer = new(5, 6)
    replica = layer._replicate_for_data_parallel()
    replica.weight_hh_l0 = layer.weight_hh_l0 * 2
    return replica(x()), layer(x())


@BEHAVIOURS.add
def averaged_model(new: New) -> object:
    layer = new(5, 6)
    averaged = torch.optim.swa_utils.AveragedModel(layer)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(3)
    averaged.update_parameters(layer)
    return averaged(x())


@BEHAVIOURS.add
def trained_by_adam(new: New) -> object:
    layer = new(5, 6)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x())[0].square().sum().backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        optimizer.step()
    return layer(x())


@BEHAVIOURS.add
def parameters_to_vector(new: New) -> object:
    layer = new(5, 6)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(vector * 2, layer.parameters())
    return layer(x())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "engine", "name"), BEHAVIOURS.cases())
def test_hooks_and_wrappers_work_as_torch_s(
    cell: type[Layer], engine: EngineName, name: str
) -> None:
    BEHAVIOURS.check(cell, engine, name)
