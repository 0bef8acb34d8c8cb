"""Rule `clean_shard`: a share of documents.parquet -> shards/{scatteritem}.parquet."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.settings import SplitSettings
from charlm.text.cleaning.clean_shard import clean_shard


def main(snakemake: Snakemake) -> None:
    clean_shard(
        snakemake.input.documents,
        snakemake.output.part,
        shard=snakemake.params.shard,
        shards=snakemake.params.shards,
        splits=SplitSettings(**snakemake.params.splits),
        **snakemake.params.cleaning,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
