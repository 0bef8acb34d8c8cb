"""Sampling: one seed, one text; limits that limit; prompts that can be written."""

import codecs
import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import charlm
from charlm.errors import CharlmError
from charlm.model import sampling
from charlm.model.network import CharacterLanguageModel, make_model, save_model, with_ngram
from charlm.model.sampling import (
    ON_UNKNOWN,
    WIDTH,
    WINDOW,
    Request,
    TrainedModel,
    _chances,
    _Limits,
    load,
    read_prompts,
    sample,
    sample_record,
)
from charlm.text.symbols import byte_symbol
from charlm.text.vocabulary import Vocabulary

LETTERS = "abcdefghijklmnop "


def vocabulary(end_of_document: bool = True) -> Vocabulary:
    symbols = [*LETTERS, "<unknown>", *["<end_of_document>"] * end_of_document]
    end = len(LETTERS) + 1 if end_of_document else None
    special = {"unknown": len(LETTERS), "end_of_document": end}
    return Vocabulary(symbols, [1] * len(symbols), special)


def trained(cell: str = "lstm", end_of_document: bool = True, **more: Any) -> TrainedModel:
    torch.manual_seed(1)
    symbols = vocabulary(end_of_document)
    model = make_model(len(symbols), cell=cell, hidden_size=24, embedding_size=8, **more)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    made = with_ngram(model, more, np.arange(200) % 7)
    return TrainedModel(made.eval(), symbols)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("end_of_document", [True, False])
@pytest.mark.parametrize("prompt", ["", "a", "bad cafe", "a bad cafe " * 60])
def test_one_seed_gives_one_text_in_any_company(
    cell: str, end_of_document: bool, prompt: str
) -> None:
    model = trained(cell, end_of_document)
    alone = model.generate(prompt, length=30, seed=5)
    assert len(alone) == 1
    assert len(alone[0]) == 30
    assert alone == model.generate(prompt, length=30, seed=5)
    assert model.generate(prompt, length=30, seed=3, num_samples=20)[2] == alone[0]
    others = [Request("a feed" * n**2, 10 + n, seed=n) for n in range(WIDTH)]
    assert model.draw([*others, Request(prompt, 30, seed=5)])[-1] == alone[0]
    assert model.draw([Request(prompt, 30, seed=5), *others])[0] == alone[0]
    assert "".join(model.stream(prompt, length=30, seed=5)) == alone[0]
    assert model.generate(prompt, length=30, seed=6) != alone


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "more", [{}, {"num_layers": 2}, {"members": 2}, {"ngram_order": 4, "ngram_weight": 0.5}]
)
@pytest.mark.parametrize("end_of_document", [True, False])
def test_a_long_prompt_is_read_as_a_short_one_is(
    cell: str, more: dict[str, Any], end_of_document: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(cell, end_of_document, **more)
    text = "a bad cafe, deep in a hole".replace(",", "") * 30
    edges = [text[:size] for size in (WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1)]
    requests = [Request(prompt, 20, seed=1) for prompt in ("", "a", *edges, text)]
    texts = model.draw(requests)
    steps = []
    stepper = model.model.stepper

    def counted(*arguments: Any) -> Any:
        advance = stepper(*arguments)
        return lambda symbols: (steps.append(1), advance(symbols))[1]

    monkeypatch.setattr(model.model, "stepper", counted)
    assert model.draw(requests) == texts
    assert len(steps) <= WINDOW + 20
    steps.clear()
    monkeypatch.setattr(sampling, "WINDOW", 10**9)
    assert model.draw(requests) == texts
    assert len(steps) >= len(text)


def test_the_numbers_of_a_sample_are_those_of_its_seed_and_prompt() -> None:
    drawn = list(islice(_chances(3, [1, 2]), 600))
    (seed,) = np.random.SeedSequence([3, 1, 2]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(seed))
    assert drawn == torch.rand(600, generator=generator, dtype=torch.float64).tolist()


def test_a_sample_may_have_no_end() -> None:
    assert len(next(trained().stream("a", length=10**30))) == 1


def test_texts_of_two_prompts_do_not_run_together() -> None:
    model = trained()
    for parameter in model.model.recurrent.parameters():
        parameter.data.mul_(0.2)  # a short memory: the same numbers would soon give the same text
    first, second = (model.generate(prompt, length=150, seed=5)[0] for prompt in ("a", "b"))
    same = [one == other for one, other in zip(first, second, strict=True)]
    assert sum(same[-100:]) < 40


def test_a_sample_goes_on_from_its_prompt() -> None:
    model = trained()
    text = model.generate("a", length=20, temperature=0)[0]
    assert model.generate("a" + text[:7], length=13, temperature=0)[0] == text[7:]


def test_greedy_takes_the_likeliest() -> None:
    model = trained()
    symbols = [model.vocabulary.end_of_document, *model.vocabulary.encode("abc")]
    with torch.no_grad():
        logits, _ = model.model(torch.tensor(symbols)[:, None])
    likeliest = LETTERS[int(logits[-1, 0, : len(LETTERS)].argmax())]
    for seed in range(3):
        assert model.generate("abc", length=1, temperature=0, seed=seed) == [likeliest]
        assert model.generate("abc", length=1, top_k=1, seed=seed) == [likeliest]
        assert model.generate("abc", length=1, top_p=1e-9, seed=seed) == [likeliest]


def shares(logits: list[float], **limits: Any) -> list[float]:
    """Return how often each symbol is drawn over evenly spread chances."""
    symbols = vocabulary(end_of_document=False)
    draw = _Limits([Request("", 1, **limits)], symbols)
    row = torch.full((WIDTH, len(symbols)), -50.0, dtype=torch.float64)
    row[0, : len(logits)] = torch.tensor(logits, dtype=torch.float64)
    row[:, symbols.unknown] = 99.0  # never written, however likely
    drawn = [
        draw.draw(row.clone(), torch.full((WIDTH,), (n + 0.5) / 1000, dtype=torch.float64))[0]
        for n in range(1000)
    ]
    return [drawn.count(symbol) / 1000 for symbol in range(len(logits))]


def test_draws_follow_the_distribution_and_its_limits() -> None:
    logits = [math.log(p) for p in (0.1, 0.5, 0.15, 0.25)]
    assert shares(logits) == pytest.approx([0.1, 0.5, 0.15, 0.25], abs=0.002)
    assert shares(logits, top_k=2) == pytest.approx([0, 2 / 3, 0, 1 / 3], abs=0.002)
    assert shares(logits, top_p=0.7) == pytest.approx([0, 2 / 3, 0, 1 / 3], abs=0.002)
    assert shares(logits, top_p=0.8) == pytest.approx([0, 5 / 9, 1.5 / 9, 2.5 / 9], abs=0.002)
    squared = np.array([0.1, 0.5, 0.15, 0.25]) ** 2
    assert shares(logits, temperature=0.5) == pytest.approx(squared / squared.sum(), abs=0.002)
    assert shares(logits, temperature=0) == [0, 1, 0, 0]
    assert shares(logits, top_k=10**30) == shares(logits)
    assert shares([9.0], temperature=1e308) == pytest.approx([1 / len(LETTERS)], abs=0.002)


def test_a_small_temperature_tells_close_logits_apart() -> None:
    for temperature in (1e-5, 1e-90):
        drawn = shares([0.0, temperature], temperature=temperature)
        assert drawn == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)], abs=0.002)


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-300, 1e-99, 1e-50, 1e-9])
def test_a_temperature_near_zero_is_greedy(temperature: float) -> None:
    assert shares([-3e38, 3e38, 0.0, 2e38], temperature=temperature) == [0, 1, 0, 0]
    assert shares([1e-45, 0.0, 2e-45], temperature=min(temperature, 1e-50)) == [0, 0, 1]
    model = trained()
    greedy = model.generate("abc", length=60, temperature=0)
    assert model.generate("abc", length=60, temperature=temperature, seed=3) == greedy


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
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CharlmError, match=f"sampling.{next(iter(wrong))}: .* is not"):
        trained().generate("", **{"length": 5, **wrong})


@pytest.mark.parametrize("unit", ["character", "grapheme", "byte"])
@pytest.mark.parametrize("text", ["ab\ud800", "ab\udfffc"])
def test_text_that_cannot_be_encoded_is_refused(unit: str, text: str) -> None:
    model = trained()
    model.vocabulary.unit = unit
    for on_unknown in ON_UNKNOWN:
        with pytest.raises(CharlmError, match=r"^sampling\.prompts: character 3 is a lone surr"):
            model.generate(text, length=5, on_unknown=on_unknown)
    with pytest.raises(CharlmError, match=r"^sampling\.stop: character 3 is a lone surrogate"):
        model.stream("a", length=5, stop=text)
    with pytest.raises(CharlmError, match=r"^score: character 3 is a lone surrogate \('\\ud"):
        model.score(text)
    with pytest.raises(CharlmError, match=r"^text: character 3 is a lone surrogate"):
        model.vocabulary.encode(text)


def test_unknown_characters_of_a_prompt_are_named() -> None:
    with pytest.raises(CharlmError, match=r"'aé東' holds .* \('é', '東'\); leave them out"):
        trained().generate("aé東", length=5)


def test_a_score_is_that_of_the_equations() -> None:
    model = trained()
    text = "abc é"
    ids = [model.vocabulary.end_of_document, *model.vocabulary.encode(text).tolist()]
    with torch.no_grad():
        logits, _ = model.model(torch.tensor(ids[:-1])[:, None])
    nats = -logits[:, 0].log_softmax(1)[range(5), ids[1:]].sum().item()
    nats += math.log(1_112_064 - len(LETTERS))
    assert model.score(text) == pytest.approx(nats / 5, rel=1e-6)
    with pytest.raises(CharlmError, match="the text is empty"):
        model.score("")


def test_without_an_end_of_document_the_state_at_rest_predicts_the_first_character() -> None:
    model = trained(end_of_document=False)
    bias = model.model.output.bias.detach()
    expected = -bias.log_softmax(0)[LETTERS.index("c")].item()
    assert model.score("c") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("end_of_document", [True, False])
def test_a_stop_text_ends_a_sample_and_is_left_out(end_of_document: bool) -> None:
    model = trained(end_of_document=end_of_document)
    whole = model.generate("abc", length=200, seed=4)[0]
    for stop in (whole[60], whole[60:62], whole[60:65], whole[0]):
        expected = whole[: whole.index(stop)]
        assert model.generate("abc", length=200, seed=4, stop=stop) == [expected]
        assert "".join(model.stream("abc", length=200, seed=4, stop=stop)) == expected
        company = [Request("a" * n, 150, seed=n) for n in range(5)]
        assert model.draw([*company, Request("abc", 200, seed=4, stop=stop)])[-1] == expected
    never = "".join(reversed(whole[:9]))
    assert model.generate("abc", length=200, seed=4, stop=never) == [whole]
    assert "".join(model.stream("abc", length=200, seed=4, stop=never)) == whole


def test_a_stop_text_in_the_prompt_stops_nothing() -> None:
    model = trained()
    whole = model.generate("abc", length=9, seed=1)[0]
    assert "abc" not in whole
    assert model.generate("abc", length=9, seed=1, stop="abc") == [whole]
    assert model.generate("ab", length=40, seed=1, stop="b" + "cdef") == model.generate(
        "ab", length=40, seed=1
    )


def test_drawing_ends_when_all_have_stopped() -> None:
    model = trained()
    first = model.generate("", length=1, seed=0)[0]
    assert model.generate("", length=1_000_000, seed=0, stop=first) == [""]


@pytest.mark.parametrize("unit", ["byte", "grapheme"])
def test_streamed_pieces_are_the_text_in_other_units(unit: str) -> None:
    if unit == "byte":
        symbols = [byte_symbol(byte) for byte in range(256)]
    else:
        symbols = ["a", "e\u0301", "東", "🇨🇭", " ", "\r\n"]
    made = Vocabulary(symbols, [1] * len(symbols), {"unknown": None, "end_of_document": None}, unit)
    torch.manual_seed(0)
    model = TrainedModel(CharacterLanguageModel(len(made), hidden_size=8).eval(), made)
    for seed in range(3):
        text = model.generate("東", length=60, seed=seed)[0]
        assert "".join(model.stream("東", length=60, seed=seed)) == text
        stop = text[20:22]
        expected = text[: text.index(stop)]
        assert model.generate("東", length=60, seed=seed, stop=stop) == [expected]
        assert "".join(model.stream("東", length=60, seed=seed, stop=stop)) == expected


def test_unknown_characters_can_be_replaced_or_skipped() -> None:
    model = trained()
    greedy: dict[str, Any] = {"length": 30, "temperature": 0}
    skipped = model.generate("aé東b", on_unknown="skip", **greedy)
    assert skipped == model.generate("ab", **greedy)
    replaced = model.generate("aéb", on_unknown="replace", **greedy)
    assert replaced == model.generate("a東b", on_unknown="replace", **greedy)
    request = Request("aéb", 1, on_unknown="replace")
    assert model.encode_prompt(request)[-3:] == [0, model.vocabulary.unknown, 1]
    no_unknown = Vocabulary([*"ab"], [1, 1], {"unknown": None, "end_of_document": None})
    with pytest.raises(CharlmError, match="the vocabulary has no 'é'"):
        TrainedModel(model.model, no_unknown).generate("aéb", on_unknown="replace", **greedy)


def test_a_prompt_may_be_longer_than_the_text() -> None:
    model = trained()
    assert len(model.generate("a bad cafe " * 50, length=2)[0]) == 2


def test_prompts_stand_in_a_file_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("The film \r\n\nÉ\u2028t\n".encode())
    assert read_prompts(path) == ["The film ", "", "É\u2028t"]
    path.write_bytes(codecs.BOM_UTF8 + "a\n\N{ZERO WIDTH NO-BREAK SPACE}b".encode())
    assert read_prompts(path) == ["a", "\N{ZERO WIDTH NO-BREAK SPACE}b"]
    path.write_text("a\n\nb")
    assert read_prompts(path) == ["a", "", "b"]
    for content, message in (
        (b"", "prompts.txt: holds no prompt; write one a line"),
        (b"abc\xff", "prompts.txt: byte 3: not UTF-8; save it as UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(CharlmError, match=message):
            read_prompts(path)
    for name in (tmp_path, tmp_path / "none", "a\0b", "\ud800", "a" * 300):
        with pytest.raises(CharlmError, match=r"; name another$"):
            read_prompts(name)


SETTINGS: dict[str, Any] = {
    "prompts": ["a", "bad é"],
    "temperatures": [0.9, 1.1],
    "top_k": None,
    "top_p": None,
    "length": 40,
    "num_samples": 2,
    "seed": 0,
    "stop": None,
    "on_unknown": "skip",
    "prompts_file": None,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a saved model."""
    model = trained()
    sizes = {"hidden_size": 24, "embedding_size": 8, "tie_weights": False}
    path = tmp_path / "model"
    save_model(path, model.model, vocabulary=model.vocabulary, architecture=sizes, training={})
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"top_k": 2},
        {"top_p": 0.3},
        {"stop": "a"},
        {"seed": 7},
        {"length": 5},
        {"num_samples": 1},
        {"on_unknown": "replace"},
        {"temperatures": [0.0]},
        {"prompts": ["cafe"]},
        {"prompts_file": "prompts.txt"},
    ],
)
def test_the_stage_writes_what_the_settings_ask_for(
    folder: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    settings = SETTINGS | changed
    prompts = settings["prompts"]
    if settings["prompts_file"]:
        settings["prompts_file"] = tmp_path / settings["prompts_file"]
        prompts = ["feed ", "me"]
        settings["prompts_file"].write_text("feed \nme\n")
    sample(folder, tmp_path / "samples.jsonl", device="cpu", **settings)
    same = {key: settings[key] for key in ("top_k", "top_p", "stop", "on_unknown")}
    expected = [
        Request(prompt, settings["length"], temperature, seed=settings["seed"] + count, **same)
        for prompt in prompts
        for temperature in settings["temperatures"]
        for count in range(settings["num_samples"])
    ]
    lines = (tmp_path / "samples.jsonl").read_text().splitlines()
    texts = [load(folder).draw([request])[0] for request in expected]
    assert [json.loads(line) for line in lines] == [
        sample_record(request, text) for request, text in zip(expected, texts, strict=True)
    ]
    for line, request in zip(map(json.loads, lines), expected, strict=True):
        assert (line["prompt"], line["temperature"]) == (request.prompt, request.temperature)
        assert (line["top_k"], line["top_p"], line["seed"]) == (
            *(settings["top_k"], settings["top_p"]),
            request.seed,
        )
    if changed:
        sample(folder, tmp_path / "usual.jsonl", device="cpu", **SETTINGS)
        assert (tmp_path / "usual.jsonl").read_text().splitlines() != lines


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_the_device_is_used(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CharlmError, match=r"^training\.device: this machine has no 'cuda:1'"):
        sample(folder, tmp_path / "samples.jsonl", device="cuda:1", **SETTINGS)
    for device in ("cuda:1", torch.device("cuda", 1)):
        with pytest.raises(CharlmError, match=r"^this machine has no 'cuda:1'"):
            charlm.load(folder, device=device)
    for device in ("cpu", "auto", torch.device("cpu")):
        assert charlm.load(folder, device=device).model.device == torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_callers_default_dtype_changes_nothing(folder: Path, dtype: torch.dtype) -> None:
    def texts() -> list[Any]:
        model = charlm.load(folder)
        prompt = "a bad cafe " * 60
        return [model.generate(prompt, length=99, num_samples=3), model.score(prompt)]

    expected = texts()
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert texts() == expected
    finally:
        torch.set_default_dtype(before)
