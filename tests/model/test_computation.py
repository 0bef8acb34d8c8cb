"""The engine and the precision of a trained model."""

from collections.abc import Callable

import pytest
import torch

from charlm.model.computation import Computation, TrainingDescription, how_to_compute

ON_GPU: TrainingDescription = {
    "steps": 1, "device": "cuda", "engine": "fused", "precision": "bfloat16",
}  # fmt: skip
ON_CPU: TrainingDescription = {**ON_GPU, "device": "cpu"}
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def card(*, bfloat16: bool) -> Callable[..., bool]:
    return lambda including_emulation: bfloat16


@pytest.mark.parametrize(
    ("training", "device", "bfloat16", "expected", "line"),
    [
        (ON_GPU, CUDA, True, ("fused", "bfloat16"), None),
        (ON_GPU, CUDA, False, ("auto", "float32"), "bfloat16, which this GPU lacks"),
        (ON_CPU, CUDA, True, ("auto", "float32"), "trained on another device"),
        (ON_GPU, CPU, False, ("auto", "float32"), None),
        (ON_CPU, CPU, False, ("auto", "float32"), None),
    ],
)
def test_a_gpu_computes_as_it_trained_or_says_why_not(
    training: TrainingDescription,
    device: torch.device,
    bfloat16: bool,
    expected: Computation,
    line: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", card(bfloat16=bfloat16))
    with caplog.at_level("INFO"):
        assert how_to_compute(training, device) == expected
    assert [line is not None and line in each.message for each in caplog.records] == [True] * bool(
        line
    )
