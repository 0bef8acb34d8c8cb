"""Rule `baseline`: tokens/ -> baselines.json."""

from snakemake.iocontainers import Snakemake

from charlm.evaluation.ngram import baseline
from charlm.stage import stage


def main(snakemake: Snakemake) -> None:
    baseline(
        snakemake.input.vocabulary,
        snakemake.input.tokens,
        snakemake.output.baselines,
        one_stream=snakemake.params.one_stream,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
