"""Generating tokens: samples are independent of each other, prompts may be of any length."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from charlm.errors import CharlmError
from charlm.model import generation
from charlm.model.generation import BATCH_SIZE, WINDOW, encode_prompt
from charlm.model.network import CharacterLanguageModel
from charlm.model.sampling import SampleRequest
from charlm.model.trained_model import TrainedModel
from charlm.settings import Architecture, Cell, MixtureSettings
from charlm.text.vocabulary import Vocabulary
from tests.model.models import LETTERS, WRITER, make_trained

MIXED = replace(WRITER, mixture=MixtureSettings(order=4))


@pytest.mark.parametrize("architecture", [WRITER, replace(WRITER, cell="gru"), MIXED])
@pytest.mark.parametrize("end_of_document", [True, False])
@pytest.mark.parametrize("prompt", ["", "a", "bad cafe", "a bad cafe " * 60])
def test_a_seed_gives_one_text_whatever_else_is_in_the_batch(
    architecture: Architecture, end_of_document: bool, prompt: str
) -> None:
    model = make_trained(architecture, end_of_document=end_of_document)
    alone = model.generate(prompt, length=30, seed=5, end=False)
    assert len(alone) == 1
    assert len(alone[0]) == 30
    assert alone == model.generate(prompt, length=30, seed=5, end=False)
    assert model.generate(prompt, length=30, seed=3, num_samples=20, end=False)[2] == alone[0]
    request = SampleRequest(prompt, length=30, seed=5, end=False)
    others = [SampleRequest("a feed" * n**2, length=10 + n, seed=n) for n in range(BATCH_SIZE)]
    assert model.draw([*others, request])[-1].text == alone[0]
    assert model.draw([request, *others])[0].text == alone[0]
    assert "".join(model.stream(prompt, length=30, seed=5, end=False)) == alone[0]
    assert model.generate(prompt, length=30, seed=6, end=False) != alone


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "architecture",
    [
        WRITER,
        replace(WRITER, num_layers=2),
        replace(WRITER, members=2),
        MIXED,
    ],
)
@pytest.mark.parametrize("end_of_document", [True, False])
def test_windows_of_a_long_prompt_do_not_change_the_text(
    cell: Cell, architecture: Architecture, end_of_document: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_trained(replace(architecture, cell=cell), end_of_document=end_of_document)
    text = "a bad cafe deep in a hole" * 30
    edges = [text[:size] for size in (WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1)]
    requests = [SampleRequest(prompt, length=20, seed=1) for prompt in ("", "a", *edges, text)]
    texts = model.draw(requests)
    steps = 0
    stepper = model.model.stepper

    def counting_stepper(
        batch_size: int, state: tuple[torch.Tensor, ...] | None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        step = stepper(batch_size, state)

        def counting_step(tokens: torch.Tensor) -> torch.Tensor:
            nonlocal steps
            steps += 1
            return step(tokens)

        return counting_step

    monkeypatch.setattr(model.model, "stepper", counting_stepper)
    assert model.draw(requests) == texts
    assert steps <= WINDOW + 20
    steps = 0
    monkeypatch.setattr(generation, "WINDOW", 10**9)
    assert model.draw(requests) == texts
    assert steps >= len(text)


def test_texts_after_different_prompts_do_not_become_the_same() -> None:
    model = make_trained()
    assert isinstance(model.model, CharacterLanguageModel)
    for parameter in model.model.recurrent.parameters():
        parameter.data.mul_(0.2)  # a short memory: equal random numbers would soon give equal texts
    first, second = (
        model.generate(prompt, length=150, seed=5, end=False)[0] for prompt in ("a", "b")
    )
    same = [one == other for one, other in zip(first, second, strict=True)]
    assert sum(same[-100:]) < 40


def test_a_sample_continues_its_prompt() -> None:
    model = make_trained()
    text = model.generate("a", length=20, temperature=0)[0]
    assert model.generate("a" + text[:7], length=13, temperature=0)[0] == text[7:]


def test_a_prompt_may_be_longer_than_the_text() -> None:
    model = make_trained()
    assert len(model.generate("a bad cafe " * 50, length=2)[0]) == 2


@pytest.mark.parametrize("temperature", [0, 5e-324, 1e-50])
def test_greedy_sampling_takes_the_likeliest_symbol(temperature: float) -> None:
    model = make_trained()
    request = SampleRequest("abc", length=1)
    tokens = torch.tensor(encode_prompt(request, model.vocabulary))
    with torch.no_grad():
        logits, _ = model.model(tokens[:, None])
    likeliest = LETTERS[int(logits[-1, 0, : len(LETTERS)].argmax())]
    for seed in range(3):
        assert model.generate("abc", length=1, temperature=temperature, seed=seed) == [likeliest]
        assert model.generate("abc", length=1, top_k=1, seed=seed) == [likeliest]
        assert model.generate("abc", length=1, top_p=1e-9, seed=seed) == [likeliest]


def test_unknown_characters_of_a_prompt_are_named() -> None:
    with pytest.raises(CharlmError, match=r"'aé東' has .* \('é', '東'\); leave them out"):
        make_trained().generate("aé東", length=5)


def test_unknown_characters_can_be_replaced_or_skipped() -> None:
    model = make_trained()
    skipped = model.generate("aé東b", on_unknown="skip", length=30, temperature=0)
    assert skipped == model.generate("ab", length=30, temperature=0)
    replaced = model.generate("aéb", on_unknown="replace", length=30, temperature=0)
    assert replaced == model.generate("a東b", on_unknown="replace", length=30, temperature=0)
    request = SampleRequest("aéb", length=1, on_unknown="replace")
    tokens = encode_prompt(request, model.vocabulary)
    assert tokens == [model.vocabulary.end_of_document, 0, model.vocabulary.unknown, 1]
    no_unknown = Vocabulary([*"ab"], [1, 1], {"unknown": None, "end_of_document": None})
    with pytest.raises(CharlmError, match="the vocabulary has no 'é'"):
        TrainedModel(model.model, no_unknown).generate("aéb", on_unknown="replace", length=30)


@pytest.mark.parametrize("end_of_document", [True, False])
def test_a_sample_ends_before_its_stop_text(end_of_document: bool) -> None:
    model = make_trained(end_of_document=end_of_document)
    whole = model.generate("abc", length=200, seed=4, end=False)[0]
    for stop in (whole[60], whole[60:62], whole[60:65], whole[0]):
        expected = whole[: whole.index(stop)]
        assert model.generate("abc", length=200, seed=4, end=False, stop=stop) == [expected]
        assert "".join(model.stream("abc", length=200, seed=4, end=False, stop=stop)) == expected
        others = [SampleRequest("a" * n, length=150, seed=n) for n in range(5)]
        request = SampleRequest("abc", length=200, seed=4, end=False, stop=stop)
        assert model.draw([*others, request])[-1].text == expected
    never = "".join(reversed(whole[:9]))
    assert model.generate("abc", length=200, seed=4, end=False, stop=never) == [whole]
    assert "".join(model.stream("abc", length=200, seed=4, end=False, stop=never)) == whole


def test_the_end_of_a_document_ends_a_sample() -> None:
    model = make_trained()
    requests = [SampleRequest("a", length=60, seed=seed) for seed in range(12)]
    samples = model.draw(requests)
    assert {sample.finish_reason for sample in samples} == {"end", "length"}
    for request, sample in zip(requests, samples, strict=True):
        assert (len(sample.text) == 60) == (sample.finish_reason == "length")
        assert "<end_of_document>" not in sample.text
        assert "".join(model.pieces(request)) == sample.text
        endless = model.draw([replace(request, end=False)])[0]
        assert (len(endless.text), endless.finish_reason) == (60, "length")
        stopped = model.draw([replace(request, stop=sample.text[:1] or "a")])[0]
        assert stopped.finish_reason == ("stop" if sample.text else "end")


def test_a_stop_text_in_the_prompt_has_no_effect() -> None:
    model = make_trained()
    whole = model.generate("abc", length=9, seed=1)[0]
    assert "abc" not in whole
    assert model.generate("abc", length=9, seed=1, stop="abc") == [whole]
    longer = model.generate("ab", length=40, seed=1)
    assert model.generate("ab", length=40, seed=1, stop="b" + "cdef") == longer


def test_generation_ends_when_all_samples_have_stopped() -> None:
    model = make_trained()
    first = model.generate("", length=1, seed=0)[0]
    assert model.generate("", length=1_000_000, seed=0, stop=first) == [""]
