"""A repository for the Hub gives the scores of the model that it was made from."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.hub.export_hub import export_hub
from charlm.model.store import make_model, save_model
from charlm.model.trained_model import load
from charlm.settings import Architecture, MixtureSettings
from charlm.text.vocabulary import Vocabulary
from tests.model.models import ENSEMBLE, MIXED, ONE_HOT, TIED, with_experts

TEXTS = ["abba", "cab 'bé<end_of_document>", "🏳️‍🌈x\n\nAb a"]
CHARACTERS = [*"abcAB 'é\n<>_edfomnutk", "<unknown>", "<end_of_document>"]

CARD = """\
---
library_name: charlm
---
# A model
## Usage
charlm
## Limitations
"""

# Runs in a process of its own, in which charlm cannot be imported.
CHECK = """
import json, sys
sys.modules["charlm"] = None
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

def encoded(tokenizer, *texts):
    options = {"return_tensors": "pt", "padding": True, "return_token_type_ids": False}
    return tokenizer(list(texts), **options)

def check(folder, texts):
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    found = {"nats": [], "ids": [], "texts": []}
    padded = encoded(tokenizer, *texts)
    together = model(**padded).logits
    for row, text in enumerate(texts):
        ids = encoded(tokenizer, text)["input_ids"]
        alone = model(ids, labels=ids)
        assert torch.allclose(together[row, -ids.shape[1] :], alone.logits[0], atol=1e-5)
        nats = -alone.logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None]).sum()
        assert torch.isclose(alone.loss * (ids.shape[1] - 1), nats)
        found["nats"].append(float(nats))
        found["ids"].append(ids[0].tolist())
        found["texts"].append(tokenizer.decode(ids[0], skip_special_tokens=True))
    for name, inputs in {"alone": encoded(tokenizer, texts[0]), "in_batch": padded}.items():
        written = model.generate(**inputs, do_sample=False, max_new_tokens=12)
        found[name] = written[0, inputs["input_ids"].shape[1] :].tolist()
    return found

with torch.no_grad():
    print(json.dumps([check(folder, json.loads(sys.argv[1])) for folder in sys.argv[2:]]))
"""


def saved(
    folder: Path, architecture: Architecture, unit: str, special: dict[str, int | None]
) -> Vocabulary:
    """Save a model with random weights, and a card."""
    symbols = list(CHARACTERS)
    if unit == "byte":
        symbols = [f"<0x{byte:02X}>" if byte > 127 else chr(byte) for byte in range(256)]
        symbols += ["<end_of_document>"] * (special["end_of_document"] is not None)
    elif unit == "grapheme":
        symbols = ["🏳️‍🌈", *symbols]
    vocabulary = Vocabulary.from_dict(
        {"unit": unit, "symbols": symbols, "counts": [1] * len(symbols), "special": special}
    )
    torch.manual_seed(2)
    network = make_model(len(symbols), architecture)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    text = np.array([*vocabulary.encode("abba cab 'babe' abba a"), 1, 2, 1] * 4)
    model = with_experts(network, architecture, vocabulary, text)
    save_model(
        folder, model, vocabulary=vocabulary, architecture=architecture, training={"steps": 1}
    )
    (folder / "README.md").write_text(CARD)
    return vocabulary


CASES: dict[str, tuple[Architecture, str, dict[str, int | None]]] = {
    "mixture": (
        replace(MIXED, mixture=MixtureSettings(order=5)),
        "character",
        {"unknown": 21, "end_of_document": 22},
    ),
    "mixture_of_ensemble": (
        replace(ENSEMBLE, cell="gru", num_layers=2, mixture=MixtureSettings(order=4)),
        "grapheme",
        {"unknown": 22, "end_of_document": None},
    ),
    "tied": (replace(TIED, members=2), "byte", {"unknown": None, "end_of_document": 256}),
    "one_hot": (
        replace(ONE_HOT, cell="gru"),
        "character",
        {"unknown": 21, "end_of_document": None},
    ),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of the models, and what transformers computes from the repositories."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hub")
    for name, case in CASES.items():
        saved(folder / name, *case)
        export_hub(folder / name, folder / f"{name}_hub")
    repositories = [str(folder / f"{name}_hub") for name in CASES]
    done = subprocess.run(
        [sys.executable, "-c", CHECK, json.dumps(TEXTS), *repositories],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_transformers_computes_the_same(found: tuple[Path, dict[str, Any]], name: str) -> None:
    folder, computed = found[0], found[1][name]
    trained = load(folder / name)
    vocabulary = trained.vocabulary
    config = json.loads((folder / f"{name}_hub/config.json").read_text())
    for number, text in enumerate(TEXTS):
        ids = computed["ids"][number]
        assert ids == [config["bos_token_id"], *vocabulary.encode(text).tolist()]
        decoded = vocabulary.decode(ids[1:]).replace("\N{REPLACEMENT CHARACTER}", "")
        assert computed["texts"][number] == decoded
        unknown = vocabulary.count_unknown(text) * config["unknown_nats"]
        nats = (computed["nats"][number] + unknown) / len(text)
        assert nats == pytest.approx(trained.score(text), abs=1e-5)
    assert computed["alone"] == computed["in_batch"]
    written = vocabulary.decode(computed["alone"])
    assert trained.generate(TEXTS[0], length=12, temperature=0)[0].startswith(written)


def test_a_card_is_needed_and_says_how_to_load_the_repository(tmp_path: Path) -> None:
    saved(tmp_path / "model", ENSEMBLE, "character", {"unknown": 21, "end_of_document": 22})
    export_hub(tmp_path / "model", tmp_path / "hub")
    card = (tmp_path / "hub/README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n---\n# A model\n## Usage\n")
    assert card.endswith("document before it.\n\n## Limitations\n")
    assert "trust_remote_code=True" in card
    with pytest.raises(CharlmError, match=r"model: the model's own folder; name another"):
        export_hub(tmp_path / "model", tmp_path / "hub/../model")
    (tmp_path / "model/README.md").unlink()
    with pytest.raises(CharlmError, match=r"README.md: there is no such file; make it: `snakemake"):
        export_hub(tmp_path / "model", tmp_path / "hub")


def test_the_code_of_a_repository_imports_only_its_own_modules(tmp_path: Path) -> None:
    saved(tmp_path / "model", ENSEMBLE, "character", {"unknown": 21, "end_of_document": 22})
    export_hub(tmp_path / "model", tmp_path / "hub")
    allowed = {*sys.stdlib_module_names, "numpy", "torch", "transformers"}
    modules = {path.stem: path.read_text() for path in (tmp_path / "hub").glob("*.py")}
    assert len(modules) == 9
    for text in modules.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.module in modules
            elif isinstance(node, ast.ImportFrom | ast.Import):
                module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                assert (module or "").split(".")[0] in allowed
