rule ingest:
    input:
        SOURCES,
    output:
        documents=f"{RESULTS}/documents.parquet",
        rejected=f"{RESULTS}/rejected.parquet",
    log:
        f"logs/{CORPUS}/ingest.log",
    # Several workflows can share what they read: --cache. Snakemake has no benchmark of such a rule.
    # Not shared are clean_shard, since the key does not tell shards apart, and training and what
    # follows it, since their bytes depend on the processor; the rest takes seconds.
    cache: SHARED
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=1024,
    params:
        corpus={key: value for key, value in config["corpus"].items() if key != "name"},
        code=code_of("ingest"),
    script:
        "../scripts/ingest.py"
