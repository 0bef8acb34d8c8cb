"""Rule `clean_shard`: a share of documents.parquet -> shards/{scatteritem}.parquet."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.text.cleaning.clean_shard import clean_shard


def main(snakemake: Snakemake) -> None:
    shard, shards = snakemake.wildcards.scatteritem.split("-of-")
    clean_shard(
        snakemake.input.documents,
        snakemake.output.part,
        shard=int(shard) - 1,
        shards=int(shards),
        splits=snakemake.params.splits,
        **snakemake.params.cleaning,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
