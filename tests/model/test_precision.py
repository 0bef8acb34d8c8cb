"""The precision that `auto` stands for."""

from pathlib import Path

import pytest
import torch

from charlm.model.devices import choose_precision, has_fast_bfloat16


@pytest.mark.parametrize("avx512", [True, False])
@pytest.mark.parametrize("amx", [True, False])
def test_auto_on_a_cpu_is_bfloat16_where_its_vector_instructions_are_fast(
    avx512: bool, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    expected = "bfloat16" if avx512 and not amx else "float32"
    assert choose_precision("auto", torch.device("cpu")) == expected
    assert has_fast_bfloat16(torch.device("cpu")) == (avx512 or amx)


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads the processor's flags there")
def test_auto_on_this_cpu_is_what_its_flags_say() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    expected = "bfloat16" if "avx512_bf16" in flags and "amx_tile" not in flags else "float32"
    assert choose_precision("auto", torch.device("cpu")) == expected


@pytest.mark.parametrize("supported", [True, False])
def test_auto_on_a_gpu_is_bfloat16_where_it_computes_in_it(
    supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_supported(including_emulation: bool = True) -> bool:
        return supported or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    expected = "bfloat16" if supported else "float32"
    assert choose_precision("auto", torch.device("cuda")) == expected


def test_auto_elsewhere_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert choose_precision("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_precision_that_is_named_is_taken(name: str, device: str) -> None:
    assert choose_precision(name, torch.device(device)) == name  # type: ignore[arg-type]
