"""The arguments of a training survive the way to its other processes."""

from pathlib import Path

import pytest

from charlm.errors import CharlmError
from charlm.settings import Architecture, TrainingSettings
from charlm.training.job import TrainingJob

JOB = TrainingJob(
    vocabulary=Path("a/vocabulary.json"),
    tokens=Path("a/tokens"),
    folder=Path("a/models/m"),
    checkpoints=Path("a/checkpoints/m"),
    architecture=Architecture(cell="gru", hidden_size="vocabulary"),
    training=TrainingSettings(minutes=0.5, teacher="b", init_from="c"),
    dependency_folders={"teacher": "module/b"},
)


def test_arguments_are_read_as_they_were_written(tmp_path: Path) -> None:
    JOB.write(tmp_path / "arguments.json")
    assert TrainingJob.read(tmp_path / "arguments.json") == JOB


def test_arguments_of_another_version_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "arguments.json"
    JOB.write(file)
    text = file.read_text()
    for old, new, message in (
        ("tokens", "symbols", r"arguments\.json: 'tokens' is missing; install the same charlm"),
        ("minutes", "hours", r"arguments\.json: training: unknown key 'hours'"),
    ):
        file.write_text(text.replace(f'"{old}"', f'"{new}"'))
        with pytest.raises(CharlmError, match=message):
            TrainingJob.read(file)


def test_dependencies_may_be_elsewhere_than_the_settings_say() -> None:
    located = JOB.located_settings()
    assert (located.init_from, located.teacher) == ("c", "module/b")
    assert located.minutes == 0.5
