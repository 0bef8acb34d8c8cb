rule evaluate:
    input:
        each_model("metrics.json"),


rule evaluate_model:
    input:
        weights=f"{MODEL}/model.safetensors",
        description=f"{MODEL}/model.json",
        tokens=f"{RESULTS}/tokens",
    output:
        metrics=f"{MODEL}/metrics.json",
        document_scores=f"{MODEL}/document_scores.parquet",
    log:
        f"logs/{CORPUS}/evaluate/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/evaluate/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=2048,
        gpu=lambda wildcards: int(training_settings(wildcards)["device"] != "cpu"),
    params:
        folder=subpath(input.weights, parent=True),
        one_stream=ONE_STREAM,
        device=lambda wildcards: training_settings(wildcards)["device"],
        code=code_of("evaluate_model"),
    script:
        "../scripts/evaluate_model.py"
