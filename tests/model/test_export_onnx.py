"""The exported step computes the same as the model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.model.export_onnx import export_onnx
from charlm.model.mixture import Mixture
from charlm.model.store import load_model, make_model, save_model
from charlm.settings import Architecture, Cell
from charlm.text.vocabulary import Vocabulary
from tests.model import models
from tests.model.models import MIXED, ONE_HOT, SMALL, TIED, make

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


def test_a_mixture_is_exported_without_its_experts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixture = make(MIXED)
    assert isinstance(mixture, Mixture)
    for name, model in {"mixture": mixture, "network": mixture.network}.items():
        architecture = MIXED if name == "mixture" else SMALL
        save_model(
            tmp_path / name,
            model,
            vocabulary=models.VOCABULARY,
            architecture=architecture,
            training={},
        )
        export_onnx(tmp_path / name, tmp_path / f"{name}.onnx")
    assert (tmp_path / "mixture.onnx").read_bytes() == (tmp_path / "network.onnx").read_bytes()
    [message] = [record.getMessage() for record in caplog.records]
    assert message == f"{tmp_path / 'mixture'}: the network alone is exported, without its experts"
