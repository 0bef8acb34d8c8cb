"""The models in the page write the same text as Python does with the same rounded weights."""

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from playwright.sync_api import Page
from tests.model.models import with_experts
from tests.report.conftest import console, report_of, write_comparison

import charlm
import charlm.model.trained_model
from charlm.model.mixture import Mixture
from charlm.model.store import make_model, save_model
from charlm.report.playground import embed, quantize
from charlm.settings import Architecture
from charlm.text.symbols import byte_symbol
from charlm.text.tokens import TokenSplit
from charlm.text.vocabulary import Vocabulary


def test_rounding_errors_are_within_half_a_step_of_each_row() -> None:
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


def write_model(
    folder: Path,
    symbols: Vocabulary,
    *,
    end_bias: float = 0.0,
    gate: float = 0.1,
    **settings: Any,
) -> None:
    """Write a small model, trained on some text of the vocabulary's first symbols.

    A mixture weighs its network and its experts by `gate`, and by a little that varies.
    """
    values = {"hidden_size": 48, "embedding_size": 12, "mixture": None, **settings}
    architecture = Architecture.from_mapping(values, "test")
    torch.manual_seed(0)
    model = make_model(len(symbols), architecture)
    text = torch.randint(0, min(15, len(symbols)), (80, 1)).repeat(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(80):
        optimizer.zero_grad()
        logits, _ = model(text[:-1])
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits[:, 0], text[1:, 0]))
        optimizer.step()
    if end_bias:
        assert symbols.end_of_document is not None
        model.members[0].output.bias.data[symbols.end_of_document] = end_bias
    mixed = with_experts(model, architecture, symbols, text[:, 0].numpy())
    if isinstance(mixed, Mixture):
        mixed.gate.constant.data.fill_(gate)
        mixed.gate.output.weight.data.mul_(0.1)
    save_model(folder, mixed, vocabulary=symbols, architecture=architecture, training={})


def rounded(folder: Path) -> charlm.model.trained_model.TrainedModel:
    """Load a model with its weights rounded like those in the page."""
    loaded = charlm.load(folder)
    network = getattr(loaded.model, "network", loaded.model)
    for parameter in network.parameters():
        if parameter.ndim == 2:
            factors, values = quantize(parameter.detach().numpy())
            parameter.data = torch.from_numpy(factors[:, None] * values)
    return loaded


def write(page: Page, model: int, prompt: str, temperature: float, length: int) -> str:
    """Fill in the form, let the model write to the end, and return the text that is shown."""
    form = page.locator("#playground form")
    form.locator("[name=model]").select_option(index=model)
    form.locator("[name=prompt]").fill(prompt)
    form.locator("[name=temperature]").fill(str(temperature))
    form.locator("[name=length]").fill(str(length))
    form.get_by_text("Write on").click()
    page.locator("#playground [role=status]:not(:empty)").first.wait_for()
    return page.locator(".written").first.text_content() or ""


def test_greedy_text_is_the_same_as_in_python(results: Path, browser: Page) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "lstm": {"cell": "lstm"},
        "gru": {"cell": "gru", "num_layers": 2, "one_hot": True},
        "tied": {"cell": "lstm", "num_layers": 2, "tie_weights": True, "embedding_size": 48},
        "several": {"cell": "gru", "num_layers": 2, "members": 2},
        "mixed": {"cell": "lstm", "mixture": {"order": 4}},
    }
    shutil.rmtree(results / "models" / "lstm")
    for name, architecture in kinds.items():
        if not (results / "models" / name).exists():
            shutil.copytree(results / "models" / "gru", results / "models" / name)
        write_model(results / "models" / name, VOCABULARY, **architecture)
    write_comparison(results, list(kinds))
    report_of(results, models={name: {} for name in kinds})
    browser.goto((results / "report.html").as_uri())
    prompt = PROMPT.replace("é", "").replace("東", "")
    for number, name in enumerate(kinds):
        model = rounded(results / "models" / name)
        (text,) = model.generate(prompt, length=300, temperature=0)
        assert len({text[place : place + 3] for place in range(298)}) > 30
        assert write(browser, number, prompt, 0, 300) == prompt + text, name
    names = browser.locator("select option").all_text_contents()
    assert names == [*kinds, "lstm and gru, side by side"]
    assert len(PROMPT) <= len(write(browser, 0, PROMPT, 1.0, 20)) <= len(PROMPT) + 20
    assert console(browser) == []


def test_each_character_shows_its_surprisal(results: Path, browser: Page) -> None:
    write_model(results / "models" / "gru", VOCABULARY, cell="gru", mixture={"order": 4})
    report_of(results)
    browser.goto((results / "report.html").as_uri())
    text = write(browser, 1, PROMPT, 0.5, 40)
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
    assert given == [True] * len(PROMPT) + [False] * (len(text) - len(PROMPT))
    for (title, name), _ in zip(shown, text, strict=True):
        bits = float(title.split()[0])  # rounded, unlike the number that the class is from
        near = {min(7, int(max(0, bits + error))) for error in (-0.005, 0.005)}
        assert name.split()[0] in {f"bits-{number}" for number in near}


def test_the_end_of_a_document_ends_the_text(results: Path, browser: Page) -> None:
    write_model(results / "models" / "lstm", VOCABULARY, cell="lstm", end_bias=99.0)
    report_of(results)
    browser.goto((results / "report.html").as_uri())
    assert write(browser, 0, "abc", 0, 40) == "abc"
    status = browser.locator("#playground [role=status]:not(:empty)").first.text_content()
    assert status == "0 symbols, 0.00 bits per symbol; the document ends here"
    write_model(results / "models" / "lstm", VOCABULARY, cell="lstm", end_bias=-99.0)
    report_of(results)
    browser.goto((results / "report.html").as_uri())
    assert len(write(browser, 0, "abc", 0, 40)) == 43


def test_reading_can_be_stopped(results: Path, browser: Page) -> None:
    write_model(results / "models" / "lstm", VOCABULARY, cell="lstm")
    report_of(results)
    browser.goto((results / "report.html").as_uri())
    form = browser.locator("#playground form")
    form.locator("[name=prompt]").fill("ab" * 30_000)
    form.get_by_text("Read my text").click()
    form.get_by_text("Stop").click()
    browser.locator("#playground [role=status]:not(:empty)").first.wait_for()
    status = browser.locator("#playground [role=status]").first.text_content() or ""
    assert status.endswith("stopped")


def test_writing_can_be_stopped(results: Path, browser: Page) -> None:
    write_model(results / "models" / "lstm", VOCABULARY, cell="lstm", end_bias=-99.0)
    report_of(results)
    browser.goto((results / "report.html").as_uri())
    form = browser.locator("#playground form")
    form.locator("[name=length]").fill("5000")
    form.get_by_text("Write on").click()
    browser.locator(".written span").nth(3).wait_for()
    form.get_by_text("Stop").click()
    status = browser.locator("#playground [role=status]:not(:empty)").text_content()
    assert status
    assert 1 <= int(status.split()[0]) < 5000
    assert "; stopped; " in status


@pytest.mark.parametrize("unit", ["byte", "grapheme"])
def test_models_of_other_units_write(
    results: Path, browser: Page, unit: Literal["byte", "grapheme"]
) -> None:
    if unit == "byte":
        symbols = [byte_symbol(byte) for byte in range(256)]
    else:
        symbols = ["a", "e\u0301", "東", "🇨🇭", " ", "<unknown>"]
    special = {"unknown": symbols.index("<unknown>") if unit == "grapheme" else None}
    special["end_of_document"] = None
    vocabulary = Vocabulary(symbols, [1] * len(symbols), special, unit)
    write_model(results / "models" / "lstm", vocabulary, cell="lstm")
    report_of(results)
    browser.goto((results / "report.html").as_uri())
    model = rounded(results / "models" / "lstm")
    prompt = "a 東e\u0301🇨🇭"
    expected = model.generate(prompt, length=30, temperature=0)[0]
    text = write(browser, 0, prompt, 0, 30)
    assert text.startswith(prompt + expected[:3])


def test_the_counts_that_fit_are_kept_and_their_cost_is_measured(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lstm", "gru"):
        write_model(results / "models" / name, VOCABULARY, cell="lstm", mixture={"order": 4})
    folders = [results / "models" / name for name in ("lstm", "gru")]
    whole = embed(folders, results / "tokens", "test")
    assert len(whole.counts) == 1, "both models have the same counts"
    assert [each.share for each in whole.fidelity] == [1.0, 1.0]
    weights = sum(len(model["weights"]["data"]) for model in whole.models)
    room = len(whole.counts[0]["data"]) // 2
    monkeypatch.setattr("charlm.report.playground.MAX_BYTES", weights + room)
    monkeypatch.setattr("charlm.report.playground.NETWORK_BYTES", weights)
    pruned = embed(folders, results / "tokens", "test")
    assert not pruned.too_large
    assert room / 2 < len(pruned.counts[0]["data"]) <= room
    tokens = TokenSplit.load(results / "tokens", "test", VOCABULARY).tokens
    for each in pruned.fidelity:
        assert each.share is not None
        assert 0.1 < each.share < 0.9
        assert each.whole_bits is not None
        assert each.embedded_bits is not None
        assert abs(each.embedded_bits - each.whole_bits) > 0.001
        score = charlm.load(results / "models" / each.name).score(VOCABULARY.decode(tokens[:20]))
        assert each.whole_bits == pytest.approx(score / np.log(2), rel=1e-4)


def test_without_enough_counts_the_network_alone_is_embedded(results: Path) -> None:
    # A gate that distrusts what all predict, as one does that was trained on other counts.
    write_model(results / "models/lstm", VOCABULARY, gate=-0.5, mixture={"order": 4})
    playground = embed([results / "models/lstm"], results / "tokens", "test")
    assert playground.models[0]["mixture"] is None
    assert playground.counts == []
    (found,) = playground.fidelity
    assert found.share == 0
    assert found.embedded_bits is not None
    assert found.whole_bits is not None
    assert found.embedded_bits < found.whole_bits
    report_of(results)
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "lstm: weights rounded to 8 bits; the network alone, without its counts" in page


def test_the_page_reads_a_text_and_explains_each_character(results: Path, browser: Page) -> None:
    write_model(results / "models" / "lstm", VOCABULARY, cell="lstm", mixture={"order": 4})
    report_of(results)
    browser.goto((results / "report.html").as_uri())
    form = browser.locator("#playground form")
    form.locator("[name=prompt]").fill("abcé")
    form.get_by_text("Read my text").click()
    panel = browser.locator(".panel").first
    status = panel.locator("[role=status]:not(:empty)").text_content() or ""
    assert status.startswith("4 symbols, ")
    assert "not in the vocabulary: “é”" in status
    panel.locator(".written").focus()
    for _ in range(2):
        browser.keyboard.press("ArrowRight")
    detail = panel.locator(".detail").text_content() or ""
    model = rounded(results / "models" / "lstm").model
    with torch.no_grad():
        logits, _ = model(torch.tensor([[16], [0]]))
    probabilities = logits[-1, 0, :15].softmax(0) * (1 - logits[-1, 0].softmax(0)[15:].sum())
    best = probabilities.argsort(descending=True)[:5].tolist()
    names = {" ": "space", "\n": "line break"}
    expected = [
        f"{names.get(SYMBOLS[symbol], f'“{SYMBOLS[symbol]}”')} {100 * probabilities[symbol]:.1f}%"
        for symbol in best
    ]
    assert detail.startswith("“b”: ")
    assert detail.endswith(f"Likeliest: {', '.join(expected)}")

    # The same seed writes the same text, from the chosen character on.
    form.locator("[name=seed]").fill("7")
    form.locator("[name=length]").fill("30")
    texts = []
    for _ in range(2):
        form.locator("[name=prompt]").fill("abcd")
        form.get_by_text("Read my text").click()
        panel.locator("[role=status]:has-text('4 symbols')").wait_for()
        panel.locator(".written span").nth(1).click()
        panel.get_by_text("Write from here").click()
        panel.locator("[role=status]:has-text('30 symbols')").wait_for()
        texts.append(panel.locator(".written").text_content() or "")
    assert texts[0] == texts[1]
    assert texts[0].startswith("ab")
    assert len(texts[0]) == 32
    assert panel.locator(".written").evaluate("(each) => each === document.activeElement")


def test_two_models_write_side_by_side(results: Path, browser: Page) -> None:
    for name in ("lstm", "gru"):
        write_model(results / "models" / name, VOCABULARY, cell=name)
    report_of(results)
    browser.goto((results / "report.html").as_uri())
    form = browser.locator("#playground form")
    form.locator("[name=model]").select_option("all")
    form.locator("[name=temperature]").fill("0")
    form.locator("[name=length]").fill("40")
    form.locator("[name=prompt]").fill("ab")
    form.locator("[name=prompt]").press("Control+Enter")
    for number, name in enumerate(("lstm", "gru")):
        panel = browser.locator(".panel").nth(number)
        panel.locator("[role=status]:not(:empty)").wait_for()
        (text,) = rounded(results / "models" / name).generate("ab", length=40, temperature=0)
        assert panel.locator(".written").text_content() == f"ab{text}"
    assert console(browser) == []
