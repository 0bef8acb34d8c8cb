"""Too little memory is announced before the training and explained after it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from charlm.errors import CharlmError
from charlm.training.memory import memory_errors
from tests.conftest import ROOT
from tests.training.small import TEXT, new_trainer, run, settings, write_corpus


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its size in /proc")
def test_too_little_memory_is_announced_and_explained(tmp_path: Path) -> None:
    write_corpus(tmp_path, TEXT * 300)
    program = f"""
import logging, resource, sys
from pathlib import Path
from tests.training.small import run, settings
from charlm.errors import CharlmError
logging.basicConfig(format="%(message)s")
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**31
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    huge = settings(hidden_size=2000, batch_size=1000, sequence_length=1000)
    run(Path({str(tmp_path)!r}), "m", huge)
except CharlmError as error:
    print("one line:", error, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
    )
    assert "of memory are free; lower training.batch_size" in done.stderr
    assert "one line: training: out of memory; it needs about" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="something else"), memory_errors(1e6):
        raise RuntimeError("something else")
    for error in (MemoryError(), torch.OutOfMemoryError(), RuntimeError("can't allocate memory")):
        with pytest.raises(CharlmError, match="about 1 MB"), memory_errors(1e6):
            raise error


def test_the_estimate_counts_the_copies_of_the_weights_and_what_a_step_keeps(
    tmp_path: Path,
) -> None:
    write_corpus(tmp_path)
    plain = new_trainer(tmp_path, settings(members=2))
    model = plain.state.model
    weights = sum(each.numel() for each in model.parameters())
    units, logits = 2 * 16, 2 * model.vocabulary_size
    assert plain.needed_memory == 4 * (4 * weights + 4 * 16 * (6 * units + 3 * logits))
    teacher = str(run(tmp_path, "teacher", settings(members=2, steps=1)))
    more = settings(members=2, average=0.9, keep="best", teacher=teacher)
    assert new_trainer(tmp_path, more).needed_memory == plain.needed_memory + 4 * 3 * weights
