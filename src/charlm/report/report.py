"""Write the report of a run: self-contained HTML files."""

import logging
from collections.abc import Sequence
from pathlib import Path

from charlm.files import write_text
from charlm.report.page import render
from charlm.report.results import Configuration, read_results
from charlm.report.usage import read_usage

log = logging.getLogger(__name__)


def write_report(
    results: str | Path,
    output: str | Path,
    without_playground: str | Path,
    *,
    models: Sequence[str],
    config: Configuration,
    logs: str | Path | None = None,
) -> None:
    """Write the report of a run as one HTML file, and once more without the playground.

    Args:
        results: The folder `results/{corpus}`, complete except for the report.
        output: The HTML file to write.
        without_playground: The smaller HTML file to write, for Snakemake's own report.
        models: Names of the trained models, `NAME.seed1` and so on for several seeds.
        config: The resolved configuration; see `charlm.pipeline.config.resolve`.
        logs: The folder `logs/{corpus}` with Snakemake's benchmarks, if there is one.
    """
    usage = read_usage(Path(logs)) if logs else None
    page = render(read_results(Path(results), models, config), usage)
    write_text(output, page.whole)
    write_text(without_playground, page.without_playground)
    log.info("a page of %.1f MB", len(page.whole.encode()) / 1e6)
