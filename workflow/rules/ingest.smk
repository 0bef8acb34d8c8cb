rule ingest:
    input:
        SOURCES,
    output:
        documents=f"{RESULTS}/documents.parquet",
        rejected=f"{RESULTS}/rejected.parquet",
    log:
        f"logs/{CORPUS}/ingest.log",
    # Several workflows can share these files (--cache). Snakemake cannot benchmark a cached rule.
    # clean_shard is not cached because the key of the cache does not distinguish shards. Training and
    # the stages after it are not cached because their bytes depend on the processor. The other stages
    # take seconds.
    cache: CACHED
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=1024,
    params:
        corpus={
            key: value
            for key, value in config["corpus"].items()
            if key not in ("name", "canaries")
        },
        code=code_of("ingest"),
    script:
        "../scripts/ingest.py"
