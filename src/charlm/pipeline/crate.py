"""Write the record of a run beside its results, as a Provenance Run Crate (a kind of RO-Crate).

It is made from Snakemake's records of the jobs (`charlm.pipeline.jobs`) and from the files.
`charlm.pipeline.verification` reads it. rocrate has no types: what it returns is `Any` to the type
checker.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from rocrate.model import ComputationalWorkflow, Entity
from rocrate.model.computerlanguage import snakemake
from rocrate.rocrate import ROCrate

from charlm import DISTRIBUTION, __version__
from charlm.files import write_text
from charlm.pipeline.crate_entities import Entities
from charlm.pipeline.jobs import Job, find_jobs
from charlm.pipeline.json_object import JsonObject
from charlm.pipeline.machine import processor
from charlm.pipeline.verification import CONFIG, add_digest, recorded_files

BENCHMARK = "https://snakemake.readthedocs.io/en/stable/snakefiles/rules.html"
RO_CRATE = "1.1"  # on which version 0.5 of the profiles is built
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
TERMS = "https://w3id.org/ro/terms/workflow-run#"
LICENSE = (
    "None is given: the results derive from the user's corpus, whose licence governs them. The "
    "workflow itself is under the MIT licence."
)


def write_crate(
    targets: Sequence[str],
    record: str | Path,
    run: str | Path,
    *,
    corpus: str,
    config: Mapping[str, object],
    scripts: str | Path,
) -> None:
    """Write `ro-crate-metadata.json` and, beside it, the configuration and the workflow.

    Args:
        targets: The targets of the run, relative to Snakemake's working folder.
        record: The file to write, in the folder of the results.
        run: The folder to write, in the same folder: the configuration and the workflow.
        corpus: The name of the corpus.
        config: The configuration as the user wrote it.
        scripts: The folder of the workflow's scripts, which is in the folder of the Snakefile.

    Raises:
        CharlmError: Snakemake has no record of how a file was made, or a file has changed since a
            later stage read it.
    """
    results, run = Path(record).parent, Path(run)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(scripts).parent, run / "workflow", ignore=ignored)
    plain = json.loads(json.dumps(config))
    write_text(run / CONFIG, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
    document = _Crate(results, run, find_jobs(targets, results)).document(targets, corpus)
    write_text(record, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


class _Crate:
    """Builds the crate of a folder of results."""

    def __init__(self, results: Path, run: Path, jobs: list[Job]):
        self.results, self.run, self.jobs = results, run, jobs
        self.crate = ROCrate(version=RO_CRATE)
        self.crate.metadata.extra_terms.update(
            {term: TERMS + term for term in ("sha256", "resourceUsage")}
        )
        self.entities = Entities(self.crate, results, jobs)

    def document(self, targets: Sequence[str], corpus: str) -> JsonObject:
        """Return the crate as JSON-LD."""
        workflow = self._workflow()
        actions = {job.name: self._action(job) for job in self.jobs}
        whole = self._whole_run(workflow, targets, corpus)
        self._steps(workflow, actions, whole)
        for path in recorded_files(self.results, self.run):
            self.entities.file(path)
        root = self.crate.root_dataset
        root["name"] = f"charlm: {corpus}"
        root["description"] = (
            f"Character language models of the corpus {corpus}, made by charlm {__version__}: "
            "every file with its hash and the job that made it."
        )
        root["license"] = LICENSE
        root["conformsTo"] = [
            self.entities.add(url, "CreativeWork", name=name, version=Path(url).name)
            for url, name in PROFILES.items()
        ]
        machine = self.entities.add(
            "#processor", "PropertyValue", name="processor", value=processor()
        )
        root["mentions"] = [whole, *actions.values(), machine]
        root.datePublished = whole["endTime"]
        document: JsonObject = self.crate.metadata.generate()
        for entity in document["@graph"]:
            entity |= {  # as RO-Crate 1.1 recommends
                key: value[0] if isinstance(value, list) and len(value) == 1 else value
                for key, value in entity.items()
            }
        add_digest(document)
        return document

    def _workflow(self) -> Entity:
        """Return the entity of the Snakefile, the main entity of the crate."""
        path, version = self.run / "workflow/Snakefile", metadata.version("snakemake")
        workflow = self.entities.file(path, ComputationalWorkflow)
        workflow.properties()["@type"].append("HowTo")
        workflow["version"] = __version__
        workflow["conformsTo"] = {
            "@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
        }
        workflow["license"] = "https://spdx.org/licenses/MIT"
        workflow["programmingLanguage"] = self.crate.add(snakemake(self.crate, version))
        workflow["softwareRequirements"] = [self.entities.software(name) for name in requirements()]
        self.crate.mainEntity = workflow
        self.crate.metadata["conformsTo"] = [
            {"@id": f"https://w3id.org/ro/crate/{RO_CRATE}"},
            {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
        ]
        config = self.entities.file(self.run / CONFIG)
        parameter = self.crate.add_formal_parameter("config", "File", "#config", valueRequired=True)
        parameter["workExample"], config["exampleOfWork"] = config, parameter
        workflow["input"] = [parameter]
        return workflow

    def _whole_run(self, workflow: Entity, targets: Sequence[str], corpus: str) -> Entity:
        """Return the action of the whole run, from the user's files to the targets."""
        made = {path for job in self.jobs for path in job.outputs}
        given = dict.fromkeys(path for job in self.jobs for path in job.inputs if path not in made)
        return self.crate.add_action(
            workflow,
            "#run",
            object=[self.entities.file(self.run / CONFIG), *map(self.entities.data, given)],
            result=list(map(self.entities.data, targets)),
            properties={
                "name": f"the run for {corpus}",
                "description": f"Snakemake with {CONFIG}, from the first job to the last",
                **_times(min(job.start for job in self.jobs), max(job.end for job in self.jobs)),
            },
        )

    def _action(self, job: Job) -> Entity:
        """Return the action of a job: its script, inputs, outputs and resource usage."""
        tool = self.entities.file(self.run / "workflow/scripts" / job.script)
        tool.properties()["@type"] = ["File", "SoftwareSourceCode"]
        tool["version"] = job.code
        params = self.entities.add(
            f"#{job.name}/params", "PropertyValue", name="params", value=job.params
        )
        return self.crate.add_action(
            tool,
            f"#{job.name}",
            object=[*map(self.entities.data, job.inputs), params],
            result=list(map(self.entities.data, job.outputs)),
            properties={
                "name": job.name,
                "description": f"a job of rule {job.rule}",
                "resourceUsage": [
                    self.entities.add(
                        f"#{job.name}/{column}",
                        "PropertyValue",
                        name=column,
                        propertyID=f"{BENCHMARK}#{column}",
                        unitCode=unit,
                        value=value,
                    )
                    for column, unit, value in job.usage()
                ],
                **_times(job.start, job.end),
            },
        )

    def _steps(self, workflow: Entity, actions: Mapping[str, Entity], whole: Entity) -> None:
        """Add the plan, with a step for each rule, and its execution by Snakemake."""
        tools = {job.rule: actions[job.name]["instrument"] for job in self.jobs}
        steps = {
            rule: self.entities.add(
                f"#step/{rule}", "HowToStep", name=rule, workExample=tool, position=str(number)
            )
            for number, (rule, tool) in enumerate(tools.items())
        }
        workflow["hasPart"], workflow["step"] = list(tools.values()), list(steps.values())
        controls = [
            self.entities.add(
                f"#{job.name}/control",
                "ControlAction",
                name=f"control of {job.name}",
                instrument=steps[job.rule],
                object=actions[job.name],
            )
            for job in self.jobs
        ]
        self.entities.add(
            "#orchestration",
            "OrganizeAction",
            name="orchestration",
            instrument=self.entities.software("snakemake"),
            object=controls,
            result=whole,
        )


def requirements() -> list[str]:
    """Return the names of charlm and of the packages that it and its workflow require."""
    asked = map(Requirement, metadata.requires(DISTRIBUTION) or [])
    extras = {"extra": "workflow"}
    return [
        DISTRIBUTION,
        *(each.name for each in asked if not each.marker or each.marker.evaluate(extras)),
    ]


def _times(start: float, end: float) -> dict[str, str]:
    """Return a start and an end, in seconds since the epoch, in the format of the profiles."""
    return {
        key: datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
        for key, seconds in (("startTime", start), ("endTime", end))
    }
