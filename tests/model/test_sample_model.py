"""The stage `sample`: prompts and settings in, `samples.jsonl` out."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.sample_model import read_prompts, sample_model
from charlm.model.sampling import SampleRequest
from charlm.model.store import save_model
from charlm.model.trained_model import load
from tests.model.models import WRITER, make_trained

SETTINGS: dict[str, Any] = {
    "prompts": ["a", "bad é"],
    "temperatures": [0.9, 1.1],
    "top_k": None,
    "top_p": None,
    "length": 40,
    "num_samples": 2,
    "seed": 0,
    "stop": None,
    "end": False,
    "on_unknown": "skip",
    "prompts_file": None,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a saved model."""
    made = make_trained()
    path = tmp_path / "model"
    save_model(path, made.model, vocabulary=made.vocabulary, architecture=WRITER, training={})
    return path


def written(folder: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the stage and return the records it has written."""
    sample_model(folder, folder / "samples.jsonl", device="cpu", **settings)
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"top_k": 2},
        {"top_p": 0.3},
        {"stop": "a"},
        {"end": True},
        {"seed": 7},
        {"length": 5},
        {"num_samples": 1},
        {"on_unknown": "replace"},
        {"temperatures": [0.0]},
        {"prompts": ["cafe"]},
        {"prompts_file": "prompts.txt"},
    ],
)
def test_each_prompt_and_temperature_gets_its_samples(
    folder: Path, changed: dict[str, Any]
) -> None:
    settings = SETTINGS | changed
    prompts = settings["prompts"]
    if settings["prompts_file"]:
        settings["prompts_file"] = folder / settings["prompts_file"]
        prompts = ["feed ", "me"]
        settings["prompts_file"].write_text("feed \nme\n")
    records = written(folder, settings)
    model = load(folder)
    expected = []
    for prompt in prompts:
        for temperature in settings["temperatures"]:
            for number in range(settings["num_samples"]):
                seed = settings["seed"] + number
                shown = {"temperature": temperature, "seed": seed}
                shown |= {key: settings[key] for key in ("top_k", "top_p")}
                hidden = {key: settings[key] for key in ("length", "stop", "end", "on_unknown")}
                [sample] = model.draw([SampleRequest(prompt, **shown, **hidden)])
                expected.append({"prompt": prompt, **shown, **sample._asdict()})
    assert records == expected
    if changed:
        assert written(folder, SETTINGS) != records


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_named_with_its_setting(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CharlmError, match=r"^training\.device: this machine has no 'cuda:1'"):
        sample_model(folder, tmp_path / "samples.jsonl", device="cuda:1", **SETTINGS)


def test_a_file_has_one_prompt_per_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("The film \r\n\nÉ\u2028t\n".encode())
    assert read_prompts(path) == ["The film ", "", "É\u2028t"]
    path.write_bytes(codecs.BOM_UTF8 + "a\n\N{ZERO WIDTH NO-BREAK SPACE}b".encode())
    assert read_prompts(path) == ["a", "\N{ZERO WIDTH NO-BREAK SPACE}b"]
    path.write_text("a\n\nb")
    assert read_prompts(path) == ["a", "", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "prompts.txt: no prompts; write one per line"),
        (b"abc\xff", "prompts.txt: byte 3: not UTF-8; save it as UTF-8"),
    ],
)
def test_a_file_without_valid_prompts_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(CharlmError, match=message):
        read_prompts(path)


@pytest.mark.parametrize("name", [".", "none", "a\0b", "\ud800", "a" * 300])
def test_a_file_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(CharlmError, match=r"; name another$"):
        read_prompts(name)
