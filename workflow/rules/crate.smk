# The record of a run, made on demand. It holds times, as do timing.json and the report, so it differs
# from run to run.
rule crate:
    input:
        final_outputs(),
        existing_optional_outputs(),
    output:
        record=f"{RESULTS}/ro-crate-metadata.json",
        run=directory(f"{RESULTS}/run"),
    log:
        f"logs/{CORPUS}/crate.log",
    benchmark:
        f"logs/{CORPUS}/crate.benchmark.tsv"
    # It reads Snakemake's metadata of the other jobs, which is on this machine.
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
    params:
        corpus=CORPUS,
        config=CONFIG_AS_GIVEN,
        code=code_of("crate"),
    script:
        "../scripts/crate.py"
