"""Rule `crate`: all results -> ro-crate-metadata.json, run/."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.crate import write_crate
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    write_crate(
        snakemake.input,
        snakemake.output.record,
        snakemake.output.run,
        corpus=snakemake.params.corpus,
        config=snakemake.params.config,
        scripts=snakemake.scriptdir,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
