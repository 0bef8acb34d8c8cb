"""A model that loses to a baseline gets the reasons and the settings that would help."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.report.conftest import CONFIG, write_json, write_results

from charlm.pipeline.config import resolve
from charlm.report.advice import find_defeats
from charlm.report.ranking import rank
from charlm.report.results import read_results

STILL_LEARNING = [(800, 3.0), (1600, 2.5), (2000, 2.2)]
FLAT = [(800, 2.3), (1600, 2.205), (2000, 2.2)]
OVERFITS = [(800, 2.1), (1200, 2.0), (2000, 2.2)]


@pytest.mark.parametrize(
    ("curve", "settings", "characters", "expected"),
    [
        (FLAT, {}, 2_000_000, []),
        (FLAT, {"mixture": None}, 2_000_000, ["models.gru.mixture: {}"]),
        (FLAT, {}, 999_999, ["models.gru.init_from: path/of/a/trained/model"]),
        (STILL_LEARNING, {"steps": 2000}, 2_000_000, ["training.steps: 4000"]),
        (STILL_LEARNING, {"epochs": 1.5}, 2_000_000, ["training.epochs: 3.0"]),
        (STILL_LEARNING, {}, 2_000_000, ["training.steps: 4000"]),
        (OVERFITS, {"keep": "last"}, 2_000_000, ["training.keep: best"]),
        (OVERFITS, {}, 2_000_000, ["models.gru.output_dropout: 0.3"]),
        ([(40, 2.2)], {}, 2_000_000, ["training.steps: 2000"]),
    ],
)
def test_the_advice_fits_the_curve_and_the_text(
    tmp_path: Path,
    curve: list[tuple[int, float]],
    settings: dict[str, Any],
    characters: int,
    expected: list[str],
) -> None:
    folder = write_results(tmp_path / "tiny")
    header = "step,epoch,characters,learning_rate,train_bits_per_character"
    rows = [f"{step},1,{step},0.1,2.0,{bits}" for step, bits in curve]
    history = "\n".join([f"{header},validation_bits_per_character", *rows])
    (folder / "models/gru/history.csv").write_text(history + "\n")
    path = folder / "models/gru/metrics.json"
    write_json(path, json.loads(path.read_text()) | {"steps": curve[-1][0]})
    config = resolve(CONFIG | {"models": {"lstm": {}, "gru": {"cell": "gru", **settings}}})
    ranking = rank(read_results(folder, ["lstm", "gru"], config))
    (defeat,) = find_defeats(ranking, config, {"documents": 1, "characters": characters})
    assert (defeat.model.label, defeat.baseline.label) == ("gru", "5-gram")
    assert [reason.setting for reason in defeat.reasons] == expected
    assert "step 1,200" in "".join(reason.explanation for reason in defeat.reasons) or (
        curve != OVERFITS
    )


def test_a_winner_gets_no_advice(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "tiny")
    config = resolve(CONFIG | {"models": {"lstm": {}}})
    ranking = rank(read_results(folder, ["lstm"], config))
    assert find_defeats(ranking, config, {"documents": 1, "characters": 9}) == []
