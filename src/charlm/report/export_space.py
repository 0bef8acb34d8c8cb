"""Export of a report as a static Space of the Hugging Face Hub."""

from pathlib import Path

import yaml

from charlm.errors import CharlmError
from charlm.files import atomic, write_text


def export_space(results: str | Path, destination: str | Path) -> None:
    """Write a folder that the Hub shows as a page: the report, in which the models run.

    Args:
        results: The folder of a corpus, with its `report.html`.
        destination: The folder to write.

    Raises:
        CharlmError: There is no report.
    """
    report = Path(results) / "report.html"
    try:
        page = report.read_bytes()
    except FileNotFoundError:
        raise CharlmError(
            f"{report}: there is no such file; make it: `snakemake --cores all report`"
        ) from None
    title = f"charlm: {Path(results).absolute().name}"
    header = {"title": title, "sdk": "static", "app_file": "index.html"}
    with atomic(Path(destination) / "index.html") as temporary:
        temporary.write_bytes(page)
    write_text(
        Path(destination) / "README.md", f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n"
    )
