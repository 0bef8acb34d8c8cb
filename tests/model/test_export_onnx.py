"""The exported step computes the same as the model."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.export_onnx import export_onnx
from charlm.model.mixture import Mixture
from charlm.model.store import load_model, make_model, save_model
from charlm.settings import Architecture, Cell
from charlm.text.vocabulary import Vocabulary
from tests.conftest import ROOT
from tests.model import models
from tests.model.models import (
    MIXED,
    ONE_HOT,
    SMALL,
    TIED,
    WRITER,
    letters_vocabulary,
    make,
    make_trained,
    with_experts,
)

onnxruntime = pytest.importorskip("onnxruntime")

VOCABULARY = Vocabulary(
    [*"abcdé東\n", "<unknown>"], [1] * 8, {"unknown": 7, "end_of_document": None}
)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "architecture",
    [
        SMALL,
        replace(SMALL, num_layers=3),
        ONE_HOT,
        TIED,
        replace(TIED, members=2, num_layers=2),
    ],
)
def test_the_exported_step_computes_the_same(
    tmp_path: Path, cell: Cell, architecture: Architecture
) -> None:
    architecture = replace(architecture, cell=cell)
    torch.manual_seed(0)
    model = make_model(8, architecture)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    save_model(tmp_path, model, vocabulary=VOCABULARY, architecture=architecture, training={})
    export_onnx(tmp_path, tmp_path / "model.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["vocabulary"]) == VOCABULARY.to_dict()
    names = ["h", "c"] if cell == "lstm" else ["h"]
    rows = architecture.num_layers * architecture.members
    loaded, _ = load_model(tmp_path)
    for batch in (1, 3):
        tokens = torch.randint(0, 8, (20, batch))
        state = {name: np.zeros((rows, batch, 6), np.float32) for name in names}
        logits: list[npt.NDArray[np.float32]] = []
        for row in tokens.numpy():
            outputs = ["logits", *(f"next_{name}" for name in names)]
            found, *after = session.run(outputs, {"symbol": row, **state})
            logits.append(found)
            state = dict(zip(names, after, strict=True))
        with torch.no_grad():
            expected, last_state = loaded(tokens)
        np.testing.assert_allclose(np.stack(logits), expected, rtol=1e-4, atol=1e-5)
        for name, tensor in zip(names, last_state, strict=True):
            np.testing.assert_allclose(state[name], tensor, rtol=1e-4, atol=1e-5)

    first = (tmp_path / "model.onnx").read_bytes()
    export_onnx(tmp_path, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == first


@pytest.mark.parametrize("ends", [True, False], ids=["documents end", "one text"])
@pytest.mark.parametrize(
    "architecture", [MIXED, replace(MIXED, cell="gru", members=2)], ids=["lstm", "gru ensemble"]
)
def test_the_exported_step_of_a_mixture_computes_the_same(
    tmp_path: Path, architecture: Architecture, ends: bool
) -> None:
    symbols = [*"ab' é\n", "<unknown>", *["<end_of_document>"] * ends]
    vocabulary = Vocabulary(
        symbols, [1] * len(symbols), {"unknown": 6, "end_of_document": 7 if ends else None}
    )
    torch.manual_seed(0)
    network = make_model(len(symbols), architecture)
    text = torch.randint(0, len(symbols), (600,)).numpy()
    model = with_experts(network, architecture, vocabulary, text)
    assert isinstance(model, Mixture)
    empty = model.experts.table("ngram4").pruned(1000)
    assert not len(empty.contexts)
    model.experts.tables["ngram4"] = empty
    save_model(tmp_path, model, vocabulary=vocabulary, architecture=architecture, training={})
    export_onnx(tmp_path, tmp_path / "model.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    tokens = torch.randint(0, len(symbols), (60, 3))
    tokens[:, 0] = torch.from_numpy(text[:60])  # contexts that were counted
    found = run_steps(session, tokens.numpy())
    model.eval()
    with torch.no_grad():
        expected = model(tokens)[0].log_softmax(-1)
        alone = model.network(tokens)[0].log_softmax(-1)
        initial = model.initial_logits(1)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(found - alone.numpy()).max() > 0.1

    stated = json.loads(session.get_modelmeta().custom_metadata_map["initial_logits"])
    if ends:
        assert stated is None
    else:
        np.testing.assert_allclose(stated, initial, rtol=1e-5)


def run_steps(session: Any, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the logits after each token; all inputs but the symbol are zero at first."""
    symbol, *others = session.get_inputs()
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    batch = tokens.shape[1]
    state = {
        each.name: np.zeros((each.shape[0], batch, *each.shape[2:]), kinds[each.type])
        for each in others
    }
    logits = []
    for row in tokens:
        found, *after = session.run(None, {symbol.name: row, **state})
        logits.append(found)
        state = dict(zip(state, after, strict=True))
    return np.stack(logits)


@pytest.mark.parametrize(
    ("architecture", "ends"), [(replace(WRITER, mixture=MIXED.mixture), True), (WRITER, False)]
)
def test_the_documented_program_gives_the_score_of_charlm(
    tmp_path: Path, architecture: Architecture, ends: bool
) -> None:
    vocabulary = letters_vocabulary(end_of_document=ends)
    trained = make_trained(architecture, end_of_document=ends)
    save_model(
        tmp_path, trained.model, vocabulary=vocabulary, architecture=architecture, training={}
    )
    export_onnx(tmp_path, tmp_path / "model.onnx")
    page = (ROOT / "docs/sharing.md").read_text("utf-8")
    [program] = re.findall(r"^```python\n(import json\n.*?)^```$", page, re.M | re.S)
    text = "abc defg a badge é"  # one character is unknown
    program = program.replace("A film like no other.", text)
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['torch'] = None\n" + program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[0]) == pytest.approx(trained.score(text), abs=1e-4)


def test_weights_that_do_not_fit_into_a_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(MIXED)
    save_model(tmp_path, model, vocabulary=models.VOCABULARY, architecture=MIXED, training={})
    monkeypatch.setattr("charlm.model.export_onnx.MAX_BYTES", 1000)
    with pytest.raises(CharlmError, match=r"at most 2 GB; lower mixture\.max_megabytes"):
        export_onnx(tmp_path, tmp_path / "model.onnx")
