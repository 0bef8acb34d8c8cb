"""Rule `evaluate_model`: models/{model}/, tokens/ -> metrics.json and details."""

from snakemake.iocontainers import Snakemake

from charlm.evaluation.evaluate import evaluate
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    evaluate(
        snakemake.params.folder,
        snakemake.input.tokens,
        snakemake.output.metrics,
        snakemake.output.document_scores,
        snakemake.output.diagnostics,
        device=snakemake.params.device,
    )


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
