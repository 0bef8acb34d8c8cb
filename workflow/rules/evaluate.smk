rule evaluate:
    input:
        each_model("model.safetensors"),
        each_model("metrics.json"),
        f"{RESULTS}/comparison.json",


rule evaluate_model:
    input:
        weights=f"{MODEL}/model.safetensors",
        description=f"{MODEL}/model.json",
        tokens=f"{RESULTS}/tokens",
    output:
        metrics=report(
            f"{MODEL}/metrics.json",
            category="Models",
            labels={"model": "{model}", "shows": "scores"},
            caption="../report/evaluate.rst",
        ),
        document_scores=f"{MODEL}/document_scores.parquet",
        diagnostics=f"{MODEL}/diagnostics.json",
    log:
        f"logs/{CORPUS}/evaluate/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/evaluate/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: threads_per_model
    resources:
        mem_mb=2048,
        gpu=lambda wildcards: int(training_settings(wildcards)["device"] != "cpu"),
    params:
        folder=subpath(input.weights, parent=True),
        device=lambda wildcards: training_settings(wildcards)["device"],
        code=code_of("evaluate_model"),
    script:
        "../scripts/evaluate_model.py"


rule compare:
    input:
        baseline_scores=f"{RESULTS}/baseline_scores.parquet",
        document_scores=each_model("document_scores.parquet"),
    output:
        comparison=report(
            f"{RESULTS}/comparison.json",
            category="Overview",
            labels={"stage": "evaluate", "shows": "which differences are significant"},
            caption="../report/compare.rst",
        ),
    log:
        f"logs/{CORPUS}/compare.log",
    benchmark:
        f"logs/{CORPUS}/compare.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
    params:
        models=list(config["models"]),
        code=code_of("compare"),
    script:
        "../scripts/compare.py"
