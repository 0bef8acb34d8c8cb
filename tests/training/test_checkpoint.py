"""Which checkpoints a training uses, keeps and deletes."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from charlm.model.devices import choose_precision
from tests.training.small import (
    TEXT,
    checkpoints,
    outputs,
    run,
    settings,
    steps_of,
    stop_after,
    write_corpus,
)

OTHER = settings(learning_rate=0.02)


def flipped(data: bytes) -> bytes:
    """Return `data` with one bit in its middle flipped."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def test_checkpoints_are_saved_at_the_interval_and_the_last_two_are_kept(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(steps=40, checkpoint_every=5), 18, error=MemoryError)
    assert steps_of(checkpoints(tmp_path)) == [10, 15]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"learning_rate": 0.01, "hidden_size": 17}, "hidden_size, learning_rate"),
        (
            {"text": TEXT.replace("cat", "tac")},
            "vocabulary.json, train.npy, train.documents.parquet, validation.npy, "
            "validation.documents.parquet",
        ),
        ({"code": "other"}, "code"),
    ],
)
def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path, changes: dict[str, str], names: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(), steps=7)
    write_corpus(tmp_path, changes.pop("text", TEXT))
    code = changes.pop("code", "")
    run(tmp_path, "m", settings(**changes), code)
    assert f"from a training with different {names}; not used" in caplog.text
    assert "resumed" not in caplog.text


@pytest.mark.parametrize("key", ["init_from", "teacher"])
def test_a_checkpoint_with_other_weights_to_start_or_learn_from_is_not_used(
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
    assert f"from a training with different weights of {key}; not used" in caplog.text
    assert "resumed" not in caplog.text


def test_a_checkpoint_of_another_pytorch_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(), steps=7)
    monkeypatch.setattr(torch, "__version__", "99.0.0")
    run(tmp_path, "m", settings())
    assert "from a training with different PyTorch; not used" in caplog.text


def test_a_checkpoint_of_another_precision_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another processor, `precision: auto` may be another precision."""
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(precision="auto"), steps=7)
    other = choose_precision("auto", torch.device("cpu")) == "float32"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: other)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    run(tmp_path, "m", settings(precision="auto"))
    assert "from a training with different precision; not used" in caplog.text


def test_a_training_resumes_below_the_steps_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", OTHER)
    stop_after(tmp_path, "m", settings(steps=40), steps=37)
    assert steps_of(checkpoints(tmp_path)) == [35, 37]
    stop_after(tmp_path, "m", OTHER, steps=3, error=MemoryError)
    kept = steps_of(checkpoints(tmp_path))
    assert kept == [35, 37], "kept while the new training has no checkpoints of its own"
    stop_after(tmp_path, "m", OTHER, steps=7)
    assert steps_of(checkpoints(tmp_path)) == [5, 7]
    assert outputs(run(tmp_path, "m", OTHER)) == outputs(whole)
    assert "resumed from step 7" in caplog.text


def test_a_training_finds_its_checkpoints_below_those_of_another(
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
    assert "from a training with different steps, learning_rate; not used" in caplog.text
    assert "resumed from step 7" in caplog.text


def test_the_interval_of_checkpoints_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", settings(checkpoint_every=5))
    stop_after(tmp_path, "m", settings(checkpoint_every=5), steps=7)
    assert outputs(run(tmp_path, "m", settings(checkpoint_every=3))) == outputs(whole)
    assert "resumed from step 7" in caplog.text


@pytest.mark.parametrize(
    ("before", "after", "resumed"),
    [
        (None, 2, True),  # None is a tenth of the twelve steps, rounded up
        (20, 12, True),  # the last step is always validated
        (12, 9, True),  # there is no row yet
        (9, 7, True),  # and the next training would not have one before this step
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
def test_a_checkpoint_is_used_if_it_has_the_validations_of_this_training(
    tmp_path: Path,
    how: dict[str, object],
    before: int | None,
    after: int,
    resumed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    expected = outputs(run(tmp_path, "whole", settings(validate_every=after, **how)))
    stop_after(tmp_path, "m", settings(validate_every=before, **how), steps=7)
    assert outputs(run(tmp_path, "m", settings(validate_every=after, **how))) == expected
    assert ("resumed from step 7" in caplog.text) == resumed
    message = "from a training with different validate_every; not used"
    assert (message in caplog.text) != resumed


@pytest.mark.parametrize("damage", ["truncated", "bit-flipped", "both damaged"])
def test_the_checkpoint_before_a_damaged_one_is_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", settings())
    stop_after(tmp_path, "m", settings(), steps=7)
    older, newer = checkpoints(tmp_path)
    assert steps_of([older, newer]) == [5, 7]
    data = newer.read_bytes()
    newer.write_bytes(data[:-100] if damage == "truncated" else flipped(data))
    if damage == "both damaged":
        older.write_bytes(flipped(older.read_bytes()))
    assert outputs(run(tmp_path, "m", settings())) == outputs(whole)
    assert f"{newer.name}: damaged; trying the one before it" in caplog.text
    assert ("resumed from step 5" in caplog.text) == (damage != "both damaged")


def test_the_checkpoint_before_an_unreadable_one_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(), steps=7)
    newer = checkpoints(tmp_path)[-1]
    newer.rename(tmp_path / "elsewhere")
    newer.symlink_to(newer)  # not even root can open it
    run(tmp_path, "m", settings())
    assert f"{newer}: cannot be read (" in caplog.text
    assert "resumed from step 5" in caplog.text


def test_a_damaged_checkpoint_does_not_count_among_those_kept(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    stop_after(tmp_path, "m", settings(), steps=7)
    newest = checkpoints(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    stop_after(tmp_path, "m", settings(), steps=6)
    assert steps_of(checkpoints(tmp_path)) == [5, 6]


@pytest.mark.parametrize("metadata", [None, {"made": "by something else"}])
def test_a_foreign_file_among_the_checkpoints_is_ignored(
    tmp_path: Path, metadata: dict[str, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    data = save({"weight": torch.zeros(2)}, metadata)
    digest = hashlib.sha256(data).hexdigest()[:16]
    file = tmp_path / f"checkpoints/m/step-000000009.{digest}.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    run(tmp_path, "m", settings())
    assert f"{file}: cannot be read" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_training_goes_on_if_the_disk_for_checkpoints_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(tmp_path)
    whole = run(tmp_path, "whole", settings())
    disk = tmp_path / "checkpoints/m"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=True)
    try:
        assert outputs(run(tmp_path, "m", settings())) == outputs(whole)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert "cannot be written (No space left on device); training goes on" in caplog.text
