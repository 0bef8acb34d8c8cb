"""Settings that contradict each other, or have no effect, are errors."""

import pytest

from tests.pipeline.test_config import line_of

ONE_PROCESS = "'minutes' needs a single process"


@pytest.mark.parametrize(
    ("training", "model", "line"),
    [
        ({"processes": 2}, {"minutes": 1}, f"models.a: {ONE_PROCESS}"),
        ({"minutes": 1}, {"processes": 2}, f"models.a: {ONE_PROCESS}"),
        ({"minutes": 1, "processes": 2}, {}, f"training: {ONE_PROCESS}"),
        ({"minutes": 1, "processes": 2}, {"processes": 1}, ""),
        ({"minutes": 1, "processes": 2}, {"epochs": 1}, ""),
        ({"minutes": 1}, {"processes": 2, "steps": 9}, ""),
        ({"batch_size": 6}, {"processes": 4}, "models.a: a 'batch_size' of 6 cannot be shared"),
        ({"batch_size": 6}, {"processes": 3}, ""),
        ({"optimizer": "ntasgd"}, {"average": 0.9}, "models.a: 'optimizer: ntasgd' and 'average'"),
        ({"optimizer": "ntasgd", "average": 0.9}, {"optimizer": "adamw"}, ""),
        ({}, {"teacher_weight": 0.2}, "models.a.teacher_weight: has no effect without 'teacher'"),
        ({"teacher_weight": 0.2}, {}, "training.teacher_weight: has no effect without 'teacher'"),
        ({"teacher_weight": 0.2}, {"teacher": "x"}, ""),
        ({"teacher": "x"}, {"teacher_weight": 0.2}, ""),
    ],
)
def test_training_and_a_model_are_checked_together(
    training: dict[str, object], model: dict[str, object], line: str
) -> None:
    found = line_of(training=training, models={"a": model})
    assert found.startswith(f"config: {line}") if line else not found


@pytest.mark.parametrize(
    ("setting", "needed"),
    [
        ({"embedding_size": 8, "one_hot": True}, {"one_hot": False}),
        ({"locked_dropout": True}, {"output_dropout": 0.1}),
        ({"locked_dropout": True}, {"layer_dropout": 0.1, "num_layers": 2}),
        ({"layer_dropout": 0.1}, {"num_layers": 2}),
    ],
)
def test_a_setting_without_effect_is_an_error(
    setting: dict[str, object], needed: dict[str, object]
) -> None:
    assert f"config: models.a.{next(iter(setting))}: " in line_of(models={"a": setting})
    assert not line_of(models={"a": setting | needed})


def test_a_setting_without_effect_is_allowed_if_switched_off_on_purpose() -> None:
    assert not line_of(models={"a": {"locked_dropout": True, "output_dropout": 0.0}})
    assert not line_of(models={"a": {"teacher_weight": 0.2, "teacher": None}})


@pytest.mark.parametrize(
    "setting", [{"keep": "best"}, {"patience": 2}, {"optimizer": "ntasgd"}], ids=str
)
def test_a_setting_that_needs_validation_text_is_an_error_without_it(
    setting: dict[str, object],
) -> None:
    [key] = setting
    assert f"training: '{key}" in line_of(training=setting, splits={"validation": 0})
    assert f"models.a: '{key}" in line_of(models={"a": setting}, splits={"validation": 0})
    assert not line_of(models={"a": setting})


def test_a_setting_of_the_text_without_effect_is_an_error() -> None:
    contiguous = {"method": "contiguous", "key": "another"}
    assert "splits.key: has no effect" in line_of(splits=contiguous)
    assert not line_of(splits=contiguous | {"method": "document"})


def test_an_expert_that_is_listed_twice_is_an_error() -> None:
    line = line_of(models={"a": {"mixture": {"experts": ["word", "skip", "word"]}}})
    assert line == "config: models.a.mixture.experts: lists 'word' twice; leave one out"
    assert not line_of(models={"a": {"mixture": {"experts": ["word", "skip"]}}})
