"""Rule `clean`: shards/ -> corpus.parquet, cleaning.tsv, cleaning_examples.json."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.settings import SplitSettings
from charlm.text.cleaning.clean import clean


def main(snakemake: Snakemake) -> None:
    clean(
        snakemake.input.parts,
        snakemake.output.corpus,
        snakemake.output.summary,
        snakemake.output.examples,
        splits=SplitSettings(**snakemake.params.splits),
        canaries=snakemake.params.canaries,
        **snakemake.params.cleaning,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
