rule report:
    input:
        documents=f"{RESULTS}/documents.parquet",
        rejected=f"{RESULTS}/rejected.parquet",
        corpus=f"{RESULTS}/corpus.parquet",
        cleaning=f"{RESULTS}/cleaning.tsv",
        examples=f"{RESULTS}/cleaning_examples.json",
        vocabulary=f"{RESULTS}/vocabulary.json",
        tokens=f"{RESULTS}/tokens",
        baselines=f"{RESULTS}/baselines.json",
        weights=each_model("model.safetensors"),
        descriptions=each_model("model.json"),
        histories=each_model("history.csv"),
        timings=each_model("timing.json"),
        learning_samples=each_model("network/learning_samples.json"),
        comparison=f"{RESULTS}/comparison.json",
        memorization=f"{RESULTS}/memorization.json",
        metrics=each_model("metrics.json"),
        diagnostics=each_model("diagnostics.json"),
        scores=each_model("document_scores.parquet"),
        samples=each_model("samples.jsonl"),
        audits=existing(each_model("audit.json")),
    output:
        page=f"{RESULTS}/report.html",
        # Browsers open no item of Snakemake's report above 2 MB.
        without_playground=report(
            f"{RESULTS}/report_without_playground.html",
            category="Overview",
            labels={"stage": "report", "shows": "everything on one page"},
            caption="../report/report.rst",
        ),
    log:
        f"logs/{CORPUS}/report.log",
    benchmark:
        f"logs/{CORPUS}/report.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4096,
    params:
        results=subpath(input.documents, parent=True),
        models=list(config["models"]),
        config=config,
        # Benchmarks are no outputs, so they cannot be inputs.
        logs=f"{PREFIX}logs/{CORPUS}",
        code=code_of("report"),
    script:
        "../scripts/report.py"
