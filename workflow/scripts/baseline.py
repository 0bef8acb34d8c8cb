"""Rule `baseline`: tokens/ -> baselines.json, baseline_scores.parquet."""

from snakemake.iocontainers import Snakemake

from charlm.evaluation.baseline import baseline
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    baseline(
        snakemake.input.vocabulary,
        snakemake.input.tokens,
        snakemake.output.baselines,
        snakemake.output.document_scores,
        one_stream=snakemake.params.one_stream,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
