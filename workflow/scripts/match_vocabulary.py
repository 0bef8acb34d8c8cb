"""Rule `match_vocabulary`: vocabulary.json, the models that a training names -> that they match."""

from pathlib import Path

from snakemake.iocontainers import Snakemake

from charlm.pipeline.model_dependencies import check_vocabulary
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    weights = [*snakemake.input.init_from[:1], *snakemake.input.teacher[:1]]
    check_vocabulary(snakemake.input.vocabulary, [Path(file).parent for file in weights])


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
