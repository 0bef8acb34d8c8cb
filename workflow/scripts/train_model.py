"""Rule `train_model`: vocabulary.json, tokens/ -> models/{model}/."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.training.trainer import train


def main(snakemake: Snakemake) -> None:
    train(
        snakemake.input.vocabulary,
        snakemake.input.tokens,
        snakemake.params.folder,
        snakemake.params.checkpoints,
        architecture=snakemake.params.architecture,
        training=snakemake.params.training,
        origins=snakemake.params.origins,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
