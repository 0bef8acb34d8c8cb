"""Rule `memorization`: corpus.parquet, the models' samples.jsonl -> memorization.json."""

from snakemake.iocontainers import Snakemake

from charlm.evaluation.memorization import measure_memorization
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    measure_memorization(
        snakemake.input.corpus,
        snakemake.input.samples,
        snakemake.output.memorization,
        models=snakemake.params.models,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
