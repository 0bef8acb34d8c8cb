"""What `charlm.load` returns: generate, stream and score."""

import math
from pathlib import Path
from typing import get_args

import pytest
import torch

import charlm
from charlm.errors import CharlmError
from charlm.model.network import CharacterLanguageModel
from charlm.model.sampling import OnUnknown
from charlm.model.store import save_model
from charlm.model.trained_model import TrainedModel
from charlm.settings import Architecture
from charlm.text.symbols import Unit, byte_symbol
from charlm.text.vocabulary import Vocabulary
from tests.model.models import LETTERS, WRITER, make_trained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a saved model."""
    made = make_trained()
    path = tmp_path / "model"
    save_model(path, made.model, vocabulary=made.vocabulary, architecture=WRITER, training={})
    return path


@pytest.mark.parametrize("unit", ["byte", "grapheme"])
def test_streamed_pieces_add_up_to_the_text_in_other_units(unit: Unit) -> None:
    if unit == "byte":
        symbols = [byte_symbol(byte) for byte in range(256)]
    else:
        symbols = ["a", "e\u0301", "東", "🇨🇭", " ", "\r\n"]
    special = {"unknown": None, "end_of_document": None}
    vocabulary = Vocabulary(symbols, [1] * len(symbols), special, unit)
    torch.manual_seed(0)
    network = CharacterLanguageModel(len(vocabulary), Architecture(hidden_size=8, embedding_size=4))
    model = TrainedModel(network.eval(), vocabulary)
    for seed in range(3):
        text = model.generate("東", length=60, seed=seed)[0]
        assert "".join(model.stream("東", length=60, seed=seed)) == text
        stop = text[20:22]
        expected = text[: text.index(stop)]
        assert model.generate("東", length=60, seed=seed, stop=stop) == [expected]
        assert "".join(model.stream("東", length=60, seed=seed, stop=stop)) == expected


def test_a_stream_starts_before_the_text_is_complete() -> None:
    assert len(next(make_trained().stream("a", length=10**30))) == 1


def test_the_score_is_the_mean_negative_log_likelihood() -> None:
    model = make_trained()
    text = "abc é"
    assert model.vocabulary.end_of_document is not None
    tokens = [model.vocabulary.end_of_document, *model.vocabulary.encode(text).tolist()]
    with torch.no_grad():
        logits, _ = model.model(torch.tensor(tokens[:-1])[:, None])
    nats = -logits[:, 0].log_softmax(1)[range(5), tokens[1:]].sum().item()
    nats += math.log(1_112_064 - len(LETTERS))
    assert model.score(text) == pytest.approx(nats / 5, rel=1e-6)
    with pytest.raises(CharlmError, match="the text is empty"):
        model.score("")


def test_without_an_end_of_document_the_initial_state_predicts_the_first_character() -> None:
    model = make_trained(end_of_document=False)
    assert isinstance(model.model, CharacterLanguageModel)
    bias = model.model.output.bias.detach()
    expected = -bias.log_softmax(0)[LETTERS.index("c")].item()
    assert model.score("c") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"temperature": 10**400},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"seed": -1},
        {"stop": ""},
        {"on_unknown": "ignore"},
        {"num_samples": 0},
        {"num_samples": -3},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    arguments = {"length": 5, **wrong}
    with pytest.raises(CharlmError, match=f"sampling.{next(iter(wrong))}: .* is not"):
        make_trained().generate("", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", ["character", "grapheme", "byte"])
@pytest.mark.parametrize("text", ["ab\ud800", "ab\udfffc"])
def test_text_that_is_not_valid_unicode_is_refused(unit: Unit, text: str) -> None:
    model = make_trained()
    model.vocabulary.unit = unit
    for on_unknown in get_args(OnUnknown):
        with pytest.raises(CharlmError, match=r"^sampling\.prompts: character 3 is a lone surr"):
            model.generate(text, length=5, on_unknown=on_unknown)
    with pytest.raises(CharlmError, match=r"^sampling\.stop: character 3 is a lone surrogate"):
        model.stream("a", length=5, stop=text)
    with pytest.raises(CharlmError, match=r"^score: character 3 is a lone surrogate \('\\ud"):
        model.score(text)
    with pytest.raises(CharlmError, match=r"^text: character 3 is a lone surrogate"):
        model.vocabulary.encode(text)


@pytest.mark.parametrize("device", ["cpu", "auto", torch.device("cpu")])
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_model_is_loaded_onto_the_given_device(folder: Path, device: str | torch.device) -> None:
    assert charlm.load(folder, device=device).model.device == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:1", torch.device("cuda", 1)])
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_refused(folder: Path, device: str | torch.device) -> None:
    with pytest.raises(CharlmError, match=r"^this machine has no 'cuda:1'"):
        charlm.load(folder, device=device)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_default_dtype_has_no_effect(folder: Path, dtype: torch.dtype) -> None:
    def results() -> tuple[list[str], float]:
        model = charlm.load(folder)
        prompt = "a bad cafe " * 60
        return model.generate(prompt, length=99, num_samples=3), model.score(prompt)

    expected = results()
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert results() == expected
    finally:
        torch.set_default_dtype(before)
