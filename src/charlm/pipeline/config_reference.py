"""The JSON schema and the Markdown reference of the configuration.

`python -m charlm.pipeline.config_reference` rewrites both in the repository.
"""

import json
from pathlib import Path

from charlm.pipeline.config_schema import (
    Card,
    Cleaning,
    Config,
    Corpus,
    Csv,
    Mixture,
    Model,
    Rule,
    Sampling,
    Section,
    Splits,
    Training,
    Vocabulary,
)
from charlm.pipeline.json_object import JsonObject

SCHEMA_FILE = "workflow/schemas/config.schema.json"
REFERENCE_FILE = "config/README.md"


def json_schema() -> str:
    """Return the text of the JSON schema, which editors use for completion."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def reference() -> str:
    """Return the reference of all keys as Markdown tables."""
    parts = []
    for name, section in (
        ("corpus", Corpus),
        ("corpus.csv", Csv),
        ("cleaning", Cleaning),
        ("cleaning.rules[]", Rule),
        ("splits", Splits),
        ("vocabulary", Vocabulary),
        ("models.NAME", Model),
        ("models.NAME.mixture", Mixture),
        ("training", Training),
        ("sampling", Sampling),
        ("card", Card),
    ):
        rows = [f"### `{name}`", "", str(section.__doc__).splitlines()[0], ""]
        rows += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for key, field in section.model_fields.items():
            if section is Model and key in Training.model_fields:
                continue
            kind = _type_in_words(section.model_json_schema()["properties"][key])
            value = {} if isinstance(field.default, Section) else field.default
            default = "required" if field.is_required() else f"`{json.dumps(value)}`"
            meaning = " ".join((field.description or "").split())
            rows.append(f"| `{key}` | {kind} | {default} | {meaning} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _type_in_words(schema: JsonObject) -> str:
    """Return the type and range in a JSON schema as text.

    >>> _type_in_words({"type": "integer", "minimum": 1})
    'integer ≥ 1'
    """
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
    """Return the text of `config/README.md` with an up-to-date reference."""
    start, end = "<!-- reference: made by `make docs` -->", "<!-- end of reference -->"
    before, rest = page.split(start)
    return f"{before}{start}\n\n{reference()}\n{end}{rest.split(end)[1]}"


def main() -> None:
    """Rewrite the schema and the reference. Run this in the repository's root."""
    Path(SCHEMA_FILE).write_text(json_schema(), encoding="utf-8")
    page = Path(REFERENCE_FILE)
    page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
