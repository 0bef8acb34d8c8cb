# The record of a run, on demand; it holds times of the clock, which no other result does but
# timing.json and the report's quotation of it.
rule crate:
    input:
        final_outputs(),
        made_on_demand(),
    output:
        record=f"{RESULTS}/ro-crate-metadata.json",
        run=directory(f"{RESULTS}/run"),
    log:
        f"logs/{CORPUS}/crate.log",
    benchmark:
        f"logs/{CORPUS}/crate.benchmark.tsv"
    # It reads what Snakemake keeps here of the other jobs.
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
    params:
        corpus=CORPUS,
        config=GIVEN,
        code=code_of("crate"),
    script:
        "../scripts/crate.py"
