"""ClipEncoder and EvaEncoder against ``transformers``' own classes, with random weights of small sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    Blip2VisionModel,
    CLIPConfig,
    CLIPModel,
    CLIPVisionModel,
    OPTConfig,
)

from scripts.encoders.class_token import CLIP_MEAN, CLIP_STD
from scripts.encoders.clip import ClipEncoder
from scripts.encoders.eva import EvaEncoder
from scripts.errors import InputError, WeightsError

CLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
EVA = CLIP | {"initializer_range": 0.02}
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}


def normalised(image: torch.Tensor) -> torch.Tensor:
    return (image - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """A whole CLIP (image and text) as its repositories hold it."""
    config = CLIPConfig(text_config=TEXT, vision_config=CLIP, projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def blip2_folder(tmp_path: Path) -> Path:
    """A whole BLIP-2 as its repositories hold it."""
    language = OPTConfig(hidden_size=16, ffn_dim=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=60)
    qformer = Blip2QFormerConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, encoder_hidden_size=32
    )
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**EVA).to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=language.to_dict(),
    )
    model = Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.vision_model.post_layernorm.weight, 1.0, 0.3)
    model.save_pretrained(tmp_path / "blip2")
    return tmp_path / "blip2"


def test_clip_equals_transformers(clip_folder: Path) -> None:
    encoder = ClipEncoder(weights=clip_folder)
    reference = CLIPVisionModel.from_pretrained(clip_folder).eval()
    image = torch.rand(2, 3, 56, 56)
    with torch.no_grad():
        expected = reference(normalised(image)).last_hidden_state
        tokens = encoder(image)
    assert tokens.shape == (2, encoder.token_count, encoder.width) == (2, 17, 32)
    assert (encoder.grid, encoder.leading_tokens) == ((4, 4), 1)
    assert tokens.std() > 0.1
    assert torch.equal(tokens, expected)


def test_eva_equals_transformers_before_the_trained_norm(blip2_folder: Path) -> None:
    encoder = EvaEncoder(weights=blip2_folder)
    reference = Blip2ForConditionalGeneration.from_pretrained(blip2_folder).eval().vision_model
    image = torch.rand(2, 3, 56, 56)
    with torch.no_grad():
        expected = reference(normalised(image)).last_hidden_state
        tokens = encoder(image)
        torch.testing.assert_close(reference.post_layernorm(tokens), expected, atol=1e-5, rtol=1e-5)
    assert tokens.shape == (2, 17, 32)
    assert not any("post_layernorm" in name for name in encoder.state_dict())


@pytest.mark.parametrize("encoder_class", [ClipEncoder, EvaEncoder])
def test_larger_input_interpolates_positions(encoder_class: type) -> None:
    encoder = encoder_class(config=CLIP, input_size=84)
    image = torch.rand(1, 3, 84, 84)
    with torch.no_grad():
        expected = encoder.network(normalised(image), interpolate_pos_encoding=True).last_hidden_state
        tokens = encoder(image)
    assert tokens.shape == (1, encoder.token_count, encoder.width) == (1, 37, 32)
    assert encoder.grid == (6, 6)
    torch.testing.assert_close(tokens, expected, atol=1e-6, rtol=1e-6)
    with pytest.raises(InputError, match="multiple of its patch, 14"):
        encoder_class(config=CLIP, input_size=80)


@pytest.mark.parametrize("encoder_class", [ClipEncoder, EvaEncoder])
def test_random_weights_differ_by_patch_and_tuning_reaches_the_last_blocks(encoder_class: type) -> None:
    encoder = encoder_class(config=CLIP, trainable_blocks=1).train()
    tokens = encoder(torch.rand(1, 3, 56, 56))
    assert tokens[0, 1:].std(dim=0).mean() > 0.01
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(".layers.2." in name for name in trained)
    tokens.square().sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in encoder.parameters())


def test_published_sizes_are_the_defaults() -> None:
    """ViT-g as in the paper, on the meta device: 39 blocks of 1,408, 985 M parameters without the trained norm."""
    with torch.device("meta"):
        network = Blip2VisionModel(Blip2VisionConfig())
    assert (network.config.hidden_size, network.config.num_hidden_layers) == (1408, 39)
    count = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in network.post_layernorm.parameters())
    assert abs(count / 1e6 - 986) < 1


def test_wrong_models_are_refused(tmp_path: Path, clip_folder: Path) -> None:
    with pytest.raises(WeightsError, match="folder of a downloaded model"):
        ClipEncoder(weights=tmp_path / "absent")
    with pytest.raises(InputError, match="not both"):
        ClipEncoder(weights=clip_folder, config=CLIP)
    with pytest.raises(InputError, match="does not describe"):
        ClipEncoder(config=CLIP | {"num_attention_heads": 5})


def test_a_checkpoint_that_lacks_weights_is_refused(clip_folder: Path) -> None:
    """``transformers`` alone would fill the fourth block with random numbers."""
    config = CLIPConfig.from_pretrained(clip_folder)
    config.vision_config.num_hidden_layers = 4
    config.save_pretrained(clip_folder)
    with pytest.raises(WeightsError, match=r"lacks 16 weights of CLIPVisionModel, 'vision_model\.encoder\.layers\.3"):
        ClipEncoder(weights=clip_folder)


def test_another_kind_of_model_is_refused(clip_folder: Path) -> None:
    """CLIP's weights under BLIP-2's configuration: what a mixed-up download looks like."""
    Blip2VisionConfig(**EVA).save_pretrained(clip_folder)
    with pytest.raises(WeightsError, match="Blip2VisionModel"):
        EvaEncoder(weights=clip_folder)
