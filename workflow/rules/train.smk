from charlm.settings import TrainingSettings
from charlm.training.settings import decisive_settings


rule train:
    input:
        each_model("model.safetensors"),


rule train_model:
    input:
        vocabulary=f"{RESULTS}/vocabulary.json",
        tokens=f"{RESULTS}/tokens",
        init_from=dependency_files("init_from"),
        teacher=dependency_files("teacher"),
        match=vocabulary_match,
    output:
        weights=f"{MODEL}/network/model.safetensors",
        description=f"{MODEL}/network/model.json",
        history=f"{MODEL}/network/history.csv",
        learning_samples=f"{MODEL}/network/learning_samples.json",
        timing=f"{MODEL}/network/timing.json",
    log:
        f"logs/{CORPUS}/train/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/train/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: threads_per_model
    resources:
        mem_mb=4096,
        gpu=lambda wildcards: int(training_settings(wildcards)["device"] != "cpu"),
    params:
        # Not in the model's folder: Snakemake deletes the outputs of a failed job.
        checkpoints=lambda wildcards, output: f"{Path(output.weights).parents[3]}/checkpoints/{wildcards.model}",
        folder=subpath(output.weights, parent=True),
        architecture=network_architecture,
        mixed=lambda wildcards: config["models"][wildcards.model]["mixture"] is not None,
        # Snakemake trains again if a param has changed, unless the param is a function of `output`.
        # So `training` is one, and `compared` holds only the settings that change the outputs.
        training=lambda wildcards, output: training_settings(wildcards),
        compared=lambda wildcards: decisive_settings(
            TrainingSettings(**training_settings(wildcards))
        ),
        dependency_folders=dependency_folders,
        code=code_of("train_model"),
    script:
        "../scripts/train_model.py"


rule mix_model:
    input:
        weights=f"{MODEL}/network/model.safetensors",
        description=f"{MODEL}/network/model.json",
        history=f"{MODEL}/network/history.csv",
        timing=f"{MODEL}/network/timing.json",
        tokens=f"{RESULTS}/tokens",
        init_from=dependency_files("init_from"),
        teacher=dependency_files("teacher"),
    output:
        weights=f"{MODEL}/model.safetensors",
        description=f"{MODEL}/model.json",
        history=report(
            f"{MODEL}/history.csv",
            category="Models",
            labels={"model": "{model}", "shows": "learning curve"},
            caption="../report/train.rst",
        ),
        timing=f"{MODEL}/timing.json",
    log:
        f"logs/{CORPUS}/mix/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/mix/{{model}}.benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4096,
        gpu=lambda wildcards: int(training_settings(wildcards)["device"] != "cpu"),
    params:
        network=subpath(input.weights, parent=True),
        folder=subpath(output.weights, parent=True),
        mixture=lambda wildcards: config["models"][wildcards.model]["mixture"],
        seed=lambda wildcards: training_settings(wildcards)["seed"],
        device=lambda wildcards: training_settings(wildcards)["device"],
        code=code_of("mix_model"),
        # What the network depends on, here and in `input`, although the script does not read it.
        # When a training is killed, its network is gone but the old model is not. Without these
        # entries, Snakemake would then consider that model up to date.
        network_architecture=network_architecture,
        network_training=lambda wildcards: decisive_settings(
            TrainingSettings(**training_settings(wildcards))
        ),
        network_code=code_of("train_model"),
    script:
        "../scripts/mix_model.py"


# A separate job before training, because Snakemake deletes a finished model as soon as the job that
# trains it again starts.
rule match_vocabulary:
    input:
        vocabulary=f"{RESULTS}/vocabulary.json",
        descriptions=dependency_descriptions,
    output:
        match=temp(touch(f"{RESULTS}/matches/{{model}}")),
    log:
        f"logs/{CORPUS}/match_vocabulary/{{model}}.log",
    benchmark:
        f"logs/{CORPUS}/match_vocabulary/{{model}}.benchmark.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1024,
    params:
        code=code_of("match_vocabulary"),
    script:
        "../scripts/match_vocabulary.py"
