"""Loss by position and by class of character, and calibration."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from charlm.evaluation.diagnostics import calibration, diagnose
from charlm.model.scoring import PREDICTION
from charlm.text.vocabulary import Vocabulary

SYMBOLS = [*"ab9 .\n€", "<unknown>", "<end_of_document>", "\u0301"]
VOCABULARY = Vocabulary(SYMBOLS, [1] * 10, {"unknown": 7, "end_of_document": 8})


def predicted(bits: list[float]) -> npt.NDArray[np.void]:
    found = np.zeros(len(bits), PREDICTION)
    found["nats"] = np.array(bits) * math.log(2)
    return found


def test_losses_are_grouped_by_class_and_position() -> None:
    documents = [VOCABULARY.encode(text) for text in ("ab a9b.", "b€\nç b\u0301", "")]
    bits = [[1.0, 2, 3, 4, 5, 6, 7], [8.0, 9, 10, 11, 12, 13, 14], []]
    found = diagnose(documents, [predicted(each) for each in bits], VOCABULARY)
    by_class = {
        each["class"]: (each["symbols"], each["bits_per_symbol"]) for each in found["class"]
    }
    expected = {
        "first letter of a word": [1, 4, 6, 8, 13],
        "letter within a word": [2, 14],
        "digit": [5],
        "space": [3, 10, 12],
        "punctuation mark": [7],
        "other character": [9],
        "unknown character": [11],
    }
    assert set(by_class) == set(expected)
    for name, costs in expected.items():
        assert by_class[name][0] == len(costs)
        assert by_class[name][1] == pytest.approx(np.mean(costs), rel=1e-6)
    assert [(each["from"], each["to"], each["symbols"]) for each in found["position"]] == [
        (0, 1, 2),
        (1, 2, 2),
        (2, 4, 4),
        (4, 8, 6),
    ]
    assert found["position"][0]["bits_per_symbol"] == pytest.approx(4.5)
    assert found["position"][3]["bits_per_symbol"] == pytest.approx((5 + 6 + 7 + 12 + 13 + 14) / 6)


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = np.array([0.05, 0.95, 0.95, 0.95, 1.0], np.float32)
    right = np.array([False, True, True, False, True])
    found = calibration(confidence, right)
    assert [each["symbols"] for each in found["bins"]] == [1, 4]
    assert found["bins"][1] == pytest.approx({"symbols": 4, "confidence": 0.9625, "accuracy": 0.75})
    error = (1 * 0.05 + 4 * (0.9625 - 0.75)) / 5
    assert found["expected_calibration_error"] == pytest.approx(error)


def test_there_are_fifteen_bins_of_equal_width() -> None:
    edges = np.arange(16) / 15
    # Two predictions per bin, near its edges, one of them right.
    confidence = np.concatenate([edges[:-1] + 0.001, edges[1:] - 0.001])
    right = np.arange(30) % 2 == 0
    found = calibration(confidence.astype(np.float32), right)
    middles = (edges[:-1] + edges[1:]) / 2
    assert [each["symbols"] for each in found["bins"]] == [2] * 15
    assert [each["confidence"] for each in found["bins"]] == pytest.approx(middles.tolist())
    assert [each["accuracy"] for each in found["bins"]] == [0.5] * 15
    error = np.mean([abs(middle - 0.5) for middle in middles])
    assert found["expected_calibration_error"] == pytest.approx(error)


def test_confidences_of_zero_and_one_have_bins() -> None:
    found = calibration(np.array([0.0, 1.0], np.float32), np.array([True, False]))
    assert found["expected_calibration_error"] == 1
    assert found["bins"] == [
        {"symbols": 1, "confidence": 0.0, "accuracy": 1.0},
        {"symbols": 1, "confidence": 1.0, "accuracy": 0.0},
    ]


def test_a_calibrated_model_has_a_small_error() -> None:
    random = np.random.default_rng(0)
    confidence = random.random(200_000).astype(np.float32)
    assert (
        calibration(confidence, random.random(200_000) < confidence)["expected_calibration_error"]
        < 0.01
    )
    overconfident = calibration(confidence, random.random(200_000) < confidence / 2)
    assert overconfident["expected_calibration_error"] == pytest.approx(0.25, abs=0.01)
