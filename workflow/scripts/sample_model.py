"""Rule `sample_model`: models/{model}/ -> samples.jsonl."""

from snakemake.iocontainers import Snakemake

from charlm.model.sample_model import sample_model
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    sample_model(
        snakemake.params.folder,
        snakemake.output.samples,
        device=snakemake.params.device,
        **snakemake.params.sampling,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
