"""Rule `plain_text`: corpus.parquet -> corpus.txt."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.text.cleaning.plain_text import write_plain_text


def main(snakemake: Snakemake) -> None:
    write_plain_text(
        snakemake.input.corpus, snakemake.output[0], separator=snakemake.params.separator
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
