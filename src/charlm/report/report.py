"""Write the report of a run: one self-contained HTML file."""

from collections.abc import Sequence
from pathlib import Path

from charlm.files import write_text
from charlm.report.page import render
from charlm.report.results import Configuration, read_results


def write_report(
    results: str | Path, output: str | Path, *, models: Sequence[str], config: Configuration
) -> None:
    """Write the report of a run as one HTML file.

    Args:
        results: The folder `results/{corpus}`, complete except for the report.
        output: The HTML file to write.
        models: Names of the trained models, `NAME.seed1` and so on for several seeds.
        config: The resolved configuration; see `charlm.pipeline.config.resolve`.
    """
    write_text(output, render(read_results(Path(results), models, config)))
