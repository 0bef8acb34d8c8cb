"""The model card: a header that is YAML, and the scores that the files hold."""

from pathlib import Path

import yaml

from charlm.report.card import write_card


def test_the_card_tells_the_models_scores(results: Path) -> None:
    folder = results / "models" / "gru"
    card = folder / "README.md"
    write_card(folder, folder / "metrics.json", results / "baselines.json", card, corpus="tiny")
    _, header, text = card.read_text(encoding="utf-8").split("---\n", 2)
    metadata = yaml.safe_load(header)
    assert metadata["pipeline_tag"] == "text-generation"
    (index,) = metadata["model-index"]
    assert index["name"] == "gru"
    assert [result["dataset"]["split"] for result in index["results"]] == ["validation", "test"]
    assert index["results"][1]["metrics"][0]["value"] == 2.2
    assert "| gru | 2.200 (2.150 to 2.250) | 2.200 (2.150 to 2.250) |" in text
    assert "| 5-gram | 2.000 (1.950 to 2.050) |" in text
    assert "1 × GRU, 6 hidden units, 1,234 parameters" in text


def test_a_split_without_text_has_no_score(results: Path) -> None:
    folder = results / "models" / "gru"
    metrics = folder / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"validation": {', '"validation": null, "x": {'))
    write_card(folder, metrics, results / "baselines.json", folder / "README.md", corpus="tiny")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| gru | – | 2.200 (2.150 to 2.250) |" in card
    assert card.count("split:") == 1
