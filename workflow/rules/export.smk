rule model_card:
    input:
        description=f"{MODEL}/model.json",
        metrics=f"{MODEL}/metrics.json",
        baselines=f"{RESULTS}/baselines.json",
        audit=existing_audit,
    output:
        card=report(
            f"{MODEL}/README.md",
            category="Models",
            labels={"model": "{model}", "shows": "model card"},
            caption="../report/card.rst",
        ),
    log:
        f"logs/{CORPUS}/model_card/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/model_card/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
    params:
        folder=subpath(input.description, parent=True),
        corpus=CORPUS,
        prompts=lookup("sampling/prompts", within=config),
        card=lookup("card", within=config),
        code=code_of("model_card"),
    script:
        "../scripts/model_card.py"


# Made on demand: snakemake --cores all dataset_card
rule dataset_card:
    input:
        corpus=f"{RESULTS}/corpus.parquet",
    output:
        folder=directory(f"{RESULTS}/dataset"),
    log:
        f"logs/{CORPUS}/dataset_card.log",
    benchmark:
        f"logs/{CORPUS}/dataset_card.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
    params:
        name=CORPUS,
        card=lookup("card", within=config),
        code=code_of("dataset_card"),
    script:
        "../scripts/dataset_card.py"


# Made on demand: snakemake --cores all results/…/models/…/model.onnx
rule export_onnx:
    input:
        weights=f"{MODEL}/model.safetensors",
        description=f"{MODEL}/model.json",
    output:
        onnx=f"{MODEL}/model.onnx",
    log:
        f"logs/{CORPUS}/export_onnx/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/export_onnx/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
    params:
        folder=subpath(input.weights, parent=True),
        code=code_of("export_onnx"),
    script:
        "../scripts/export_onnx.py"
