rule vocabulary:
    input:
        corpus=f"{RESULTS}/corpus.parquet",
    output:
        vocabulary=f"{RESULTS}/vocabulary.json",
    log:
        f"logs/{CORPUS}/vocabulary.log",
    benchmark:
        f"logs/{CORPUS}/vocabulary.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=1024,
    params:
        vocabulary=lookup("vocabulary", within=config),
        code=code_of("vocabulary"),
    script:
        "../scripts/vocabulary.py"
