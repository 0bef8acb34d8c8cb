"""The records of settings agree with the schema, and refuse anything else."""

import inspect
from collections.abc import Callable
from dataclasses import asdict

import pytest

from charlm.errors import CharlmError
from charlm.pipeline import config_schema
from charlm.settings import Architecture, SplitSettings, TrainingSettings
from charlm.text.build_vocabulary import build_vocabulary
from charlm.text.cleaning.clean import clean
from charlm.text.cleaning.clean_shard import clean_shard
from charlm.text.cleaning.profiles import RuleSettings
from charlm.text.sources.ingest import ingest


def test_records_have_the_schema_s_keys_and_defaults() -> None:
    training = config_schema.Training().model_dump(mode="json")
    assert training.pop("seeds") is None  # resolved to one `seed` for each model
    model = config_schema.Model().model_dump(mode="json")
    architecture = {
        key: value for key, value in model.items() if key not in training | {"seeds": 0}
    }
    assert list(asdict(TrainingSettings()).items()) == list(training.items())
    assert list(asdict(Architecture()).items()) == list(architecture.items())
    assert asdict(SplitSettings()) == config_schema.Splits().model_dump(mode="json")
    assert list(RuleSettings.__annotations__) == list(config_schema.Rule.model_fields)


@pytest.mark.parametrize(
    ("stage", "section", "other"),
    [
        (ingest, config_schema.Corpus, {"documents", "rejected", "paths"}),
        (clean_shard, config_schema.Cleaning, {"documents", "part", "splits", "shard", "shards"}),
        (clean, config_schema.Cleaning, {"parts", "corpus", "summary", "examples", "splits"}),
        (build_vocabulary, config_schema.Vocabulary, {"corpus", "vocabulary"}),
    ],
)
def test_stages_have_the_schema_s_keys_and_defaults(
    stage: Callable[..., None], section: type[config_schema.Section], other: set[str]
) -> None:
    parameters = inspect.signature(stage).parameters
    keys = {key: field for key, field in section.model_fields.items() if key != "name"}
    assert set(parameters) - other == set(keys)
    for key, field in keys.items():
        default = parameters[key].default
        if field.is_required():
            assert default is inspect.Parameter.empty
        else:
            assert (list(default) if isinstance(default, tuple) else default) == field.default


def test_values_may_be_left_out() -> None:
    assert Architecture.from_mapping({"hidden_size": "vocabulary"}, "a.json") == Architecture(
        hidden_size="vocabulary"
    )
    assert TrainingSettings.from_mapping({"epochs": 3}, "a.json").epochs == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden": 3}, "a.json: unknown key 'hidden'; remove it"),
        ({"hidden_size": 1.5}, "a.json.hidden_size: 1.5 is not int or 'vocabulary'; change it"),
        ({"members": True}, "a.json.members: True is not int; change it"),
        ({"cell": "rnn"}, "a.json.cell: 'rnn' is not 'lstm' or 'gru'; change it"),
        ({"one_hot": 1}, "a.json.one_hot: 1 is not bool; change it"),
        ({"one_hot": None}, "a.json.one_hot: None is not bool; change it"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(CharlmError) as error:
        Architecture.from_mapping(values, "a.json")
    assert str(error.value) == message
