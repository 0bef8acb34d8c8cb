rule encode:
    input:
        corpus=f"{RESULTS}/corpus.parquet",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        tokens=directory(f"{RESULTS}/tokens"),
    log:
        f"logs/{CORPUS}/encode.log",
    benchmark:
        f"logs/{CORPUS}/encode.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=1024,
    params:
        code=code_of("encode"),
    script:
        "../scripts/encode.py"
