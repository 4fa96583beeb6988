"""The faster float32 path is taken only where it is exact, and leaves the user's setting as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from scripts.kernels import matmul


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    matmul.onednn_is_exact.cache_clear()
    yield
    torch.set_float32_matmul_precision(before)
    matmul.onednn_is_exact.cache_clear()


def test_products_inside_are_exact_on_this_machine() -> None:
    left, right = torch.rand(300, 500), torch.rand(500, 200)
    exact = left.double() @ right.double()
    with matmul.exact_fast_matmul():
        found = left @ right
    assert (found.double() - exact).norm() / exact.norm() < 1e-6


def test_switches_on_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "onednn_is_exact", lambda: True)
    with pytest.raises(KeyError), matmul.exact_fast_matmul():
        assert torch.get_float32_matmul_precision() == "medium"
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"


def test_never_where_it_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "onednn_is_exact", lambda: False)
    with matmul.exact_fast_matmul():
        assert torch.get_float32_matmul_precision() == "highest"


def test_a_users_setting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "onednn_is_exact", lambda: True)
    torch.set_float32_matmul_precision("high")
    with matmul.exact_fast_matmul():
        assert torch.get_float32_matmul_precision() == "high"


def test_other_processors_keep_their_library(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "cpuinfo").write_text("vendor_id : GenuineIntel\n")
    monkeypatch.setattr(matmul, "_CPUINFO", tmp_path / "cpuinfo")
    assert not matmul.onednn_is_exact()
    matmul.onednn_is_exact.cache_clear()
    monkeypatch.setattr(matmul, "_CPUINFO", tmp_path / "absent")
    assert not matmul.onednn_is_exact()


def test_the_probe_leaves_no_trace() -> None:
    torch.set_float32_matmul_precision("high")
    assert matmul.onednn_is_exact() in (True, False)
    assert torch.get_float32_matmul_precision() == "high"
