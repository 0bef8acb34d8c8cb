"""Rule `clean`: documents.parquet -> corpus.parquet, cleaning.tsv."""

from snakemake.iocontainers import Snakemake

from charlm.stage import stage
from charlm.text.cleaning import clean


def main(snakemake: Snakemake) -> None:
    clean(
        snakemake.input.documents,
        snakemake.output.corpus,
        snakemake.output.summary,
        splits=snakemake.params.splits,
        **snakemake.params.cleaning,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
