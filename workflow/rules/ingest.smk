rule ingest:
    input:
        SOURCES,
    output:
        documents=f"{RESULTS}/documents.parquet",
        rejected=f"{RESULTS}/rejected.parquet",
    log:
        f"logs/{CORPUS}/ingest.log",
    benchmark:
        f"logs/{CORPUS}/ingest.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=1024,
    params:
        corpus=lookup("corpus", within=config),
        code=code_of("ingest"),
    script:
        "../scripts/ingest.py"
