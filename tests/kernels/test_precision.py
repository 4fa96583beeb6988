"""Which precision a name means on which device, and that no CPU is made to emulate bfloat16 unasked."""

from __future__ import annotations

import pytest
import torch

from scripts.errors import InputError
from scripts.kernels import precision
from scripts.kernels.precision import autocast, autocast_dtype, multiplies_bfloat16, resolved
from scripts.training import AutocastInferer

CPU_CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.mark.parametrize(("units", "expected"), [((), "float32"), *(((check,), "bfloat16") for check in CPU_CHECKS)])
def test_auto_on_a_cpu_follows_its_units(
    monkeypatch: pytest.MonkeyPatch, units: tuple[str, ...], expected: str
) -> None:
    for check in CPU_CHECKS:
        monkeypatch.setattr(torch.cpu, check, lambda check=check: check in units, raising=False)
    assert resolved("auto", "cpu") == expected
    found = AutocastInferer("auto")(torch.zeros(1, 2), torch.nn.Linear(2, 2))
    assert found.dtype == getattr(torch, expected)


def test_a_torch_without_these_checks_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for check in CPU_CHECKS:
        monkeypatch.delattr(torch.cpu, check, raising=False)
    assert not multiplies_bfloat16("cpu")


@pytest.mark.parametrize("supported", [True, False])
def test_auto_on_a_gpu_does_not_count_emulation(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported or including_emulation)
    assert autocast_dtype("auto", torch.device("cuda", 0)) == (torch.bfloat16 if supported else None)
    assert not multiplies_bfloat16("meta")


@pytest.mark.parametrize("name", ["float32", "", None])
def test_a_named_precision_is_taken_whatever_the_device(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    assert autocast_dtype(name, "cpu") is None
    assert autocast_dtype("bfloat16", "cpu") == torch.bfloat16
    assert resolved("int8", "cpu") == "int8"
    with autocast("cpu", name):
        assert not torch.is_autocast_enabled("cpu")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="auto, bfloat16, float16 or float32, not half"):
        autocast("cpu", "half")
