"""EfficientNetEncoder against ``efficientnet_lite_pytorch`` with the published weights, and its tuning switch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scripts.encoders.efficientnet import EfficientNetEncoder
from scripts.errors import InputError

MILITARY_UNIFORM = 652  # the class of the photograph among ImageNet's 1,000


@pytest.fixture(scope="module")
def encoder(published_efficientnet: nn.Module) -> EfficientNetEncoder:
    """With the starter weights (the published network's fixture has fetched them or skipped)."""
    return EfficientNetEncoder()


def assert_equal_maps(encoder: EfficientNetEncoder, published: nn.Module, image: torch.Tensor) -> None:
    pixels = encoder.prepare(image)
    with torch.no_grad():
        expected, found = published.extract_features(pixels), encoder.features(pixels)
    assert found.shape == (len(image), 1280, 7, 7)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_equals_the_published_network(
    encoder: EfficientNetEncoder, published_efficientnet: nn.Module, photograph: torch.Tensor
) -> None:
    assert_equal_maps(encoder, published_efficientnet, photograph)


def test_equals_the_published_network_on_medical_images(
    encoder: EfficientNetEncoder, published_efficientnet: nn.Module, medical_images: torch.Tensor
) -> None:
    assert_equal_maps(encoder, published_efficientnet, medical_images)


def test_normalisation_is_the_training_one(
    encoder: EfficientNetEncoder, published_efficientnet: nn.Module, photograph: torch.Tensor
) -> None:
    """The photograph is recognised, and the stem's stored variances fit these pixels (ImageNet's mean/std do not)."""
    pixels = encoder.prepare(photograph)
    with torch.no_grad():
        logits = published_efficientnet(pixels)
        stem = F.conv2d(F.pad(pixels, (0, 1, 0, 1)), encoder.stem.conv.weight, stride=2)
    assert logits.argmax(-1).item() == MILITARY_UNIFORM
    stored = encoder.stem.norm.running_var
    alive = stored > 1e-4
    ratio = (stem.var((0, 2, 3))[alive] / stored[alive]).log().median().item()
    assert abs(ratio) < 0.7
    imagenet_ratio = ratio + 2 * torch.tensor((128 / 255) / 0.226).log().item()
    assert imagenet_ratio > 1.0


def test_tokens_are_positions_row_by_row(encoder: EfficientNetEncoder, photograph: torch.Tensor) -> None:
    with torch.no_grad():
        tokens, features = encoder(photograph), encoder.features(encoder.prepare(photograph))
    assert tokens.shape == (1, encoder.token_count, encoder.width) == (1, 49, 1280)
    assert encoder.grid == (7, 7)
    # Two passes, float32 products in two libraries: 1e-5 apart on values up to 6; another position would differ by 1.
    torch.testing.assert_close(tokens[0, 2 * 7 + 5], features[0, :, 2, 5], atol=1e-4, rtol=1e-4)


def test_other_input_size(photograph: torch.Tensor) -> None:
    encoder = EfficientNetEncoder(weights=None, input_size=288)
    assert encoder(photograph).shape == (1, 81, 1280)
    with pytest.raises(InputError, match="multiple of 32"):
        EfficientNetEncoder(weights=None, input_size=225)


def test_last_blocks_are_tuned_with_their_batch_statistics_kept(photograph: torch.Tensor) -> None:
    encoder = EfficientNetEncoder(weights=None, trainable_blocks=2).train()
    trained = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in encoder.named_parameters() if p.requires_grad
    }
    assert trained == {"blocks.14", "blocks.15", "head.conv", "head.norm"}
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    assert encoder.blocks[15].training
    assert not encoder.blocks[13].training
    assert not any(m.training for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))
    encoder(photograph).square().mean().backward()
    assert all(torch.equal(before[name], value) for name, value in encoder.named_buffers())
    assert all((p.grad is not None) == p.requires_grad for p in encoder.parameters())
    assert encoder.blocks[14].depthwise.norm.weight.grad.abs().sum() > 0
    encoder.eval()
    assert not any(m.training for m in encoder.modules())


def test_all_blocks_are_tuned(photograph: torch.Tensor) -> None:
    encoder = EfficientNetEncoder(weights=None, trainable_blocks="all")
    assert all(p.requires_grad for p in encoder.parameters())
    assert not encoder.is_frozen
    with pytest.raises(InputError, match="from 0 to 16"):
        EfficientNetEncoder(weights=None, trainable_blocks=17)


def test_autocast_changes_nothing_but_while_blocks_are_tuned(photograph: torch.Tensor) -> None:
    encoder = EfficientNetEncoder(weights=None, trainable_blocks=1)
    with torch.no_grad():
        expected = encoder.eval()(photograph)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(encoder(photograph), expected)
            assert encoder.train()(photograph).dtype == torch.bfloat16


def test_folded_gradients_equal_unfolded_ones() -> None:
    """Folding the normalisation into the weight changes no gradient: against convolution then batch_norm."""
    from scripts.kernels.convolution import ConvNorm

    layer = ConvNorm(4, 6, kernel=3, eps=1e-3).double().eval()
    nn.init.uniform_(layer.norm.running_var, 0.5, 2.0)
    nn.init.normal_(layer.norm.running_mean)
    nn.init.normal_(layer.norm.weight)
    x = torch.randn(2, 4, 5, 5, dtype=torch.double)
    layer(x).pow(3).sum().backward()
    folded = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    norm = layer.norm
    y = F.conv2d(x, layer.conv.weight, padding=1)
    F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, 1e-3).pow(
        3
    ).sum().backward()
    for mine, parameter in zip(folded, layer.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad)


@pytest.mark.parametrize("size", [7, 8, 11, 14, 224])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_same_padding_keeps_tensorflow_sizes(size: int, kernel: int, stride: int) -> None:
    from scripts.kernels.convolution import same_padding

    left, right, top, bottom = same_padding((size, size), kernel, stride)
    assert (left, right) == (top, bottom)
    assert right - left in (0, 1)
    assert (size + left + right - kernel) // stride + 1 == -(-size // stride)
