"""The models in the page write what Python's write with the same rounded weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.report.conftest import Browser, report_of, write_comparison

import charlm
import charlm.model.sampling
from charlm.model.network import make_model, save_model, with_ngram
from charlm.report.playground import quantize
from charlm.text.symbols import Unit, byte_symbol
from charlm.text.vocabulary import Vocabulary


def test_rounding_is_within_half_a_step_of_each_row() -> None:
    matrix = np.random.default_rng(0).normal(size=(9, 50)).astype(np.float32)
    matrix[3] *= 1000
    matrix[4] = 0
    factors, rounded = quantize(matrix)
    assert rounded.dtype == np.int8
    error = np.abs(factors[:, None] * rounded - matrix).max(axis=1)
    assert (error <= np.abs(matrix).max(axis=1) / 127 * 0.501).all()


PROMPT = "a bad cafe, é東 <"
SYMBOLS = [*"abcdefghij <,.\n", "<unknown>", "<end_of_document>"]
VOCABULARY = Vocabulary(SYMBOLS, [1] * 17, {"unknown": 15, "end_of_document": 16})


def write_model(folder: Path, symbols: Vocabulary, **architecture: Any) -> None:
    """Write a small model that has learned some text of the vocabulary's first symbols."""
    settings: dict[str, Any] = {"hidden_size": 48, "embedding_size": 12, "num_layers": 1}
    settings |= {"tie_weights": False, "one_hot": False, **architecture}
    torch.manual_seed(0)
    model = make_model(len(symbols), **settings)
    text = torch.randint(0, min(15, len(symbols)), (80, 1)).repeat(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(80):
        optimizer.zero_grad()
        logits, _ = model(text[:-1])
        torch.nn.functional.cross_entropy(logits[:, 0], text[1:, 0]).backward()
        optimizer.step()
    both = with_ngram(model, settings, text[:, 0].numpy())
    save_model(folder, both, vocabulary=symbols, architecture=settings, training={})


def rounded(folder: Path) -> charlm.model.sampling.TrainedModel:
    """Load a model with its weights rounded as those in the page are."""
    loaded = charlm.load(folder)
    loaded.model = getattr(loaded.model, "network", loaded.model)
    for parameter in loaded.model.parameters():
        if parameter.ndim == 2:
            factors, values = quantize(parameter.detach().numpy())
            parameter.data = torch.from_numpy(factors[:, None] * values)
    return loaded


def play(browser: Browser, model: int, prompt: str, temperature: float, length: int) -> str:
    """Fill in the form, let the model write to the end, and return all that it shows."""
    browser.evaluate(
        f"""(async () => {{
            const form = document.querySelector("#playground form");
            const status = document.querySelector("#playground [role=status]");
            status.textContent = "";
            form.model.value = {model};
            form.prompt.value = {json.dumps(prompt)};
            form.temperature.value = {temperature};
            form.length.value = {length};
            form.requestSubmit();
            while (!status.textContent) await new Promise((done) => setTimeout(done, 50));
        }})()"""
    )
    return str(browser.evaluate("document.querySelector('.written').textContent"))


def test_greedy_text_is_pythons(results: Path, browser: Browser) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "lstm": {"cell": "lstm"},
        "gru": {"cell": "gru", "num_layers": 2, "one_hot": True},
        "tied": {"cell": "lstm", "num_layers": 2, "tie_weights": True, "embedding_size": 48},
        "several": {"cell": "gru", "num_layers": 2, "members": 2},
        "counted": {"cell": "lstm", "ngram_order": 4, "ngram_weight": 0.5},
    }
    shutil.rmtree(results / "models" / "lstm")
    for name, architecture in kinds.items():
        if not (results / "models" / name).exists():
            shutil.copytree(results / "models" / "gru", results / "models" / name)
        write_model(results / "models" / name, VOCABULARY, **architecture)
    write_comparison(results, list(kinds))
    report_of(results, models={name: {} for name in kinds})
    browser.open(results / "report.html")
    prompt = PROMPT.replace("é", "").replace("東", "")
    for number, name in enumerate(kinds):
        model = rounded(results / "models" / name)
        (text,) = model.generate(prompt, length=300, temperature=0)
        assert len({text[place : place + 3] for place in range(298)}) > 30
        assert play(browser, number, prompt, 0, 300) == prompt + text, name
    names = browser.evaluate("[...document.querySelectorAll('select option')].map((o) => o.text)")
    assert names == [*list(kinds)[:-1], "counted without its n-gram model"]
    assert len(play(browser, 0, PROMPT, 1.0, 20)) == len(PROMPT) + 20
    assert browser.console == []


def test_each_character_shows_its_surprise(results: Path, browser: Browser) -> None:
    write_model(results / "models" / "gru", VOCABULARY, cell="gru")
    report_of(results)
    browser.open(results / "report.html")
    text = play(browser, 1, PROMPT, 0.5, 40)
    model = rounded(results / "models" / "gru")
    symbols = [16, *(SYMBOLS.index(c) if c in SYMBOLS else 15 for c in text)]
    with torch.no_grad():
        logits, _ = model.model(torch.tensor(symbols[:-1])[:, None])
    nats = -logits[:, 0].log_softmax(1)[range(len(text)), symbols[1:]].numpy()
    shown = browser.evaluate(
        "[...document.querySelectorAll('.written span')].map((s) => [s.title, s.className])"
    )
    assert [float(title.removesuffix(" bits")) for title, _ in shown] == pytest.approx(
        nats / np.log(2), abs=0.006
    )
    given = [name.endswith("given") for _, name in shown]
    assert given == [True] * len(PROMPT) + [False] * 40
    for (title, name), _ in zip(shown, text, strict=True):
        assert name.startswith(f"bits-{min(7, int(float(title.split()[0])))}")


def test_writing_can_be_stopped(results: Path, browser: Browser) -> None:
    report_of(results)
    browser.open(results / "report.html")
    browser.evaluate(
        """(async () => {
            const form = document.querySelector("#playground form");
            form.length.value = 5000;
            form.requestSubmit();
            await new Promise((done) => setTimeout(done, 200));
            form.querySelector("[type=button]").click();
            await new Promise((done) => setTimeout(done, 200));
        })()"""
    )
    status = browser.evaluate("document.querySelector('#playground [role=status]').textContent")
    assert 1 <= int(status.split()[0]) < 5000


@pytest.mark.parametrize("unit", ["byte", "grapheme"])
def test_other_units_are_read_and_written(results: Path, browser: Browser, unit: Unit) -> None:
    if unit == "byte":
        symbols = [byte_symbol(byte) for byte in range(256)]
    else:
        symbols = ["a", "e\u0301", "東", "🇨🇭", " "]
    vocabulary = Vocabulary(
        symbols, [1] * len(symbols), {"unknown": None, "end_of_document": None}, unit
    )
    write_model(results / "models" / "lstm", vocabulary, cell="lstm")
    report_of(results)
    browser.open(results / "report.html")
    model = rounded(results / "models" / "lstm")
    prompt = "a 東e\u0301🇨🇭"
    expected = model.generate(prompt, length=30, temperature=0)[0]
    text = play(browser, 0, prompt, 0, 30)
    assert text.startswith(prompt + expected[:3])
