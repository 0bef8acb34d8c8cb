"""`charlm config`: a configuration with all its defaults, as JSON."""

import json
from pathlib import Path

import click

from charlm.cli.output import write
from charlm.errors import CharlmError
from charlm.escaping import json_text
from charlm.pipeline.json_object import JsonObject


@click.command("config", short_help="Print a configuration with all its defaults, as JSON.")
@click.argument("file", metavar="FILE")
def command(file: str) -> None:
    """Check the configuration in a YAML FILE, and print it with all its defaults, as JSON.

    `charlm train` takes that JSON on a machine without pydantic and YAML.
    """
    write(json_text(resolved(file), indent=1) + "\n")


def resolved(file: str) -> JsonObject:
    """Return a configuration with all keys, from YAML or from the JSON of `charlm config`.

    Raises:
        CharlmError: The file is not a valid configuration, or pydantic and YAML are missing.
    """
    if file.endswith(".json"):
        try:
            config: JsonObject = json.loads(Path(file).read_text(encoding="utf-8-sig"))
            if (
                config["corpus"]["name"]
                and config["vocabulary"]
                and all(isinstance(model["training"], dict) for model in config["models"].values())
            ):
                return config
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        raise CharlmError(f"{file}: not the output of `charlm config`; make it again from the YAML")
    try:
        from charlm.pipeline.config import load_file, resolve
    except ImportError as error:
        raise CharlmError(
            f"{file}: reading YAML needs {error.name}, which is not installed; run "
            f"`charlm config {file} > config.json` on a machine that has it, and use config.json"
        ) from None
    return resolve(load_file(file), file)
