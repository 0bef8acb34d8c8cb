"""Types of values that are read from JSON."""

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict


def options(annotation: object) -> list[object]:
    """Return the types and the literal values that an annotation allows.

    >>> options(float | Literal["auto"] | None)
    [<class 'float'>, 'auto', None]
    """
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for part in get_args(annotation) for option in options(part)]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [None if annotation is types.NoneType else annotation]


def fits(value: object, annotation: object) -> bool:
    """Return whether a value has a type; a typed dictionary may have other keys, too.

    >>> fits({"a": [1, 2.5]}, dict[str, list[float] | None])
    True
    >>> fits({"a": [1, "2.5"]}, dict[str, list[float] | None])
    False
    """
    return any(_is(value, option) for option in options(annotation))


def _is(value: object, option: object) -> bool:
    origin, inner = get_origin(option), get_args(option)
    if is_typeddict(option):
        kinds = get_type_hints(option)
        return (
            isinstance(value, dict)
            and value.keys() >= getattr(option, "__required_keys__", set())
            and all(fits(value[key], kinds[key]) for key in kinds.keys() & value.keys())
        )
    if origin in (list, tuple):  # of any length, of one type
        return isinstance(value, origin) and all(fits(item, inner[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items()
        )
    if not isinstance(option, type):
        return value == option
    if option in (Any, object):
        return True
    if isinstance(value, bool):
        return option is bool
    return isinstance(value, (int, float) if option is float else option)
