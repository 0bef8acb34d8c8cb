"""Rule `audit_model`: models/{model}/, corpus.parquet, tokens/ -> audit.json."""

from snakemake.iocontainers import Snakemake

from charlm.evaluation.audit import audit
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    audit(
        snakemake.params.folder,
        snakemake.params.results,
        snakemake.output.audit,
        device=snakemake.params.device,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
