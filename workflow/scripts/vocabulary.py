"""Rule `vocabulary`: corpus.parquet -> vocabulary.json."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.text.build_vocabulary import build_vocabulary


def main(snakemake: Snakemake) -> None:
    build_vocabulary(
        snakemake.input.corpus, snakemake.output.vocabulary, **snakemake.params.vocabulary
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
