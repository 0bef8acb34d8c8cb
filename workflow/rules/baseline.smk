rule baseline:
    input:
        vocabulary=f"{RESULTS}/vocabulary.json",
        tokens=f"{RESULTS}/tokens",
    output:
        baselines=report(
            f"{RESULTS}/baselines.json",
            category="Overview",
            labels={"stage": "baseline", "shows": "scores of the baselines"},
            caption="../report/baseline.rst",
        ),
        document_scores=f"{RESULTS}/baseline_scores.parquet",
    log:
        f"logs/{CORPUS}/baseline.log",
    benchmark:
        f"logs/{CORPUS}/baseline.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2048,
    params:
        one_stream=ONE_STREAM,
        code=code_of("baseline"),
    script:
        "../scripts/baseline.py"
