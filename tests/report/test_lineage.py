"""The graph of the rules and the origin of each file are those of a real run."""

import re
from pathlib import Path

import pytest
from tests.conftest import Checkout

from charlm.pipeline.jobs import find_jobs
from charlm.report.html import Scale
from charlm.report.lineage import STAGES, draw_graph
from charlm.report.usage import RuleUsage, Usage

NOT_SHOWN = {"clean_shard", "match_vocabulary", "model_card"}
"""Rules whose files nobody looks at in the results, or that the report does not need."""


def test_the_stages_are_those_of_a_run(tiny_run: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_run.folder)
    results = Path("results/tiny")
    made: dict[str, tuple[set[str], set[str]]] = {}
    for job in find_jobs([str(results / "report.html")], results):
        inputs, outputs = (
            {
                re.sub("models/(lstm|gru)/", "models/{model}/", path.removeprefix(f"{results}/"))
                for path in paths
            }
            for paths in (job.inputs, job.outputs)
        )
        known = made.setdefault(job.rule, (set(), set()))
        known[0].update(inputs)
        known[1].update(outputs)
    assert set(made) - NOT_SHOWN == {stage.rule for stage in STAGES}
    for stage in STAGES:
        inputs, outputs = made[stage.rule]
        assert set(stage.outputs) == {path for path in outputs if "tokens/" not in path}
        named = set(stage.inputs) - {"the source", "all files above"}
        shards = {path for path in inputs if path.startswith(("shards/", "matches/"))}
        if stage.rule == "clean":
            assert named == {"documents.parquet"}, "the shards are made from it"
        elif stage.rule == "report":
            assert named <= inputs
        elif stage.rule != "ingest":
            assert named == inputs - shards, stage.rule


def test_the_graph_shows_what_each_rule_took_and_only_direct_arrows() -> None:
    jobs = [
        RuleUsage("train lstm", 0, 30.0, 512.4, 1.0),
        RuleUsage("train gru", 0, 12.25, 300.0, 1.0),
        RuleUsage("encode", 0, 1.0, None, None),
    ]
    graph = draw_graph(Usage(jobs, Scale(0, 30), "1 core (some)"))
    notes = {node.name: node.note for node in graph.nodes if node.note}
    assert notes == {"train_model": "42.2 s, 512 MB", "encode": "1.0 s"}
    edges = {(start.name, end.name) for start, end in graph.edges}
    assert ("vocabulary", "encode") in edges
    assert ("clean", "encode") not in edges, "through the vocabulary"
    assert len(edges) == 13
    assert all(start.bottom < end.top for start, end in graph.edges)
