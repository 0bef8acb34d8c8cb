"""Rule `model_card`: models/{model}/, baselines.json, audit.json if any -> README.md."""

from snakemake.iocontainers import Snakemake

from charlm.model.model_card import write_model_card
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    write_model_card(
        snakemake.params.folder,
        snakemake.input.metrics,
        snakemake.input.baselines,
        snakemake.output.card,
        corpus=snakemake.params.corpus,
        prompts=snakemake.params.prompts,
        **snakemake.params.card,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
