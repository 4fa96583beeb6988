"""Shared fixtures: the bundle on the import path, offline by default, and real data where it is present."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests fork: a child of a process with OpenMP threads can hang
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
# Made files, tiny networks and the like stand beside the tests that they serve, and tests of other rooms use them, too.
sys.path[:0] = [
    str(BUNDLE),
    str(ROOT),
    str(ROOT / "benchmarks"),
    *sorted({str(file.parent) for file in Path(__file__).parent.rglob("*.py")}),
]

import pytest  # noqa: E402
import torch  # noqa: E402

SHARED_DATA = Path(os.environ.get("MSMEDCAP_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _memory_goes_back() -> Iterator[None]:
    """Training runs let the C library keep freed memory; what a module's tests freed goes back here."""
    yield
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images (medcap-open, formats); tests that need it skip where it is absent."""
    if not (SHARED_DATA / "medcap-open" / "datalist.json").is_file():
        pytest.skip(f"real test images are not on this machine (looked in {SHARED_DATA}; set MSMEDCAP_TEST_DATA)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def bundle_root() -> Path:
    return BUNDLE


@pytest.fixture(scope="module")
def starter() -> Callable[..., Any]:
    """``starter(config=..., num_beams=1, ...)``: predictors of the bundle on one copy of the shipped network.

    It captions anything, however unsure: images that tests make are not medical. It takes a gigabyte, and goes when
    the module's tests are done.
    """
    loaded: list[Any] = []

    def predictor(**values: Any) -> Any:
        from scripts.generation import GenerationOptions
        from scripts.predictor import CaptionPredictor

        if not loaded:
            loaded.append(CaptionPredictor.from_bundle(BUNDLE, device="cpu", anything=True).network)
        network = copy.copy(loaded[0])  # the same weights, options of its own
        options = {name: value for name, value in values.items() if name in GenerationOptions.__dataclass_fields__}
        network.options = replace(network.options, **options)
        return CaptionPredictor.from_bundle(
            BUNDLE, **{"device": "cpu", "network": network, "abstain_below": 0.0, **values}
        )

    return predictor
