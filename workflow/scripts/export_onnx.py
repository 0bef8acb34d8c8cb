"""Rule `export_onnx`: models/{model}/ -> model.onnx."""

from snakemake.iocontainers import Snakemake

from charlm.export import export_onnx
from charlm.stage import stage


def main(snakemake: Snakemake) -> None:
    export_onnx(snakemake.params.folder, snakemake.output.onnx)


if __name__ == "__main__":
    with stage(snakemake.log[0]):
        main(snakemake)
