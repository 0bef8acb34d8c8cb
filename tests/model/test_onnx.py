"""The exported step computes what the model does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from charlm.errors import CharlmError
from charlm.model.network import load_model, make_model, save_model, with_ngram
from charlm.model.onnx import export_onnx
from charlm.text.vocabulary import Vocabulary

onnxruntime = pytest.importorskip("onnxruntime")

VOCABULARY = Vocabulary(
    [*"abcdé東\n", "<unknown>"], [1] * 8, {"unknown": 7, "end_of_document": None}
)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"num_layers": 3},
        {"one_hot": True},
        {"tie_weights": True, "embedding_size": 6},
        {"members": 2, "num_layers": 2, "tie_weights": True, "embedding_size": 6},
    ],
)
def test_the_exported_step_is_the_models(
    tmp_path: Path, cell: str, architecture: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"hidden_size": 6, "embedding_size": 4, "num_layers": 1}
    settings |= {"tie_weights": False, "one_hot": False, "cell": cell, **architecture}
    torch.manual_seed(0)
    made = make_model(8, **settings)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    save_model(tmp_path, made, vocabulary=VOCABULARY, architecture=settings, training={})
    export_onnx(tmp_path, tmp_path / "model.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["vocabulary"]) == VOCABULARY.to_dict()
    parts = ["h", "c"] if cell == "lstm" else ["h"]
    for batch in (1, 3):
        symbols = torch.randint(0, 8, (20, batch))
        rows = settings["num_layers"] * settings.get("members", 1)
        state = {part: np.zeros((rows, batch, 6), np.float32) for part in parts}
        logits = []
        for row in symbols.numpy():
            names = ["logits", *(f"next_{part}" for part in parts)]
            found, *after = session.run(names, {"symbol": row, **state})
            logits.append(found)
            state = dict(zip(parts, after, strict=True))
        model, _ = load_model(tmp_path)
        with torch.no_grad():
            expected, last = model(symbols)
        np.testing.assert_allclose(np.stack(logits), expected, rtol=1e-4, atol=1e-5)
        for part, value in zip(parts, last, strict=True):
            np.testing.assert_allclose(state[part], value, rtol=1e-4, atol=1e-5)

    first = (tmp_path / "model.onnx").read_bytes()
    export_onnx(tmp_path, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == first


def test_a_model_with_an_ngram_model_is_refused(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"hidden_size": 6, "tie_weights": False, "one_hot": False}
    settings |= {"ngram_order": 3, "ngram_weight": 0.2}
    text = np.tile([0, 1, 2], 9)
    made = with_ngram(make_model(8, **settings), settings, text)
    save_model(tmp_path, made, vocabulary=VOCABULARY, architecture=settings, training={})
    with pytest.raises(CharlmError, match="ONNX has no place for its n-gram model"):
        export_onnx(tmp_path, tmp_path / "model.onnx")
