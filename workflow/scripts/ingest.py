"""Rule `ingest`: the user's files -> documents.parquet, rejected.parquet."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.text.sources.ingest import ingest


def main(snakemake: Snakemake) -> None:
    ingest(
        documents=snakemake.output.documents,
        rejected=snakemake.output.rejected,
        paths=snakemake.input,
        **snakemake.params.corpus,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
