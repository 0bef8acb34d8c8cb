# A corpus of several files is cleaned in several jobs, which a cluster can run at the same time. The
# number of jobs (--set-scatter clean=8) does not change the result.
scattergather:
    clean=min(len(SOURCES), 4),


rule clean_shard:
    input:
        documents=f"{RESULTS}/documents.parquet",
    output:
        part=temp(f"{RESULTS}/shards/{{scatteritem}}.parquet"),
    log:
        f"logs/{CORPUS}/clean/{{scatteritem}}.log",
    benchmark:
        f"logs/{CORPUS}/clean/{{scatteritem}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=1024,
    params:
        # Snakemake names the scatter items 1-of-4, 2-of-4 and so on.
        shard=lambda wildcards: int(wildcards.scatteritem.split("-of-")[0]) - 1,
        shards=lambda wildcards: int(wildcards.scatteritem.split("-of-")[1]),
        cleaning=lookup("cleaning", within=config),
        splits=lookup("splits", within=config),
        code=code_of("clean_shard"),
    script:
        "../scripts/clean_shard.py"


rule clean:
    input:
        parts=gather.clean(f"{RESULTS}/shards/{{scatteritem}}.parquet"),
    output:
        corpus=f"{RESULTS}/corpus.parquet",
        summary=report(
            f"{RESULTS}/cleaning.tsv",
            category="Corpus",
            labels={"stage": "clean", "shows": "effect of each rule"},
            caption="../report/clean.rst",
        ),
        examples=f"{RESULTS}/cleaning_examples.json",
    log:
        f"logs/{CORPUS}/clean.log",
    benchmark:
        f"logs/{CORPUS}/clean.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        mem_mb=1024,
    params:
        cleaning=lookup("cleaning", within=config),
        splits=lookup("splits", within=config),
        canaries=lookup("corpus/canaries", within=config),
        code=code_of("clean"),
    script:
        "../scripts/clean.py"


rule plain_text:
    input:
        corpus=f"{RESULTS}/corpus.parquet",
    output:
        f"{RESULTS}/corpus.txt",
    log:
        f"logs/{CORPUS}/plain_text.log",
    benchmark:
        f"logs/{CORPUS}/plain_text.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
    params:
        # Without an end-of-document symbol the model reads the documents joined with nothing between.
        separator="\n\n" if config["vocabulary"]["end_of_document"] else "",
        code=code_of("plain_text"),
    script:
        "../scripts/plain_text.py"
