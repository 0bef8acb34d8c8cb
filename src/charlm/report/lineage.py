"""Which rule makes which file from which others, and the graph of the rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from charlm.report.usage import Usage


@dataclass(frozen=True)
class Stage:
    """A rule of the workflow, as a node of the graph.

    Files are named from the folder of the results. `models/{model}/` stands for each model.
    """

    rule: str
    name: str
    """The name of its benchmarks."""
    column: int
    row: int
    inputs: Sequence[str]
    outputs: Sequence[str]


MODEL = "models/{model}"
STAGES = (
    Stage("ingest", "ingest", 1, 0, ["the source"], ["documents.parquet", "rejected.parquet"]),
    Stage(
        *("clean", "clean", 1, 1),
        inputs=["documents.parquet"],
        outputs=["corpus.parquet", "cleaning.tsv", "cleaning_examples.json"],
    ),
    Stage("vocabulary", "vocabulary", 1, 2, ["corpus.parquet"], ["vocabulary.json"]),
    Stage("encode", "encode", 1, 3, ["corpus.parquet", "vocabulary.json"], ["tokens"]),
    Stage(
        *("baseline", "baseline", 0, 4),
        inputs=["vocabulary.json", "tokens"],
        outputs=["baselines.json", "baseline_scores.parquet"],
    ),
    Stage(
        *("train_model", "train", 1, 4),
        inputs=["vocabulary.json", "tokens"],
        outputs=[
            *(f"{MODEL}/network/{name}" for name in ("model.safetensors", "model.json")),
            *(f"{MODEL}/network/{name}" for name in ("history.csv", "timing.json")),
            f"{MODEL}/network/learning_samples.json",
        ],
    ),
    Stage(
        *("mix_model", "mix", 1, 5),
        inputs=[
            "tokens",
            *(f"{MODEL}/network/{name}" for name in ("model.safetensors", "model.json")),
            *(f"{MODEL}/network/{name}" for name in ("history.csv", "timing.json")),
        ],
        outputs=[
            *(f"{MODEL}/{name}" for name in ("model.safetensors", "model.json")),
            *(f"{MODEL}/{name}" for name in ("history.csv", "timing.json")),
        ],
    ),
    Stage(
        *("evaluate_model", "evaluate", 1, 6),
        inputs=["tokens", f"{MODEL}/model.safetensors", f"{MODEL}/model.json"],
        outputs=[
            f"{MODEL}/{name}"
            for name in ("metrics.json", "document_scores.parquet", "diagnostics.json")
        ],
    ),
    Stage(
        *("sample_model", "sample", 2, 6),
        inputs=[f"{MODEL}/model.safetensors", f"{MODEL}/model.json"],
        outputs=[f"{MODEL}/samples.jsonl"],
    ),
    Stage(
        *("compare", "compare", 0, 7),
        inputs=["baseline_scores.parquet", f"{MODEL}/document_scores.parquet"],
        outputs=["comparison.json"],
    ),
    Stage(
        *("memorization", "memorization", 2, 7),
        inputs=["corpus.parquet", f"{MODEL}/samples.jsonl"],
        outputs=["memorization.json"],
    ),
    Stage(
        *("report", "report", 1, 8),
        inputs=[
            *("comparison.json", "memorization.json", f"{MODEL}/diagnostics.json"),
            "all files above",
        ],
        outputs=["report.html", "report_without_playground.html"],
    ),
)
"""The rules of a run, each after those that it needs; a test compares them with the workflow."""

COLUMN, ROW, WIDTH, HEIGHT = 118, 62, 106, 40
"""Distances between nodes of the graph and the size of a node, in units of the picture."""


@dataclass(frozen=True)
class Node:
    """A rule in the picture of the graph."""

    name: str
    note: str
    """Its time and memory, if they are known."""
    left: int
    top: int

    @property
    def middle(self) -> int:
        """The horizontal middle."""
        return self.left + WIDTH // 2

    @property
    def bottom(self) -> int:
        """The lower edge."""
        return self.top + HEIGHT


@dataclass(frozen=True)
class Graph:
    """The graph of the rules, from top to bottom."""

    nodes: Sequence[Node]
    edges: Sequence[tuple[Node, Node]]
    node_size: tuple[int, int] = (WIDTH, HEIGHT)
    size: tuple[int, int] = (2 * COLUMN + WIDTH, 8 * ROW + HEIGHT)


def draw_graph(usage: Usage) -> Graph:
    """Return the graph of the rules with the time and the memory of each.

    An arrow that others imply is left out: `clean` leads to `encode`, through `vocabulary`.
    """
    nodes = {
        stage.rule: Node(
            stage.rule, _note(usage, stage.name), stage.column * COLUMN, stage.row * ROW
        )
        for stage in STAGES
    }
    makers = {file: stage.rule for stage in STAGES for file in stage.outputs}
    before: dict[str, set[str]] = {}
    edges = []
    for stage in STAGES:
        needed = {makers[file] for file in stage.inputs if file in makers}
        implied = set[str]().union(*(before[rule] for rule in needed))
        before[stage.rule] = needed | implied
        edges += [(nodes[rule], nodes[stage.rule]) for rule in sorted(needed - implied)]
    return Graph(list(nodes.values()), edges)


def _note(usage: Usage, name: str) -> str:
    """Return the seconds of all jobs of a rule and the most memory of one."""
    jobs = [job for job in usage.jobs if job.name.split(" ")[0] == name]
    if not jobs:
        return ""
    total = sum(job.seconds for job in jobs)
    seconds = f"{total:.1f} s" if total < 100 else f"{total:,.0f} s"
    memory = max((job.megabytes for job in jobs if job.megabytes is not None), default=None)
    return seconds if memory is None else f"{seconds}, {memory:.0f} MB"
