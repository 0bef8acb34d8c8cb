"""Rule `train_model`: vocabulary.json, tokens/ -> models/{model}/network/."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.settings import Architecture, TrainingSettings
from charlm.training.train_model import train_model


def main(snakemake: Snakemake) -> None:
    train_model(
        snakemake.input.vocabulary,
        snakemake.input.tokens,
        snakemake.params.folder,
        snakemake.params.checkpoints,
        architecture=Architecture(**snakemake.params.architecture),
        training=TrainingSettings(**snakemake.params.training),
        mixed=snakemake.params.mixed,
        dependency_folders=snakemake.params.dependency_folders,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
