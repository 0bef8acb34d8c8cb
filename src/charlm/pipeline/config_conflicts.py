"""Settings that contradict each other, or have no effect."""

import re
from collections.abc import Iterator, Sequence

from charlm.pipeline.config_schema import Config, Corpus, Model, Section, Splits

BASELINES = re.compile(r"ngram|kneser_ney|ppmd|xz|\d+-gram")
"""The names of the baselines in the results and the report."""


def find_conflicts(config: Config) -> list[str]:
    """Return a line for each conflict between settings and for each setting without effect.

    A setting without effect is reported only if it differs from its default and was not switched
    off on purpose.
    """
    return list(dict.fromkeys(_conflicts(config)))


def _conflicts(config: Config) -> Iterator[str]:
    if config.splits.method == "contiguous" and config.splits.key != Splits().key:
        yield "splits.key: has no effect with 'method: contiguous'; leave it out"
    yield from _conflicts_of_columns(config.corpus)
    separator = config.corpus.separator
    if re.search(r"\\[nt]", separator):
        yield (
            f"corpus.separator: {separator} has a backslash where a line end or a tab seems meant; "
            f'put it in double quotes: "{separator}"'
        )
    sections = [config.training, *config.models.values()]
    yield from _ineffective("training", config.training, "teacher_weight", ["teacher"], sections)
    names: dict[str, str] = {}
    for name, model in config.models.items():
        same = names.setdefault(name.lower(), name)
        if same != name:
            yield (
                f"models.{name}: differs from '{same}' only in case, which some file systems "
                "ignore; rename one"
            )
        if BASELINES.fullmatch(name):
            yield f"models.{name}: is the name of a baseline; rename the model"
        yield from _conflicts_of_architecture(f"models.{name}", model)
        yield from _conflicts_of_training(name, model, config)


def _conflicts_of_columns(corpus: Corpus) -> Iterator[str]:
    """Check that columns are numbers if, and only if, the files have no header."""
    for key in ("text_columns", "keep_columns"):
        for column in getattr(corpus, key):
            number = isinstance(column, int) or (column.isascii() and column.isdigit())
            if corpus.csv.header is None and not number:
                yield (
                    f"corpus.{key}: '{column}' is a name, and with 'csv.header: null' columns have "
                    "numbers; number them from 0, as in [0]"
                )
            elif corpus.csv.header is not None and isinstance(column, int):
                yield (
                    f'corpus.{key}: {column} is a number; put it in quotes ("{column}") if it is '
                    "a name, or set corpus.csv.header to null if there is no header"
                )


def _conflicts_of_architecture(place: str, model: Model) -> Iterator[str]:
    if model.layer_dropout and model.num_layers == 1:
        yield (
            f"{place}.layer_dropout: has no effect with a single layer; raise 'num_layers' or use "
            "'output_dropout'"
        )
    if model.one_hot and _is_set(model, "embedding_size"):
        yield f"{place}.embedding_size: has no effect with 'one_hot'; leave one of them out"
    experts = model.mixture.experts if model.mixture else []
    for expert in dict.fromkeys(name for name in experts if experts.count(name) > 1):
        yield f"{place}.mixture.experts: lists '{expert}' twice; leave one out"
    dropouts = ["layer_dropout", "output_dropout"]
    yield from _ineffective(place, model, "locked_dropout", dropouts, [model])


def _conflicts_of_training(name: str, model: Model, config: Config) -> Iterator[str]:
    settings = model.training_settings(config.training)

    def place(*keys: str) -> str:
        """Return the section to change: the model if it sets one of the keys."""
        return "training" if model.model_fields_set.isdisjoint(keys) else f"models.{name}"

    if settings["minutes"] is not None and settings["steps"] is None and settings["processes"] > 1:
        yield (
            f"{place('minutes', 'processes')}: 'minutes' needs a single process; give 'steps' or "
            "'epochs', or leave out 'processes'"
        )
    batch_size = settings["batch_size"]
    if batch_size != "auto" and batch_size % settings["processes"]:
        yield (
            f"{place('batch_size', 'processes')}: a 'batch_size' of {batch_size} "
            f"cannot be shared evenly among {settings['processes']} processes; change one of them"
        )
    if not config.splits.validation:
        for key, value in (("keep", "best"), ("optimizer", "ntasgd"), ("patience", None)):
            if settings[key] == value if value else settings[key] not in (None, "auto"):
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
    """Yield a line if `key` is set, but no section of `where` sets any key of `needed`."""
    if _is_set(section, key) and not any(
        name in each.model_fields_set for each in where for name in needed
    ):
        names = " or ".join(map(repr, needed))
        yield f"{place}.{key}: has no effect without {names}; set that or leave this out"


def _is_set(section: Section, key: str) -> bool:
    """Return whether a setting differs from its default."""
    return bool(getattr(section, key) != type(section).model_fields[key].default)
