"""The records of settings agree with the configuration's schema and refuse anything else."""

import inspect
import json
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


def test_the_records_have_the_keys_and_defaults_of_the_schema() -> None:
    training = config_schema.Training().model_dump(mode="json")
    assert training.pop("seeds") is None  # each model has one seed
    model = config_schema.Model().model_dump(mode="json")
    architecture = {
        key: value for key, value in model.items() if key not in training | {"seeds": 0}
    }
    assert list(asdict(TrainingSettings()).items()) == list(training.items())
    defaults = json.loads(json.dumps(asdict(Architecture())))  # tuples become lists
    assert list(defaults.items()) == list(architecture.items())
    assert list(defaults["mixture"].items()) == list(architecture["mixture"].items())
    assert asdict(SplitSettings()) == config_schema.Splits().model_dump(mode="json")
    assert list(RuleSettings.__annotations__) == list(config_schema.Rule.model_fields)


@pytest.mark.parametrize(
    ("stage", "section", "other"),
    [
        (ingest, config_schema.Corpus, {"documents", "rejected", "paths"}),
        (clean_shard, config_schema.Cleaning, {"documents", "part", "splits", "shard", "shards"}),
        (
            clean,
            config_schema.Cleaning,
            {"parts", "corpus", "summary", "examples", "splits", "canaries"},
        ),
        (build_vocabulary, config_schema.Vocabulary, {"corpus", "vocabulary"}),
    ],
)
def test_stages_have_the_schema_s_keys_and_defaults(
    stage: Callable[..., None], section: type[config_schema.Section], other: set[str]
) -> None:
    parameters = inspect.signature(stage).parameters
    elsewhere = {"name", "canaries"}  # keys of the corpus that `ingest` does not need
    keys = {key: field for key, field in section.model_fields.items() if key not in elsewhere}
    assert set(parameters) - other == set(keys)
    for key, field in keys.items():
        default = parameters[key].default
        if field.is_required():
            assert default is inspect.Parameter.empty
        else:
            if key == "csv":  # None stands for all defaults
                default = field.default
            assert (list(default) if isinstance(default, tuple) else default) == field.default


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
        (
            {"hidden_size": 1.5},
            "a.json.hidden_size: expected int or 'vocabulary' or 'auto', got 1.5",
        ),
        ({"members": True}, "a.json.members: expected int, got True"),
        ({"cell": "rnn"}, "a.json.cell: expected 'lstm' or 'gru', got 'rnn'"),
        ({"one_hot": 1}, "a.json.one_hot: expected bool, got 1"),
        ({"one_hot": None}, "a.json.one_hot: expected bool, got None"),
        ({"mixture": 8}, "a.json.mixture: expected MixtureSettings or null, got 8"),
        ({"mixture": {"size": 8}}, "a.json.mixture: unknown key 'size'; remove it"),
        (
            {"mixture": {"experts": ["word", 1]}},
            "a.json.mixture.experts: expected a list of str, got ('word', 1)",
        ),
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
