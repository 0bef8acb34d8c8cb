"""Rule `export_onnx`: models/{model}/ -> model.onnx."""

from snakemake.iocontainers import Snakemake

from charlm.model.export_onnx import export_onnx
from charlm.pipeline.stage import stage


def main(snakemake: Snakemake) -> None:
    export_onnx(snakemake.params.folder, snakemake.output.onnx)


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
