# What all rules share: the checked configuration, the paths, and functions for inputs and params.
import os.path
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import contains_wildcard

from charlm.pipeline.config import resolve
from charlm.errors import CharlmError
from charlm.escaping import error_line, terminal_text
from charlm.pipeline.model_dependencies import FILES, KEYS, ModelDependencies
from charlm.code_digest import code_digest
from charlm.text.cleaning.profiles import rules_of
from charlm.pipeline.jobs import recorded_sources
from charlm.pipeline.run_lock import hold_run_lock, mark_cluster_run
from charlm.text.sources.identity import content_digests
from charlm.text.sources.ingest import check_columns
from charlm.text.sources.locations import is_remote, resolve_source

# A --configfile stands alone: it replaces the demo's settings and is not merged into them.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


CONFIG_AS_GIVEN = config
CONFIG_FILES = " + ".join(map(str, workflow.configfiles))
try:
    config = resolve(config, CONFIG_FILES)
    rules_of(**config["cleaning"])
except CharlmError as error:
    raise WorkflowError(terminal_text(error)) from None


# The prefix of all paths if another workflow uses this one as a module.
PREFIX = workflow.modifier.path_modifier.prefix or ""
CORPUS = config["corpus"]["name"]
RESULTS = f"results/{CORPUS}"
LOGS = f"{PREFIX}logs/{CORPUS}"
if workflow.is_main_process:
    hold_run_lock(LOGS, PREFIX + RESULTS)  # before Snakemake looks at its own locks
INGESTED = {
    key: value
    for key, value in config["corpus"].items()
    if key not in ("name", "canaries")
}
try:
    sources = resolve_source(INGESTED["source"])
    sources_missing = False
except CharlmError as error:
    # The stages after `ingest` can do without the source.
    sources = recorded_sources(f"{PREFIX}{RESULTS}/documents.parquet", INGESTED)
    sources_missing = True
    if not sources:
        raise WorkflowError(error_line(error)) from None


def user_files(files):
    """Return the user's own files, to which no module prefix and no default storage applies."""
    found = []
    for file in filter(None, files):
        if is_remote(str(file)):
            found.append(storage(file))
        elif contains_wildcard(str(file)):
            raise WorkflowError(
                f"{file}: Snakemake takes names in braces for wildcards; rename the file or folder"
            )
        else:
            found.append(local(Path(file).absolute() if PREFIX else file))
    return found


SOURCES = user_files(sources)


def exists_in_store(file):
    """Return whether a storage object exists; raise an error if its store does not answer."""
    try:
        return file.exists()
    except Exception as error:
        raise WorkflowError(
            f"{file.query}: the store does not answer or refuses ({' '.join(str(error).split())}); "
            "check its endpoint, your credentials and the bucket's name"
        ) from None


# The main process checks the sources once, before any job runs.
if workflow.is_main_process:
    try:
        if not sources_missing:
            check_columns(**config["corpus"])
    except CharlmError as error:
        raise WorkflowError(error_line(error)) from None
    for source in SOURCES:
        file = source.flags.get("storage_object")
        if file is not None and not exists_in_store(file):
            raise WorkflowError(
                f"{file.query}: no such object or bucket; fix corpus.source"
            )
    store = workflow.storage_registry.default_storage_provider
    if store is not None:
        exists_in_store(
            store.object(f"{workflow.storage_settings.default_storage_prefix}/results")
        )

MODEL = f"{RESULTS}/models/{{model}}"
DEPENDENCIES = ModelDependencies(config, PREFIX + RESULTS, prefix=PREFIX)
if workflow.is_main_process:
    try:
        DEPENDENCIES.check(CONFIG_FILES)
    except CharlmError as error:
        raise WorkflowError(error_line(error)) from None
ENVIRONMENT = "../envs/charlm.yaml"
CACHED = workflow.workflow_settings.cache is not None  # --cache


wildcard_constraints:
    model="|".join(map(re.escape, config["models"])),


def final_outputs():
    """Return the files that a whole run makes.

    Files that the report is made from are named, too: Snakemake makes a missing input anew only if
    something else is to be made from it. Weights go missing when a training fails.
    """
    files = "README.md", "model.safetensors", "metrics.json", "samples.jsonl"
    return [
        f"{RESULTS}/report.html",
        f"{RESULTS}/rejected.parquet",
        *(path for file in files for path in each_model(file)),
    ]


def existing_optional_outputs():
    """Return the files that exist although a whole run does not make them."""
    optional = [*each_model("model.onnx"), *each_model("audit.json")]
    return existing([f"{RESULTS}/corpus.txt", *optional])


def existing(files):
    """Return those of some results that exist."""
    return [file for file in files if Path(PREFIX + file).exists()]


def existing_audit(wildcards):
    """Return the audit of a model if it was made, so that its card is made anew after an audit."""
    return existing(expand(f"{MODEL}/audit.json", model=wildcards.model))


def each_model(file):
    """Return a file of each model."""
    return expand(f"{MODEL}/{file}", model=config["models"])


def code_of(script):
    """Return a digest of a script and of all modules that it imports.

    As a param of a rule, it makes Snakemake run the rule again after a change to this code.
    """
    return code_digest(workflow.source_path(f"../scripts/{script}.py"))


def network_architecture(wildcards):
    """Return the architecture of a model's network, which is trained without the experts."""
    settings = config["models"][wildcards.model] | {"mixture": None}
    return {key: value for key, value in settings.items() if key != "training"}


def threads_per_model(wildcards):
    """Return the number of threads per model if all models run side by side, at most 8.

    Two trainings with one thread each are faster than one after the other with two.
    """
    if workflow.cores is None:  # jobs run on other machines
        return 8
    return max(1, min(8, workflow.cores // len(config["models"])))


def training_settings(wildcards):
    """Return the training settings of a model."""
    return config["models"][wildcards.model]["training"]


def dependency_files(key, files=FILES):
    """Return an input function for files of the model that `init_from` or `teacher` names."""

    def of_model(wildcards):
        folder = training_settings(wildcards)[key]
        model = folder and DEPENDENCIES.trained_here(folder)
        if model:
            return expand(f"{MODEL}/{{file}}", model=model, file=files)
        return user_files(
            os.path.normpath(f"{folder}/{file}") for file in files if folder
        )

    return of_model


def dependency_descriptions(wildcards):
    """Return the model.json of each model that a training depends on."""
    return [
        file
        for key in KEYS
        for file in dependency_files(key, ["model.json"])(wildcards)
    ]


def dependency_folders(wildcards, input):
    """Return the folders of the models that a training depends on and this run trains, by key."""
    return {
        key: os.path.dirname(input[key][0])
        for key, folder in DEPENDENCIES.of(wildcards.model)
        if DEPENDENCIES.trained_here(folder)
    }


def vocabulary_match(wildcards):
    """Return the output of `match_vocabulary` if a training depends on the user's own models."""
    folders = [folder for _, folder in DEPENDENCIES.of(wildcards.model)]
    if all(map(DEPENDENCIES.trained_here, folders)):
        return []
    return expand(f"{RESULTS}/matches/{{model}}", model=wildcards.model)
