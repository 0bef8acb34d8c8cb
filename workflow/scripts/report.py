"""Rule `report`: all results -> report.html, report_without_playground.html."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.report.report import write_report


def main(snakemake: Snakemake) -> None:
    write_report(
        snakemake.params.results,
        snakemake.output.page,
        snakemake.output.without_playground,
        models=snakemake.params.models,
        config=snakemake.params.config,
        logs=snakemake.params.logs,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
