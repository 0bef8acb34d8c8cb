"""`python -m benchmarks gpu` as far as it can be tested without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from benchmarks import gpu
from benchmarks.gpu import stand_ins
from benchmarks.gpu.steps import PRESETS
from benchmarks.training import read_presets, read_settings, trainer
from safetensors.torch import load_file, save

from tests.conftest import ROOT

MISSING = (
    "safetensors numba llvmlite regex yaml pydantic snakemake click tqdm tensorboardX hypothesis"
)


def test_the_presets_are_those_of_the_configurations() -> None:
    for name, (architecture, training) in read_presets(PRESETS).items():
        preset, model = name.split()
        config = yaml.safe_load((ROOT / f"config/presets/{preset}.yaml").read_text("utf-8"))
        for key, value in {**config["training"], **config["models"][model]}.items():
            if key in vars(training):
                assert getattr(training, key) == value, (name, key)
            elif key in json.loads(PRESETS.read_text("utf-8"))[name]["models"][model]:
                assert getattr(architecture, key) == value, (name, key)


def test_every_preset_and_the_default_settings_can_be_timed() -> None:
    for architecture, training in (*read_presets(PRESETS).values(), read_settings(None, None)):
        assert not trainer(torch.device("cpu"), architecture, training).is_finished


def test_the_stand_in_reads_and_writes_safetensors(tmp_path: Path) -> None:
    tensors = {
        "b": torch.randn(2, 3),
        "a": torch.tensor(5),
        "c": torch.zeros(0, 4, dtype=torch.bfloat16),
        "d": torch.tensor([True, False, True]),
    }
    for number, content in enumerate(
        (save(tensors, {"key": "value"}), stand_ins.save(tensors, {"key": "value"}))
    ):
        path = tmp_path / str(number)
        path.write_bytes(content)
        with stand_ins.safe_open(path, "pt") as file:
            assert file.metadata() == {"key": "value"}
        for load in (load_file, stand_ins.load_file):
            found = load(path)
            assert found.keys() == tensors.keys()
            assert all(torch.equal(found[name], tensors[name]) for name in tensors)
            assert all(found[name].dtype == tensors[name].dtype for name in tensors)


@pytest.mark.parametrize("module", ["bits", "steps", "layers"])
def test_few_packages_are_needed(tmp_path: Path, module: str) -> None:
    script = f"""
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys("{MISSING}".split()))
import benchmarks.gpu.{module} as part
if "{module}" == "bits":
    part.HIDDEN_SIZE, part.STEPS = 8, 50
    part.write_corpus(Path({str(tmp_path)!r}))
    part.train(Path({str(tmp_path)!r}), "m", "torch", "cpu")
"""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m/model.safetensors").exists() == (module == "bits")


def test_a_part_that_takes_too_long_is_stopped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.Popen

    def sleep(command: list[str], **options: object) -> object:
        script = "import time; print('| row |', flush=True); time.sleep(60)"
        return run([sys.executable, "-c", script], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", sleep)
    text = gpu.section("steps", gpu.Part("Steps", 2), gpu.in_process)
    assert text.startswith("## Steps\n\n| row |\n\n**Left out: what did not fit into the time")


def test_a_part_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    printed, failure = gpu.in_process("no such part", 60)
    assert printed == ""
    assert failure.startswith("**Failed with status 2.**")


def test_all_parts_fit_into_eight_minutes() -> None:
    assert sum(part.seconds for part in gpu.PARTS.values()) < 8 * 60
