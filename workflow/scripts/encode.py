"""Rule `encode`: corpus.parquet, vocabulary.json -> tokens/."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.text.encode import encode


def main(snakemake: Snakemake) -> None:
    encode(
        snakemake.input.corpus,
        snakemake.input.vocabulary,
        snakemake.output.tokens,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
