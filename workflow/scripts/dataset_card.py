"""Rule `dataset_card`: corpus.parquet -> dataset/."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.text.dataset_card import write_dataset_card


def main(snakemake: Snakemake) -> None:
    write_dataset_card(
        snakemake.input.corpus,
        snakemake.output.folder,
        name=snakemake.params.name,
        **snakemake.params.card,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
