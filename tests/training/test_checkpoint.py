"""Checkpoints of other trainings in the same folder, and settings that change nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.test_trainer import outputs, run, settings, stop_after, write_corpus

OTHER = settings(learning_rate=0.02)


def steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints of the training `m`, in order."""
    return sorted(int(path.name[5:14]) for path in (folder / "checkpoints/m").glob("step-*"))


def test_an_interrupted_training_goes_on_below_the_steps_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", OTHER)
    stop_after(tmp_path, "m", settings(steps=40), steps=37)
    assert steps(tmp_path) == [35, 37]
    stop_after(tmp_path, "m", OTHER, steps=3, error=MemoryError)
    assert steps(tmp_path) == [35, 37], "kept while the new training has none of its own"
    stop_after(tmp_path, "m", OTHER, steps=7)
    assert steps(tmp_path) == [5, 7]
    assert outputs(run(tmp_path, "m", OTHER)) == outputs(whole)
    assert "resumed from step 7" in caplog.text


def test_a_training_that_is_taken_up_again_finds_its_checkpoints_below_those_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(steps=40), steps=37)
    elsewhere = [
        path.rename(tmp_path / path.name) for path in (tmp_path / "checkpoints/m").iterdir()
    ]
    stop_after(tmp_path, "m", OTHER, steps=7)
    for path in elsewhere:
        path.rename(tmp_path / "checkpoints/m" / path.name)
    run(tmp_path, "m", OTHER)
    assert "of a training with other steps, learning_rate; not used" in caplog.text
    assert "resumed from step 7" in caplog.text


def test_a_damaged_checkpoint_does_not_count_among_those_kept(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(), steps=7)
    newest = max((tmp_path / "checkpoints/m").glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    stop_after(tmp_path, "m", settings(), steps=6)
    assert steps(tmp_path) == [5, 6]


def test_how_often_checkpoints_are_made_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", settings(checkpoint_every=5))
    stop_after(tmp_path, "m", settings(checkpoint_every=5), steps=7)
    assert outputs(run(tmp_path, "m", settings(checkpoint_every=3))) == outputs(whole)
    assert "resumed from step 7" in caplog.text
    assert "checkpoint_every" not in json.loads((whole / "model.json").read_text())["training"]


@pytest.mark.parametrize(
    ("before", "after", "resumed"),
    [
        (None, 2, True),  # null stands for a tenth of the twelve steps, rounded up
        (20, 12, True),  # the last step is validated in any case
        (12, 9, True),  # no row is there yet
        (9, 7, True),  # nor does the next training have one before this step
        (3, 4, False),
        (12, 6, False),
        (3, 12, False),
    ],
)
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"keep": "best", "patience": 2},
        {"optimizer": "ntasgd", "learning_rate": 9.0},
    ],
    ids=["last", "best", "ntasgd"],
)
def test_a_checkpoint_is_used_as_long_as_the_curve_is_what_it_would_have_been(
    tmp_path: Path,
    how: dict[str, Any],
    before: int | None,
    after: int,
    resumed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    wanted = outputs(run(tmp_path, "whole", settings(validate_every=after, **how)))
    stop_after(tmp_path, "m", settings(validate_every=before, **how), steps=7)
    assert outputs(run(tmp_path, "m", settings(validate_every=after, **how))) == wanted
    assert ("resumed from step 7" in caplog.text) == resumed
    assert ("of a training with other validate_every; not used" in caplog.text) != resumed


@pytest.mark.parametrize(("one", "same"), [(None, 2), (12, 20)])
def test_validations_that_come_to_the_same_steps_make_the_same_files(
    tmp_path: Path, one: int | None, same: int
) -> None:
    write_corpus(tmp_path)
    made = [run(tmp_path, str(every), settings(validate_every=every)) for every in (one, same)]
    assert outputs(made[0]) == outputs(made[1])


@pytest.mark.parametrize("key", ["init_from", "teacher"])
def test_a_checkpoint_of_other_weights_to_start_or_learn_from_is_not_used(
    tmp_path: Path, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    for name in ("init_from", "teacher"):
        run(tmp_path, name, settings(steps=2))
    others = {name: str(tmp_path / name) for name in ("init_from", "teacher")}
    stop_after(tmp_path, "m", settings(**others), steps=7)
    run(tmp_path, key, settings(steps=2, seed=1))
    run(tmp_path, "m", settings(**others))
    assert f"of a training with other weights of {key}; not used" in caplog.text
    assert "resumed" not in caplog.text


def test_a_checkpoint_of_another_pytorch_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(), steps=7)
    monkeypatch.setattr(torch, "__version__", "99.0.0")
    run(tmp_path, "m", settings())
    assert "of a training with other PyTorch; not used" in caplog.text


def test_a_checkpoint_of_another_precision_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`precision: auto` is another precision on another processor."""
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(precision="auto"), steps=7)
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: not fast)
    run(tmp_path, "m", settings(precision="auto"))
    assert "of a training with other precision; not used" in caplog.text


@pytest.mark.parametrize("metadata", [None, {"made": "by something else"}])
def test_a_foreign_file_among_the_checkpoints_is_passed_over(
    tmp_path: Path, metadata: dict[str, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    import hashlib

    from safetensors.torch import save

    write_corpus(tmp_path)
    data = save({"weight": torch.zeros(2)}, metadata)
    digest = hashlib.sha256(data).hexdigest()[:16]
    file = tmp_path / f"checkpoints/m/step-000000009.{digest}.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    run(tmp_path, "m", settings())
    assert f"{file}: cannot be read" in caplog.text
