rule sample:
    input:
        each_model("model.safetensors"),
        each_model("samples.jsonl"),


rule sample_model:
    input:
        weights=f"{MODEL}/model.safetensors",
        description=f"{MODEL}/model.json",
        prompts=user_files([config["sampling"]["prompts_file"]]),
    output:
        samples=report(
            f"{MODEL}/samples.jsonl",
            category="Models",
            labels={"model": "{model}", "shows": "samples"},
            caption="../report/sample.rst",
        ),
    log:
        f"logs/{CORPUS}/sample/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/sample/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
        gpu=lambda wildcards: int(training_settings(wildcards)["device"] != "cpu"),
    params:
        folder=subpath(input.weights, parent=True),
        sampling=lookup("sampling", within=config),
        device=lambda wildcards: training_settings(wildcards)["device"],
        code=code_of("sample_model"),
    script:
        "../scripts/sample_model.py"


rule memorization:
    input:
        corpus=f"{RESULTS}/corpus.parquet",
        samples=each_model("samples.jsonl"),
    output:
        memorization=report(
            f"{RESULTS}/memorization.json",
            category="Overview",
            labels={"stage": "sample", "shows": "overlap with the training text"},
            caption="../report/memorization.rst",
        ),
    log:
        f"logs/{CORPUS}/memorization.log",
    benchmark:
        f"logs/{CORPUS}/memorization.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4096,
    params:
        models=list(config["models"]),
        code=code_of("memorization"),
    script:
        "../scripts/memorization.py"
