"""Describe the mistakes that pydantic finds in a configuration, in one line each."""

import difflib
import json
import re
import reprlib
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]
"""The keys and list indices that lead to a value: `("models", "lstm", "cell")`."""


def describe_errors(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """Return one line per key with a mistake: the key, what is wrong and how to fix it."""
    errors: dict[Location, list[ErrorDetails]] = {}
    for each in error.errors():
        errors.setdefault(_without_union_branches(each["loc"]), []).append(each)
    return [_describe(location, same, schema) for location, same in errors.items()]


def _describe(location: Location, errors: list[ErrorDetails], schema: type[BaseModel]) -> str:
    """Describe the errors at one location in one line."""
    error = errors[0]
    key = ".".join(str(part) for part in location) or "top level"
    given = _show(error["input"])
    match error["type"]:
        case "extra_forbidden":
            known = list(_section_at(location[:-1], schema).model_fields)
            near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(known)}"
            return f"{key}: unknown key; {hint}"
        case "missing":
            return f"{key}: missing; add it{_meaning(location, schema)}"
        case "value_error":
            return f"{key}: {error['ctx']['error']}"
        case "string_pattern_mismatch":
            return f"{key}: {given} may contain only letters, digits, '-' and '_'; rename it"
        case "literal_error" if len(errors) == 1:
            expected = error["ctx"]["expected"]
            choices = re.findall(r"'(.*?)'", expected)
            near = difflib.get_close_matches(str(error["input"]), choices, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "choose one of these"
            return f"{key}: {given} is not one of {expected}; {hint}"
    should = " or ".join(
        dict.fromkeys(each["msg"].replace("Input should be ", "") for each in errors)
    )
    should = re.sub(r"dictionary( or instance of \w+)?", "mapping of keys to values", should)
    return f"{key}: {given} should be {should}; change it{_meaning(location, schema)}"


def _show(value: object) -> str:
    """Return a value as JSON, cut to a bounded length."""
    if isinstance(value, list | dict) and value:
        text = reprlib.repr(value)  # bounded, even if YAML aliases expand to millions of items
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except ValueError:
            text = "this number"  # it has more digits than Python prints
    return text if len(text) <= 60 else text[:57] + "..."


def _without_union_branches(location: Location) -> Location:
    """Return the location of an error without the union branches that pydantic adds to it."""
    branch = re.compile(r"[\[(]|^(constrained-)?(int|str|float|bool)$")
    return tuple(part for part in location if isinstance(part, int) or not branch.search(part))


def _section_at(location: Location, schema: type[BaseModel]) -> type[BaseModel]:
    """Return the section of `schema` at `location`."""
    for part in location:
        field = schema.model_fields.get(str(part))
        inner = _inner_types(field.annotation) if field else ()
        schema = next((kind for kind in inner if issubclass(kind, BaseModel)), schema)
    return schema


def _inner_types(annotation: object) -> Iterator[type]:
    """Yield the classes in an annotation: `list[A] | B` -> `A`, `B`."""
    if isinstance(annotation, type):
        yield annotation
    for argument in get_args(annotation):
        yield from _inner_types(argument)


def _meaning(location: Location, schema: type[BaseModel]) -> str:
    """Return the meaning of a key in parentheses, empty if it has none."""
    names = [part for part in location if isinstance(part, str)]
    field = _section_at(tuple(names[:-1]), schema).model_fields.get(names[-1]) if names else None
    return f" ({' '.join(field.description.split())})" if field and field.description else ""
