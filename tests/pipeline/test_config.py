"""The configuration: defaults, presets, and errors that say what is wrong and how to fix it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from charlm.errors import CharlmError
from charlm.pipeline import config, config_schema

ROOT = Path(__file__).parents[2]
CORPUS = {"name": "posts", "source": "posts.csv"}


def test_keys_that_are_left_out_take_the_defaults() -> None:
    resolved = config.resolve({"corpus": CORPUS})
    assert resolved["corpus"]["text_columns"] == ["text"]
    assert resolved["corpus"]["keep_columns"] == []
    assert resolved["corpus"]["max_documents"] is None
    assert {name: model["cell"] for name, model in resolved["models"].items()} == {
        "lstm": "lstm",
        "gru": "gru",
    }
    assert resolved["models"]["lstm"]["training"]["batch_size"] == "auto"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "f.yaml: corpus: missing"),
        (
            {"corpus": {"source": "x.csv"}},
            "f.yaml: corpus.name: missing; add it (name of the corpus",
        ),
        ({"trainin": {}}, "f.yaml: trainin: unknown key; did you mean 'training'?"),
        ({"training": {"stepz": 1}}, "f.yaml: training.stepz: unknown key; did you mean 'steps'?"),
        (
            {"models": {"a": {"hiden_size": 8}}},
            "f.yaml: models.a.hiden_size: unknown key; did you mean 'hidden_size'?",
        ),
        (
            {"models": {"a": {"cell": "lstmm"}}},
            "f.yaml: models.a.cell: \"lstmm\" is not one of 'lstm' or 'gru'; did you mean 'lstm'?",
        ),
        ({"training": {"steps": "many"}}, 'f.yaml: training.steps: "many" should be a valid int'),
        ({"training": {"batch_size": True}}, "f.yaml: training.batch_size: true should be a valid"),
        ({"training": {"batch_size": 0}}, "training.batch_size: 0 should be greater than or equal"),
        ({"models": {"a": {"hidden_size": 0}}}, "models.a.hidden_size: 0 should be greater than"),
        ({"models": {"a": {"output_dropout": 1.0}}}, "output_dropout: 1.0 should be less than 1"),
        ({"models": {}}, "f.yaml: models: {} should "),
        ({"models": {"a/b": {}}}, "may contain only letters, digits"),
        ({"splits": {"validation": 0.5, "test": 0.5}}, "f.yaml: splits: 'validation' and 'test'"),
        ({"cleaning": {"rules": [{"name": "x"}]}}, "f.yaml: cleaning.rules.0: a rule needs either"),
        ({"corpus": CORPUS | {"keep_columns": ["text"]}}, "'text' is a column that charlm adds"),
        ({"training": {"minutes": 1, "processes": 2}}, "training: 'minutes' needs a single pro"),
        ({"models": {"a": []}}, "models.a: [] should be a valid mapping of keys to values"),
        ({"models": {"a": {"layer_dropout": 0.1}}}, "models.a.layer_dropout: has no effect with a"),
        ({"models": {"a": {"num_layers": 1000}}}, "models.a.num_layers: 1000 should be less than"),
        (
            {"models": {"a": {}, "B": {}, "A": {"seeds": [1, 2]}}},
            "models.A: differs from 'a' only in",
        ),
        ({"models": {"ppmd": {}}}, "models.ppmd: is the name of a baseline"),
        ({"models": {"kneser_ney": {}}}, "models.kneser_ney: is the name of a baseline"),
        ({"models": {"5-gram": {}}}, "models.5-gram: is the name of a baseline"),
        (
            {"cleaning": {"rules": [{"name": "x", "builtin": "nfc", "replacement": "y"}]}},
            "cleaning.rules.0: 'replacement' has no effect without 'pattern'",
        ),
        (
            {"cleaning": {"rules": [{"name": "x", "pattern": ""}]}},
            "rules.0: 'pattern' is empty; give",
        ),
        (
            {"cleaning": {"rules": [{"name": "x", "off": True, "pattern": "a"}]}},
            "cleaning.rules.0: 'off: true' needs only the name of the rule",
        ),
        (
            {"cleaning": {"rules": [{"name": "x", "builtin": "nfc", "pattern": "a"}]}},
            "cleaning.rules.0: a rule needs either 'pattern' or 'builtin'",
        ),
        (
            {"models": {"a": {"tie_weights": True, "hidden_size": 8, "embedding_size": 4}}},
            "'tie_weights' needs 'embedding_size' equal",
        ),
        (
            {"corpus": CORPUS | {"text_columns": [False]}},
            "text_columns.0: false is not text; put it",
        ),
        (
            {"corpus": CORPUS | {"encoding": 1252}},
            "corpus.encoding: 1252 is not text; put it in qu",
        ),
        (
            {"corpus": CORPUS | {"text_columns": ["a", "b"], "separator": r"\n"}},
            r"corpus.separator: \n has a backslash where a line end or a tab seems meant; put it "
            r'in double quotes: "\n"',
        ),
        ({"corpus": CORPUS | {"csv": {"delimiter": r"\t"}}}, 'a tab is "\\t", in double quotes'),
        ({"corpus": CORPUS | {"csv": {"delimiter": "||"}}}, "'||' should be one ASCII character"),
        ({"corpus": CORPUS | {"csv": {"comment": "a"}}}, "'a' should be one ASCII character"),
        ({"corpus": CORPUS | {"csv": {"quotechar": "''"}}}, "should be one ASCII mark; change it"),
        ({"corpus": CORPUS | {"csv": {"quotechar": "'", "escapechar": "'"}}}, "must differ"),
        ({"corpus": CORPUS | {"csv": {"comment": ";", "delimiter": ";"}}}, "must differ"),
        ({"corpus": CORPUS | {"csv": {"header": None}}}, "'text' is a name, and with 'csv.header:"),
        (
            {"corpus": CORPUS | {"text_columns": [2024]}},
            'corpus.text_columns: 2024 is a number; put it in quotes ("2024") if it is a name, or',
        ),
        ({"sampling": {"temperatures": ["warm"]}}, 'sampling.temperatures.0: "warm" should be a'),
    ],
)
def test_a_mistake_is_an_error_in_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(CharlmError) as raised:
        config.resolve({"corpus": CORPUS} | values if values else {}, "f.yaml")
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def line_of(**values: object) -> str:
    """Return the error of a configuration, which is one line, or an empty string."""
    try:
        config.resolve({"corpus": CORPUS} | values)
    except CharlmError as error:
        [line] = str(error).splitlines()
        return line
    return ""


def numeric_settings() -> Iterator[tuple[str, str, bool]]:
    """Yield the section and key of every setting with numbers, and whether it is a list."""
    for name, section in config_schema.Config.model_json_schema()["$defs"].items():
        for key, schema in section["properties"].items():
            for option in schema.get("anyOf", [schema]):
                kind = option.get("items", option).get("type")
                if kind in ("integer", "number"):
                    yield name.lower(), key, "items" in option


@pytest.mark.parametrize("text", ["{}", "'{}'"])
@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "inf", "nan"])
def test_infinite_numbers_and_nan_are_errors_everywhere(value: str, text: str) -> None:
    settings = list(numeric_settings())
    assert len(settings) > 50
    for section, key, several in settings:
        given = yaml.safe_load(text.format(value))
        values = {key: [given] if several else given}
        place = "models.a" if section == "model" else section
        if section == "corpus":
            values |= CORPUS
        if section == "csv":
            section, place, values = "corpus", "corpus.csv", CORPUS | {"csv": values}
        if section == "mixture":
            section, place, values = "model", "models.a.mixture", {"mixture": values}
        line = line_of(models={"a": values}) if section == "model" else line_of(**{section: values})
        assert f"config: {place}.{key}" in line, (section, key)


def test_settings_of_csv_take_pandas_values() -> None:
    csv = {"quoting": 3, "escapechar": "\\", "na_values": ["\\N"], "header": "null"}
    corpus = CORPUS | {"csv": csv, "text_columns": ["1"], "keep_columns": [0]}
    resolved = config.resolve({"corpus": corpus})["corpus"]
    assert resolved["csv"] == {
        "delimiter": None,
        "quoting": "none",
        "quotechar": '"',
        "escapechar": "\\",
        "header": None,
        "comment": None,
        "na_values": ["\\N"],
    }


def test_each_mistake_has_a_line() -> None:
    with pytest.raises(CharlmError) as raised:
        config.resolve({"corpus": CORPUS | {"nam": "x"}, "training": {"stepz": 1}})
    assert len(str(raised.value).splitlines()) == 2


def test_text_from_the_command_line_takes_the_type_of_the_key() -> None:
    resolved = config.resolve(
        {
            "corpus": CORPUS | {"max_documents": "null", "text_columns": ["1"]},
            "vocabulary": {"end_of_document": "false"},
            "training": {"learning_rate": "1e-3", "seeds": ["1", "2"]},
            "models": {"a": {"hidden_size": "8"}, "b": {"hidden_size": "vocabulary"}},
        }
    )
    assert resolved["corpus"]["max_documents"] is None
    assert resolved["corpus"]["text_columns"] == ["1"]
    assert resolved["vocabulary"]["end_of_document"] is False
    assert resolved["models"]["a.seed2"]["hidden_size"] == 8
    assert resolved["models"]["b.seed1"]["hidden_size"] == "vocabulary"
    assert resolved["models"]["a.seed1"]["training"]["learning_rate"] == 1e-3


def test_several_seeds_are_several_models() -> None:
    models = config.resolve(
        {
            "corpus": CORPUS,
            "training": {"seeds": [3, 5]},
            "models": {"a": None, "b": {"seed": 7}, "c": {"seeds": [1]}},
        }
    )["models"]
    seeds = {name: model["training"]["seed"] for name, model in models.items()}
    assert seeds == {"a.seed3": 3, "a.seed5": 5, "b": 7, "c": 1}


def test_a_model_overrides_training_only_for_itself() -> None:
    models = config.resolve(
        {
            "corpus": CORPUS,
            "training": {"steps": 10, "learning_rate": 1.0e-3},
            "models": {"a": {"learning_rate": 2.0e-3}, "b": {"epochs": 2}, "c": {}},
        }
    )["models"]
    assert [models[name]["training"]["learning_rate"] for name in "abc"] == [2e-3, 1e-3, 1e-3]
    assert [models[name]["training"]["steps"] for name in "abc"] == [10, None, 10]


def test_resolving_twice_changes_nothing() -> None:
    resolved = config.resolve({"corpus": CORPUS})
    again = config.resolve({key: resolved[key] for key in resolved if key != "models"})
    assert again == resolved


@pytest.mark.parametrize(
    "path", ["config/config.yaml", *map(str, sorted((ROOT / "config/presets").glob("*.yaml")))]
)
def test_the_demo_and_the_presets_are_valid(path: str) -> None:
    assert config.resolve(config.load_file(ROOT / path), path)["models"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "c.yaml: line"),
        ("- a", "holds no keys"),
        (None, "no such file"),
        ("a: 2023-13-45", "not YAML"),
        ("a: " + "[" * 5000, "not YAML"),
    ],
)
def test_a_file_without_a_configuration_is_an_error(
    tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "c.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CharlmError, match=message):
        config.load_file(file)


def test_a_rule_may_be_switched_off_with_a_key_that_yaml_reads_as_false(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "corpus: {name: x, source: x.csv}\ncleaning: {rules: [{name: emoji, off: true}]}\n"
    )
    [rule] = config.resolve(config.load_file(path))["cleaning"]["rules"]
    assert (rule["name"], rule["off"]) == ("emoji", True)


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)),
        "a0: &a0 {b: 1, c: 1}\n"
        + "".join(f"a{n}: &a{n} {{b: *a{n - 1}, c: *a{n - 1}}}\n" for n in range(1, 60)),
        "a0: &a0 [*a0]\n",
    ],
)
def test_aliases_that_make_many_values_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bomb.yaml").write_text(f"{text}corpus: {{name: c, source: *a0}}\n")
    with pytest.raises(CharlmError, match=r"bomb\.yaml: its YAML aliases make more than 100,000"):
        config.resolve(config.load_file(tmp_path / "bomb.yaml"), "bomb.yaml")
