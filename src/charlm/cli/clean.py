"""`charlm clean`: show what the cleaning rules of a configuration change."""

import tempfile
from pathlib import Path

import click

from charlm.cli.config import resolved
from charlm.cli.output import write
from charlm.pipeline.json_object import JsonObject
from charlm.pipeline.project import check_installed


@click.command("clean", short_help="Show what the cleaning rules change.")
@click.option(
    "--explain",
    "file",
    metavar="FILE",
    required=True,
    help="A configuration, .yaml or .json; or a source, to try the default rules on it.",
)
@click.option("--rows", type=click.IntRange(min=1), default=5, show_default=True)
def command(file: str, rows: int) -> None:
    """Print documents before and after cleaning, and what each rule changes in them.

    The documents are evenly spaced over the source of the configuration. ↵ is a line break.
    """
    check_installed("clean")
    from charlm.text.cleaning.explain import explain
    from charlm.text.cleaning.profiles import rules_of
    from charlm.text.sources.ingest import ingest
    from charlm.text.tables import row_groups

    config = _configuration(file)
    rules, _ = rules_of(**config["cleaning"])
    corpus = config["corpus"] | {"max_documents": rows}
    del corpus["name"], corpus["canaries"]
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents.parquet"
        ingest(documents=documents, rejected=Path(folder) / "rejected.parquet", **corpus)
        for table in row_groups(documents, ["doc_id", "text"]):
            for row in table.to_pylist():
                lines = [f"document {row['doc_id']}", *explain(row["text"] or "", rules)]
                write("\n".join(lines) + "\n\n")


def _configuration(file: str) -> JsonObject:
    """Return the configuration in a file, or the default one for a source."""
    if file.endswith((".yaml", ".yml", ".json")):
        return resolved(file)
    from charlm.pipeline.config import resolve

    return resolve({"corpus": {"name": "source", "source": file}}, file)
