# What all rules share: the checked configuration, where things lie, and what is made in the end.
from snakemake.exceptions import WorkflowError

from charlm.config import resolve
from charlm.errors import CharlmError
from charlm.provenance import code_digest
from charlm.text.cleaning import rules_of
from charlm.text.sources import is_remote, resolve_source

# A --configfile stands alone: it replaces the demo's settings and is not merged into them.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


try:
    config = resolve(config, " + ".join(map(str, workflow.configfiles)))
    SOURCES = [
        local(file) if not is_remote(str(file)) else storage(file)
        for file in resolve_source(config["corpus"]["source"])
    ]
    rules_of(**config["cleaning"])
except CharlmError as error:
    raise WorkflowError(str(error)) from None


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
            raise WorkflowError(f"{file.query}: no such object or bucket; mend corpus.source")
    store = workflow.storage_registry.default_storage_provider
    if store is not None:
        is_stored(
            store.object(f"{workflow.storage_settings.default_storage_prefix}/results")
        )

CORPUS = config["corpus"]["name"]
RESULTS = f"results/{CORPUS}"
MODEL = f"{RESULTS}/models/{{model}}"
ONE_STREAM = config["splits"]["method"] == "contiguous"
ENVIRONMENT = "../envs/charlm.yaml"


wildcard_constraints:
    model="|".join(map(re.escape, config["models"])),


def final_outputs():
    """Return all that a whole run makes."""
    return [
        f"{RESULTS}/report.html",
        f"{RESULTS}/rejected.parquet",
        *each_model("README.md"),
    ]


def each_model(file):
    """Return a file of each trained model."""
    return expand(f"{MODEL}/{file}", model=config["models"])


def code_of(script):
    """Return a digest of a script and of all modules that it imports, to be tracked as a param."""
    return code_digest(workflow.source_path(f"../scripts/{script}.py"))


def training_settings(wildcards):
    return config["models"][wildcards.model]["training"]


def architecture(wildcards):
    settings = config["models"][wildcards.model]
    return {key: value for key, value in settings.items() if key != "training"}
