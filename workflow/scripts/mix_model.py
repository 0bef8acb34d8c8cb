"""Rule `mix_model`: models/{model}/network/, tokens/ -> models/{model}/."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.stage import stage
from charlm.settings import MixtureSettings
from charlm.training.mix_model import mix_model


def main(snakemake: Snakemake) -> None:
    mix_model(
        snakemake.params.network,
        snakemake.input.tokens,
        snakemake.params.folder,
        mixture=MixtureSettings.from_optional(snakemake.params.mixture, "mixture"),
        seed=snakemake.params.seed,
        device=snakemake.params.device,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
