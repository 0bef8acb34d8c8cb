"""Rule `match_vocabulary`: vocabulary.json, model.json of other models -> matches/{model}."""

from snakemake.iocontainers import Snakemake

from charlm.pipeline.match_vocabulary import match_vocabulary
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    match_vocabulary(snakemake.input.vocabulary, snakemake.input.descriptions)


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
