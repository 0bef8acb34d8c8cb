"""Rule `compare`: the scores of each document -> comparison.json."""

from snakemake.iocontainers import Snakemake

from charlm.evaluation.compare import compare
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    compare(
        snakemake.input.baseline_scores,
        snakemake.input.document_scores,
        snakemake.output.comparison,
        models=snakemake.params.models,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
