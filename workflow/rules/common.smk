# What all rules share: the checked configuration, where things lie, and what is made in the end.
import os.path
from pathlib import Path

from snakemake.exceptions import WorkflowError

from charlm.pipeline.config import resolve
from charlm.errors import CharlmError
from charlm.pipeline.model_dependencies import FILES, KEYS, ModelDependencies
from charlm.code_digest import code_digest
from charlm.text.cleaning.profiles import rules_of
from charlm.text.sources.locations import is_remote, resolve_source
from charlm.training.settings import decisive

# A --configfile stands alone: it replaces the demo's settings and is not merged into them.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


GIVEN = config
CONFIG_NAME = " + ".join(map(str, workflow.configfiles))
try:
    config = resolve(config, CONFIG_NAME)
    rules_of(**config["cleaning"])
    sources = resolve_source(config["corpus"]["source"])
except CharlmError as error:
    raise WorkflowError(str(error)) from None


PREFIX = workflow.modifier.path_modifier.prefix or ""  # where this is used as a module


def given(files):
    """Return the user's own files, out of reach of a module's prefix and of a default store."""
    found = []
    for file in filter(None, files):
        if is_remote(str(file)):
            found.append(storage(file))
        else:
            found.append(local(Path(file).absolute() if PREFIX else file))
    return found


SOURCES = given(sources)


def is_stored(file):
    """Return whether a storage object is there; raise an error unless its store answers."""
    try:
        return file.exists()
    except Exception as error:
        raise WorkflowError(
            f"{file.query}: the store does not answer or refuses ({' '.join(str(error).split())}); "
            "check its endpoint, your credentials and the bucket's name"
        ) from None


# Asked once, before any job, by the process that the user started.
if workflow.is_main_process:
    for source in SOURCES:
        file = source.flags.get("storage_object")
        if file is not None and not is_stored(file):
            raise WorkflowError(
                f"{file.query}: no such object or bucket; fix corpus.source"
            )
    store = workflow.storage_registry.default_storage_provider
    if store is not None:
        is_stored(
            store.object(f"{workflow.storage_settings.default_storage_prefix}/results")
        )

CORPUS = config["corpus"]["name"]
RESULTS = f"results/{CORPUS}"
DEPENDENCIES = ModelDependencies(config, PREFIX + RESULTS, prefix=PREFIX)
if workflow.is_main_process:
    try:
        DEPENDENCIES.check(CONFIG_NAME)
    except CharlmError as error:
        raise WorkflowError(str(error)) from None
MODEL = f"{RESULTS}/models/{{model}}"
ENVIRONMENT = "../envs/charlm.yaml"
SHARED = workflow.workflow_settings.cache is not None  # --cache


wildcard_constraints:
    model="|".join(map(re.escape, config["models"])),


def final_outputs():
    """Return all that a whole run makes.

    The weights are named for a training that failed: Snakemake has deleted them, and would not
    miss them where what was made of those before them still stands.
    """
    return [
        f"{RESULTS}/report.html",
        f"{RESULTS}/rejected.parquet",
        *each_model("README.md"),
        *each_model("model.safetensors"),
    ]


def made_on_demand():
    """Return what a whole run does not make but somebody asked for."""
    files = [f"{RESULTS}/corpus.txt", *each_model("model.onnx")]
    return [file for file in files if Path(PREFIX + file).exists()]


def each_model(file):
    """Return a file of each trained model."""
    return expand(f"{MODEL}/{file}", model=config["models"])


def code_of(script):
    """Return a digest of a script and of all modules that it imports, to be tracked as a param."""
    return code_digest(workflow.source_path(f"../scripts/{script}.py"))


def training_settings(wildcards):
    return config["models"][wildcards.model]["training"]


def dependency_files(key, files=FILES):
    """Return a function that returns files of the model that a training key names, if any."""

    def of_model(wildcards):
        folder = training_settings(wildcards)[key]
        model = folder and DEPENDENCIES.trained_here(folder)
        if model:
            return expand(f"{MODEL}/{{file}}", model=model, file=files)
        return given(os.path.normpath(f"{folder}/{file}") for file in files if folder)

    return of_model


def dependency_descriptions(wildcards):
    """Return the descriptions of the models that a training depends on."""
    return [
        file
        for key in KEYS
        for file in dependency_files(key, ["model.json"])(wildcards)
    ]


def dependency_folders(wildcards, input):
    """Return the folders of the models that a training depends on and this run trains."""
    return {
        key: os.path.dirname(input[key][0])
        for key, folder in DEPENDENCIES.of(wildcards.model)
        if DEPENDENCIES.trained_here(folder)
    }


def vocabulary_match(wildcards):
    """Return the file that shows that a training's dependencies have this corpus's vocabulary."""
    folders = [folder for _, folder in DEPENDENCIES.of(wildcards.model)]
    if all(map(DEPENDENCIES.trained_here, folders)):
        return []
    return expand(f"{RESULTS}/matches/{{model}}", model=wildcards.model)


def architecture(wildcards):
    settings = config["models"][wildcards.model]
    return {key: value for key, value in settings.items() if key != "training"}
