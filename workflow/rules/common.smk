# What all rules share: the checked configuration, where things lie, and what is made in the end.
from pathlib import Path

from snakemake.exceptions import WorkflowError

from charlm.config import resolve
from charlm.errors import CharlmError
from charlm.provenance import code_digest
from charlm.text.cleaning import rules_of
from charlm.text.sources import resolve_source

# A --configfile stands alone: it replaces the demo's settings and is not merged into them.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


GIVEN = config
try:
    config = resolve(config, " + ".join(map(str, workflow.configfiles)))
    SOURCES = resolve_source(config["corpus"]["source"])
    rules_of(**config["cleaning"])
except CharlmError as error:
    raise WorkflowError(str(error)) from None

CORPUS = config["corpus"]["name"]
RESULTS = f"results/{CORPUS}"
MODEL = f"{RESULTS}/models/{{model}}"
ONE_STREAM = config["splits"]["method"] == "contiguous"
ENVIRONMENT = "../envs/charlm.yaml"
SHARED = workflow.workflow_settings.cache is not None  # --cache
PREFIX = workflow.modifier.path_modifier.prefix or ""  # where this is used as a module


wildcard_constraints:
    model="|".join(map(re.escape, config["models"])),


def final_outputs():
    """Return all that a whole run makes."""
    return [
        f"{RESULTS}/report.html",
        f"{RESULTS}/rejected.parquet",
        *each_model("README.md"),
    ]


def given(files):
    """Return the user's own files, out of reach of a module's prefix, which is for results."""
    return [Path(file).absolute() if PREFIX else file for file in files if file]


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


def architecture(wildcards):
    settings = config["models"][wildcards.model]
    return {key: value for key, value in settings.items() if key != "training"}
