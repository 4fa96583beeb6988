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
# For the processes that are started from here: freed memory goes back instead of being kept for a next batch.
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(128 * 2**20))
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * 2**20))
os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # what a server's threads have freed is for each other
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

# Tests of these files start captioners beside their own process, of 1.5 to 3 GiB each, or hold the shipped network.
CAPTIONERS = {
    f"tests/{name}.py"
    for name in (
        "benchmarks/test_smoke", "benchmarks/test_soak", "commands/test_caption_command", "commands/test_page_network",
        "commands/test_repeat", "commands/test_reviewed_and_worker", "commands/test_serve", "concepts/test_familiarity",
        "concepts/test_header_answers", "ecosystem/test_load", "integrations/label/test_label_access",
        "integrations/label/test_label_learning", "integrations/label/test_label_server",
        "integrations/label/test_label_start", "integrations/label/test_label_stock_app",
        "integrations/label/test_label_store", "integrations/slicer_module/test_slicer_backends",
        "integrations/slicer_module/test_slicer_captioners", "integrations/slicer_module/test_slicer_panel",
        "integrations/test_dicom_store", "networks/test_stated_captions", "test_bundle", "test_faces", "test_inference",
        "test_plain_config", "weights/test_bundle_folder",
    )
}  # fmt: skip
assert all((ROOT / file).is_file() for file in CAPTIONERS)
SHARED_DATA = Path(os.environ.get("MSMEDCAP_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadfile`` as it is, but for the files with captioners: one of them at a time."""
    from xdist.scheduler import LoadFileScheduling

    class OneCaptioner(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "captioners" if file in CAPTIONERS else file

    return OneCaptioner(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need real data are skipped before anything is loaded for them."""
    absent = _no_shared_data()
    for item in items:
        if absent and "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=absent))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """What a file's tests freed goes back: the C library keeps it, and fixtures stay to the end of their last test."""
    done = yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)
    return done


def pytest_collection_finish() -> None:
    """What the imports made lives as long as the process: a million objects that no collection need look at again."""
    gc.collect()
    gc.freeze()


def _no_shared_data() -> str:
    """Why there are no real images here, or nothing."""
    if (SHARED_DATA / "medcap-open" / "datalist.json").is_file():
        return ""
    return f"real test images are not on this machine (looked in {SHARED_DATA}; set MSMEDCAP_TEST_DATA)"


@pytest.fixture(autouse=True)
def _seed() -> None:
    import torch  # here, so that the process that hands out tests goes without

    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _meteor_where_it_is_meant(request: pytest.FixtureRequest) -> Iterator[None]:
    """METEOR's Java program takes seven seconds at each start: runs that end in scores go without, as without Java.

    Modules that are marked ``meteor`` have it, and calls of `scripts.metrics.meteor` itself.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("meteor") is None:
            patch.setattr("scripts.metrics.scores.why_no_meteor", lambda: "METEOR is not run in tests of other things")
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images (medcap-open, formats); tests that need it skip where it is absent."""
    if absent := _no_shared_data():
        pytest.skip(absent)
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
