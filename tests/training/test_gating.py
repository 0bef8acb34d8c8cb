"""A mixture's gate learns on text that neither its network nor its experts have seen."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from charlm.model.experts import count_experts, expert_list
from charlm.model.kneser_ney import Integers
from charlm.model.mixture import Mixture
from charlm.model.scoring import validation_loss
from charlm.model.store import make_contexts, make_model
from charlm.settings import Architecture, MixtureSettings
from charlm.text.vocabulary import Vocabulary
from charlm.training.gating import HEAD, LEAST, split_gate_text, train_gate

END = 5
VOCABULARY = Vocabulary(
    [*"abcd ", "<end_of_document>"], [1] * 6, {"unknown": None, "end_of_document": END}
)
SETTINGS = MixtureSettings(order=5)
ARCHITECTURE = Architecture(hidden_size=8, embedding_size=4, mixture=SETTINGS)


def write_splits(folder: Path, train: Integers, validation: int, test: int) -> None:
    """Write encoded splits of which only the training text matters."""
    for name, tokens in {
        "train": train,
        "validation": np.full(validation, 3, np.uint8),
        "test": np.full(test, 4, np.uint8),
    }.items():
        np.save(folder / f"{name}.npy", tokens)
        names = ("start", "tokens", "characters", "unknown_characters")
        table = pa.table({column: [0] for column in names})
        pq.write_table(table, folder / f"{name}.documents.parquet")
    (folder / "summary.json").write_text('{"one_stream": false, "sizes": {}}')


def documents(lengths: list[int]) -> Integers:
    """Return documents of these lengths, each with its end."""
    return np.concatenate([[n % 5] * (length - 1) + [END] for n, length in enumerate(lengths)])


def test_the_gate_learns_on_the_validation_split_beside_a_test_split(tmp_path: Path) -> None:
    train = documents([10] * 50)
    write_splits(tmp_path, train, validation=LEAST, test=20)
    text = split_gate_text(tmp_path, VOCABULARY)
    assert text.source == "validation"
    assert text.counted.tolist() == train.tolist()
    assert text.gate.tolist() == [3] * LEAST


@pytest.mark.parametrize(("validation", "test"), [(LEAST, 0), (0, 20), (LEAST - 1, 20), (0, 0)])
@pytest.mark.parametrize("end_of_document", [END, None])
def test_otherwise_it_learns_on_the_beginning_of_the_training_split(
    tmp_path: Path, validation: int, test: int, end_of_document: int | None
) -> None:
    train = documents([8] * 9000)
    write_splits(tmp_path, train, validation, test)
    special = {"unknown": None, "end_of_document": end_of_document}
    vocabulary = Vocabulary(VOCABULARY.symbols, VOCABULARY.counts, special)
    text = split_gate_text(tmp_path, vocabulary)
    assert text.source == "train_head"
    assert [*text.gate, *text.counted] == train.tolist()
    assert len(text.gate) == pytest.approx(HEAD * len(train), abs=8)
    if end_of_document is not None:
        assert text.gate[-1] == END


@pytest.mark.parametrize(
    ("length", "head"), [(0, 0), (1, 0), (2, 0), (9, 2), (5000, 1000), (20_000, LEAST)]
)
def test_the_beginning_of_a_short_text_is_longer(tmp_path: Path, length: int, head: int) -> None:
    write_splits(tmp_path, np.zeros(length, np.uint8), validation=0, test=0)
    text = split_gate_text(tmp_path, VOCABULARY)
    assert (len(text.counted), len(text.gate)) == (length - head, head)


def writing(length: int, seed: int) -> Integers:
    """Return words in which a letter mostly follows its predecessor in the alphabet."""
    chance = np.random.default_rng(seed)
    tokens = [END]
    for _ in range(length - 1):
        likely = (tokens[-1] + 1) % 6
        tokens.append(likely if chance.random() < 0.8 else int(chance.integers(6)))
    return np.array(tokens)


def untrained() -> Mixture:
    torch.manual_seed(0)
    return Mixture(
        make_model(len(VOCABULARY), ARCHITECTURE),
        count_experts(
            make_contexts(VOCABULARY, SETTINGS),
            expert_list(SETTINGS.experts, SETTINGS.order),
            writing(3000, 0),
            budget=1e9,
        ),
    ).eval()


def trained(tokens: Integers) -> Mixture:
    mixture = untrained()
    train_gate(mixture, tokens, seed=1)
    return mixture


def test_the_gate_lowers_the_loss_on_other_text() -> None:
    other = writing(2000, 2)
    before, after = (
        validation_loss(mixture, other, ignored=END)
        for mixture in (untrained(), trained(writing(2000, 1)))
    )
    assert before is not None
    assert after is not None
    assert after < before - 0.05


def test_only_the_gate_is_trained_and_each_run_gives_the_same_bytes() -> None:
    states = []
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 1):
            torch.set_num_threads(number)
            states.append(trained(writing(1500, 1)).state_dict())
    finally:
        torch.set_num_threads(threads)
    for name, tensor in untrained().state_dict().items():
        assert all(torch.equal(state[name], states[0][name]) for state in states)
        is_gate = name.startswith("gate.")
        assert torch.equal(states[0][name], tensor) != is_gate, name


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_gate_without_text_stays_sound(length: int) -> None:
    mixture = trained(writing(9, 1)[:length])
    with torch.no_grad():
        logits, _ = mixture(torch.from_numpy(writing(20, 3))[:, None])
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(20, 1))


def test_a_short_text_changes_the_gate_little() -> None:
    first = untrained().gate.constant
    changes = [
        (trained(writing(length, 1)).gate.constant - first).abs().max().item()
        for length in (100, 3000)
    ]
    assert 0 < changes[0] < 0.05 < changes[1]
