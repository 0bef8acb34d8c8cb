"""How a trained model computes when it scores or samples."""

import logging
from typing import NamedTuple, NotRequired, TypedDict

import torch

from charlm.model.devices import choose_precision
from charlm.recurrent import EngineName, Precision
from charlm.settings import GateSplit

log = logging.getLogger(__name__)


class TrainingDescription(TypedDict):
    """How a model was trained: all settings, of which these are read again."""

    steps: int
    device: str
    engine: EngineName
    precision: Precision
    gate_learned_on: NotRequired[GateSplit | None]


class Computation(NamedTuple):
    """The engine of the recurrent layers and the precision of the matrix products."""

    engine: EngineName
    precision: Precision


def how_to_compute(training: TrainingDescription, device: torch.device) -> Computation:
    """Return how a trained model scores and samples on a device.

    On a GPU, a model that was trained on a GPU uses the engine and the precision of its training.
    Otherwise the products are in float32, and one line of the log says so if that differs.
    """
    in_float32 = Computation("auto", "float32")
    if device.type != "cuda":
        return in_float32
    if training.get("device") != "cuda":
        log.info("computing in float32 on the GPU: the model was trained on another device")
        return in_float32
    trained = Computation(training["engine"], training["precision"])
    if trained.precision == "bfloat16" and choose_precision("auto", device) == "float32":
        log.info("computing in float32: the model was trained in bfloat16, which this GPU lacks")
        return in_float32
    return trained
