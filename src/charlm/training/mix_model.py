"""Rule `mix_model`: mix a trained network with experts that are counted in its training text."""

import logging
import time
from dataclasses import replace
from pathlib import Path

import torch

from charlm.checksums import read_json, read_text, write_json
from charlm.files import write_text
from charlm.model.devices import choose_device
from charlm.model.ensemble import Network
from charlm.model.experts import count_experts, expert_list
from charlm.model.mixture import Mixture
from charlm.model.store import (
    load_model,
    make_contexts,
    read_description,
    read_training,
    save_model,
)
from charlm.settings import GateSplit, MixtureSettings
from charlm.text.vocabulary import Vocabulary
from charlm.training.gating import GateText, split_gate_text, train_gate
from charlm.training.timing import Timing

log = logging.getLogger(__name__)


def mix_model(
    network_folder: str | Path,
    tokens: str | Path,
    folder: str | Path,
    *,
    mixture: MixtureSettings | None,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Mix a network with experts; write a whole model's files, as `train_model` does a network's.

    The gate learns on text that neither network nor experts have seen; see `split_gate_text`. The
    experts are then counted in all of the training text.

    Args:
        network_folder: The folder that `charlm.training.train_model.train_model` wrote.
        tokens: The folder of the encoded splits.
        folder: The folder to write.
        mixture: The experts; None for the network alone.
        seed: Seed of the gate's initial weights and of the order in which it reads.
        device: Where to compute.

    Raises:
        CharlmError: A file is missing or damaged, or the device is missing.
    """
    network_folder, folder = Path(network_folder), Path(folder)
    started = time.perf_counter()
    training = read_training(network_folder)
    # Another engine rounds differently, and the gate's weights with it.
    network, vocabulary = load_model(
        network_folder,
        engine=training["engine"],
        device=choose_device(device, "training.device"),
    )
    assert isinstance(network, Network)
    model: Network | Mixture = network
    gate_learned_on: GateSplit | None = None
    if mixture:
        text = split_gate_text(tokens, vocabulary)
        gate_learned_on = text.source if len(text.gate) > 1 else None
        model = mix(network, vocabulary, text, mixture, seed=seed)
    timing = read_json(network_folder / "timing.json", Timing)
    curve = read_text(network_folder / "history.csv", timing.get("history.csv"))
    timing["seconds"] = round(timing["seconds"] + time.perf_counter() - started, 3)
    architecture = read_description(network_folder).architecture
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "history.csv", curve)
    write_json(folder / "timing.json", timing)
    save_model(
        folder,
        model,
        vocabulary=vocabulary,
        architecture=replace(architecture, mixture=mixture),
        training=training | {"gate_learned_on": gate_learned_on},
    )


def mix(
    network: Network,
    vocabulary: Vocabulary,
    text: GateText,
    settings: MixtureSettings,
    *,
    seed: int,
) -> Mixture:
    """Return the mixture of a trained network and the experts of its training text.

    Args:
        network: The network, which has learned `text.counted`.
        vocabulary: Its vocabulary.
        text: The text that the gate learns on, and the text that network and experts learn from.
            The experts are counted in all of the training text in the end.
        settings: The experts.
        seed: Seed of the gate's initial weights and of the order in which it reads.
    """
    contexts = make_contexts(vocabulary, settings)
    experts = expert_list(settings.experts, settings.order)
    budget = settings.max_megabytes * 1e6
    torch.manual_seed(seed)
    mixture = Mixture(network, count_experts(contexts, experts, text.counted, budget))
    mixture.to(network.device)
    train_gate(mixture, text.gate, seed=seed)
    if len(text.counted) < len(text.train):
        mixture.experts = count_experts(contexts, experts, text.train, budget).to(network.device)
    log.info("%d experts of %.1f MB", len(experts), mixture.experts.bytes / 1e6)
    return mixture.eval()
