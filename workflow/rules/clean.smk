# A corpus of several files is cleaned as several jobs, so that a cluster can share them; any other
# number of jobs (--set-scatter clean=8) gives the same bytes.
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
        # A scatter item is named 1-of-4 and so on.
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
            labels={"stage": "clean", "shows": "what each rule did"},
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
        # As the model reads it: with nothing between documents where nothing marks their ends.
        separator="\n\n" if config["vocabulary"]["end_of_document"] else "",
        code=code_of("plain_text"),
    script:
        "../scripts/plain_text.py"
