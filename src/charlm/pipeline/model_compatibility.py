"""Whether a model can start from the weights of another one, or learn from its predictions."""

from charlm.pipeline.json_object import JsonObject


def architecture_mismatch(here: JsonObject, other: JsonObject, symbols: int | None) -> str | None:
    """Return why a model cannot load the weights of another one, or None if it can.

    Args:
        here: The architecture of the model.
        other: The architecture of the other model.
        symbols: The size of both models' vocabulary; None if it is not known yet.
    """
    shape, other_shape = _shape(here, symbols), _shape(other, symbols)
    for setting, value in shape.items():
        if None not in (value, other_shape[setting]) and value != other_shape[setting]:
            return (
                f"has another architecture ({setting}: {other_shape[setting]}, here {value}); "
                "give this model the same"
            )
    if here["tie_weights"] and not other["tie_weights"]:
        return "has weights that are not tied; leave out 'tie_weights'"
    return None


def _shape(architecture: JsonObject, symbols: int | None) -> dict[str, object]:
    """Return the settings that determine the shapes of the weights; None for unknown ones."""
    keys = ("cell", "members", "num_layers", "one_hot", "hidden_size", "embedding_size")
    shape = {key: architecture[key] for key in keys}
    if shape["hidden_size"] == "vocabulary":
        shape["hidden_size"] = symbols
    shape = {key: None if value == "auto" else value for key, value in shape.items()}
    if shape["one_hot"]:
        shape["embedding_size"] = None
    return shape


def vocabulary_mismatch(settings: JsonObject, other: JsonObject) -> str | None:
    """Return how a model's vocabulary differs from any that the settings allow, if it does.

    Args:
        settings: The section `vocabulary` of the configuration.
        other: The vocabulary in the other model's `model.json`.
    """
    unknown = settings["unit"] != "byte" and (
        settings["fit_on"] == "train" or settings["min_count"] > 1
    )
    for name, here, there in (
        ("unit", settings["unit"], other["unit"]),
        ("unknown symbol", unknown, other["special"]["unknown"] is not None),
        (
            "end of document",
            settings["end_of_document"],
            other["special"]["end_of_document"] is not None,
        ),
    ):
        if here != there:
            words = {True: "yes", False: "no"}
            return (
                f"has another vocabulary ({name}: {words.get(there, there)}, here "
                f"{words.get(here, here)}); name a model of the same corpus and vocabulary"
            )
    return None
