"""The records of settings agree with the configuration's schema and refuse anything else."""

from dataclasses import asdict

import pytest

from charlm.errors import CharlmError
from charlm.pipeline import config_schema
from charlm.settings import Architecture, TrainingSettings


def test_the_records_have_the_keys_and_defaults_of_the_schema() -> None:
    training = config_schema.Training().model_dump(mode="json")
    assert training.pop("seeds") is None  # each model has one seed
    model = config_schema.Model().model_dump(mode="json")
    architecture = {
        key: value for key, value in model.items() if key not in training | {"seeds": 0}
    }
    assert list(asdict(TrainingSettings()).items()) == list(training.items())
    assert list(asdict(Architecture()).items()) == list(architecture.items())


def test_missing_values_take_their_defaults() -> None:
    assert Architecture.from_mapping({"hidden_size": "vocabulary"}, "a.json") == Architecture(
        hidden_size="vocabulary"
    )
    assert TrainingSettings.from_mapping({"epochs": 3, "clip_norm": None}, "a.json") == (
        TrainingSettings(epochs=3, clip_norm=None)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden": 3}, "a.json: unknown key 'hidden'; remove it"),
        ({"hidden_size": 1.5}, "a.json.hidden_size: expected int or 'vocabulary', got 1.5"),
        ({"members": True}, "a.json.members: expected int, got True"),
        ({"cell": "rnn"}, "a.json.cell: expected 'lstm' or 'gru', got 'rnn'"),
        ({"one_hot": 1}, "a.json.one_hot: expected bool, got 1"),
        ({"one_hot": None}, "a.json.one_hot: expected bool, got None"),
    ],
)
def test_wrong_values_of_an_architecture_are_refused(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(CharlmError) as error:
        Architecture.from_mapping(values, "a.json")
    assert str(error.value) == message


def test_wrong_values_of_a_training_are_refused() -> None:
    with pytest.raises(CharlmError) as error:
        TrainingSettings.from_mapping({"clip_norm": "1"}, "a.json")
    assert str(error.value) == "a.json.clip_norm: expected float or null, got '1'"
