"""No input of the documented types raises anything but a `CharlmError`.

`pytest --hypothesis-profile=all tests/test_fuzz.py` tries many more inputs than the default.
"""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import charlm
from charlm.cli import main
from charlm.errors import CharlmError
from charlm.model.devices import choose_device
from charlm.model.sample_model import read_prompts
from charlm.model.sampling import SampleRequest
from charlm.model.store import make_model, save_model
from charlm.model.trained_model import TrainedModel
from charlm.settings import Architecture
from charlm.text.symbols import Unit, byte_symbol
from charlm.text.vocabulary import Vocabulary

UNITS: dict[Unit, list[str]] = {
    "character": [*"abc .\né"],
    "grapheme": ["a", "b", " ", "e\u0301", "🇨🇭", "\r\n"],
    "byte": [byte_symbol(byte) for byte in range(256)],
}

texts = st.text(st.characters(), max_size=20) | st.text("ab .é\ud800\r\n\0", max_size=600)
integers = st.integers() | st.integers(-2, 5) | st.sampled_from([2**31, 2**63 - 1, 2**64, 10**40])
floats = st.floats() | st.sampled_from([0.0, 1e-320, 1e308, -0.0, 0.5])
requests: dict[str, st.SearchStrategy[Any]] = {
    "length": st.integers(max_value=6) | st.just(-(10**40)),
    "temperature": floats | integers,
    "top_k": st.none() | integers,
    "top_p": st.none() | floats,
    "seed": integers,
    "stop": st.none() | texts,
    "on_unknown": st.sampled_from(["error", "replace", "skip", "ignore", ""]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each unit, and with files and folders that hold no model."""
    path = tmp_path_factory.mktemp("fuzz")
    for unit, symbols in UNITS.items():
        special: dict[str, int | None] = {"unknown": None, "end_of_document": None}
        if unit == "character":
            special = {"unknown": len(symbols), "end_of_document": len(symbols) + 1}
            symbols = [*symbols, "<unknown>", "<end_of_document>"]
        architecture = Architecture(hidden_size=8, embedding_size=4)
        torch.manual_seed(0)
        save_model(
            path / unit,
            make_model(len(symbols), architecture),
            vocabulary=Vocabulary(symbols, [1] * len(symbols), special, unit),
            architecture=architecture,
            training={},
        )
    (path / "empty").write_bytes(b"")
    (path / "binary").write_bytes(bytes(range(256)) * 40)
    (path / "binary.json").write_bytes(bytes(range(256)))
    (path / "list.json").write_text("[1]")
    (path / "odd.json").write_text('{"models": {"a": {"training": {}}}, "corpus": {"name": "x"}}')
    (path / "deep.json").write_text("[" * 100_000)
    (path / "text").write_text("abc\na cab.\n")
    (path / "bom").write_text("abc\n", encoding="utf-8-sig")
    (path / "utf16").write_text("abc\n", encoding="utf-16")
    (path / "a.yaml").write_text("corpus: {name: a, source: text}\nmodels: {a: {}}\n")
    (path / "bad.yaml").write_text("corpus: [")
    for name in ("folder", "crate"):
        (path / name).mkdir()
    (path / "crate/ro-crate-metadata.json").write_text('{"@graph": [{"@id": "./"}]}')
    return path


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, TrainedModel]:
    """The model of each unit."""
    return {unit: charlm.load(folder / unit) for unit in UNITS}


@given(
    unit=st.sampled_from(list(UNITS)),
    prompt=texts,
    number=integers,
    more=st.fixed_dictionaries({}, optional=requests),
)
def test_generate(
    models: dict[str, TrainedModel], unit: str, prompt: str, number: int, more: dict[str, Any]
) -> None:
    number = min(number, 3)
    with suppress(CharlmError):
        arguments = {"length": 3} | more
        texts = models[unit].generate(prompt, num_samples=number, **arguments)
        assert len(texts) == number
        assert texts[0] == "".join(models[unit].stream(prompt, **arguments))
        request = SampleRequest(prompt, **arguments)
        (drawn,) = models[unit].draw([request])
        assert drawn.text == texts[0] == "".join(models[unit].pieces(request))
        assert not request.stop or request.stop not in texts[0]
        assert asdict(request)["prompt"] == prompt


@given(unit=st.sampled_from(list(UNITS)), text=texts)
def test_score(models: dict[str, TrainedModel], unit: str, text: str) -> None:
    with suppress(CharlmError):
        assert 0 < models[unit].score(text) < 100


@given(unit=st.sampled_from(list(UNITS)), text=texts, ids=st.lists(integers))
def test_vocabulary(models: dict[str, TrainedModel], unit: str, text: str, ids: list[int]) -> None:
    vocabulary = models[unit].vocabulary
    unknown = vocabulary.unknown_characters(text)
    assert (vocabulary.count_unknown(text) == 0) == (not unknown)
    with suppress(CharlmError):
        vocabulary.decode(ids)
    with suppress(CharlmError):
        encoded = vocabulary.encode(text)
        assert unknown or vocabulary.decode(encoded) == text


# JSON values, without sizes that would take much memory.
scalars = [None, False, True, -1, 0, 1, 2, 9, 0.5, -0.0, 1e308, float("nan"), float("inf")]
values = st.recursive(
    st.sampled_from([*scalars, "lstm", "gru", "byte", "vocabulary"]) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(unit=st.sampled_from(list(UNITS)), place=st.integers(0, 30), value=values)
def test_a_changed_model(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, unit: str, place: int, value: Any
) -> None:
    description = json.loads((folder / unit / "model.json").read_text())
    del description["digests"]  # which would find any change
    places = [
        (section, key)
        for section in (description, *description.values())
        if isinstance(section, dict)
        for key in section
    ]
    section, key = places[place % len(places)]
    section[key] = value
    changed = tmp_path_factory.mktemp("changed")
    (changed / "model.json").write_text(json.dumps(description))
    (changed / "vocabulary.json").write_text(json.dumps(description.get("vocabulary")))
    (changed / "model.safetensors").symlink_to(folder / unit / "model.safetensors")
    with suppress(CharlmError):
        model = charlm.load(changed)
        model.generate("a", length=2)
        model.score("a")
    with suppress(CharlmError):
        Vocabulary.load(changed / "vocabulary.json")


@given(name=texts | st.text("cudamps:0123456789", max_size=8))
@example("cuda:256")
def test_devices(name: str) -> None:
    with suppress(CharlmError):
        assert choose_device(name).type in ("cpu", "cuda", "mps")


@given(data=st.binary() | st.text().map(str.encode))
def test_prompts_of_any_bytes(folder: Path, data: bytes) -> None:
    path = folder / "prompts"
    path.write_bytes(data)
    with suppress(CharlmError):
        assert all("\n" not in prompt for prompt in read_prompts(path))


@given(name=texts)
def test_paths(name: str) -> None:
    for function in (charlm.load, read_prompts, Vocabulary.load):
        with suppress(CharlmError):
            function(name)


# Possible arguments: no null characters, and surrogates only for bytes that are not UTF-8.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9) | st.binary(
    max_size=9
).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
FILES = (
    "character byte empty binary binary.json list.json odd.json deep.json text bom utf16 a.yaml "
    "bad.yaml folder crate none . / -"
)
paths = st.sampled_from(FILES.split())
numbers = (integers | floats).map(str)
options = st.one_of(
    st.sampled_from(["--json", "--lines", "--", "--help", "--version", "-x", "--number=0"]).map(
        lambda flag: [flag]
    ),
    st.tuples(st.sampled_from(["--temperature", "--top-k", "--top-p", "--seed"]), numbers),
    st.tuples(st.sampled_from(["--prompt", "--stop", "--device", "--on-unknown"]), words),
    st.tuples(st.sampled_from(["--prompts", "--results", "--directory"]), paths | words),
).map(list)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(["sample", "score", "config", "train", "verify", "reproduce"]) | words,
    arguments=st.lists(paths | paths | words | numbers, max_size=3),
    more=st.lists(options, max_size=3),
    place=st.integers(0, 3),
    standard_input=st.binary() | st.text("ab .é\n").map(str.encode),
)
@example("train", ["odd.json", "a"], [], 0, b"")
@example("config", ["deep.json"], [], 0, b"")
@example("score", ["byte", "bom", "utf16"], [["--lines"]], 1, b"")
def test_commands(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    arguments: list[str],
    more: list[list[str]],
    place: int,
    standard_input: bytes,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(standard_input)))
    given = [command, *arguments[:place], *[word for option in more for word in option]]
    given += arguments[place:]
    if command == "sample":
        given += ["--length", "3"]
    output, errors = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        status = main(given)
    assert status in (0, 1, 2)
    if status == 2:
        assert errors.getvalue().startswith("charlm: ")
        assert len(errors.getvalue().splitlines()) == 1
    elif status == 1 and command != "verify":
        assert "charlm: " in errors.getvalue()
    assert "Traceback" not in errors.getvalue()
