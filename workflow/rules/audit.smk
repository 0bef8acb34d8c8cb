# Made on demand: snakemake --cores all audit
rule audit:
    input:
        each_model("audit.json"),


rule audit_model:
    input:
        weights=f"{MODEL}/model.safetensors",
        description=f"{MODEL}/model.json",
        corpus=f"{RESULTS}/corpus.parquet",
        tokens=f"{RESULTS}/tokens",
    output:
        audit=f"{MODEL}/audit.json",
    log:
        f"logs/{CORPUS}/audit/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/audit/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=2048,
        gpu=lambda wildcards: int(training_settings(wildcards)["device"] != "cpu"),
    params:
        folder=subpath(input.weights, parent=True),
        results=subpath(input.corpus, parent=True),
        device=lambda wildcards: training_settings(wildcards)["device"],
        code=code_of("audit_model"),
    script:
        "../scripts/audit_model.py"
