"""TinyViTEncoder against the code that its weights ship with, on real images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scripts.encoders.tiny_vit import TinyViTEncoder
from scripts.errors import InputError, WeightsError


@pytest.fixture(scope="module")
def encoder(published_tiny_vit: torch.nn.Module) -> TinyViTEncoder:
    """With the starter weights (the published network's fixture has fetched them or skipped)."""
    return TinyViTEncoder()


def assert_equal_maps(encoder: TinyViTEncoder, published: torch.nn.Module, image: torch.Tensor) -> None:
    with torch.no_grad():
        pixels = F.interpolate(image, size=(256, 256), mode="bilinear", antialias=True)
        expected = published(pixels)
        found = encoder.features(encoder.prepare(image))
    assert found.shape == (len(image), 256, 64, 64)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_equals_the_wheel_on_a_photograph(
    encoder: TinyViTEncoder, published_tiny_vit: torch.nn.Module, photograph: torch.Tensor
) -> None:
    assert_equal_maps(encoder, published_tiny_vit, photograph)


def test_equals_the_wheel_on_medical_images(
    encoder: TinyViTEncoder, published_tiny_vit: torch.nn.Module, medical_images: torch.Tensor
) -> None:
    assert_equal_maps(encoder, published_tiny_vit, medical_images[:2])


def test_tokens_are_positions_row_by_row(encoder: TinyViTEncoder, photograph: torch.Tensor) -> None:
    with torch.no_grad():
        features = encoder.features(encoder.prepare(photograph))
        tokens = encoder(photograph)
    assert tokens.shape == (1, encoder.token_count, encoder.width) == (1, 256, 256)
    assert encoder.grid == (16, 16)
    row, column = 3, 5
    patch = features[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
    torch.testing.assert_close(tokens[0, row * 16 + column], patch.mean((1, 2)))


def test_channel_layout(photograph: torch.Tensor) -> None:
    encoder = TinyViTEncoder(weights=None, layout="channel")
    with torch.no_grad():
        tokens = encoder(photograph)
        features = encoder.features(encoder.prepare(photograph))
    assert tokens.shape == (1, encoder.token_count, encoder.width) == (1, 256, 4096)
    assert encoder.grid is None
    torch.testing.assert_close(tokens[0, 7, 64 * 2 + 9], features[0, 7, 2, 9])


def test_position_follows_the_image(encoder: TinyViTEncoder) -> None:
    """A bright square at the top left changes the tokens there most: nothing is transposed or mirrored."""
    blank = torch.zeros(1, 3, 256, 256)
    marked = blank.clone()
    marked[..., 16:48, 80:112] = 1.0
    with torch.no_grad():
        change = (encoder(marked) - encoder(blank)).norm(dim=-1).reshape(16, 16)
    row, column = divmod(int(change.argmax()), 16)
    assert (row in range(0, 4), column in range(4, 8)) == (True, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": 3}, "does not divide"),
        ({"layout": "channel", "pool": 2}, "set pool to 1"),
        ({"layout": "rows"}, "layout is"),
    ],
)
def test_impossible_layouts(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TinyViTEncoder(weights=None, **options)


def test_weights_of_another_network(tmp_path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"image_encoder.layers.0.something": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"other\.pth holds"):
        TinyViTEncoder(weights=path)
    incomplete = TinyViTEncoder(weights=None).state_dict()
    incomplete.pop("neck.0.weight")
    torch.save(incomplete, path)
    with pytest.raises(WeightsError, match=r"lacks 'neck\.0\.weight'"):
        TinyViTEncoder(weights=path)


def test_own_names_load_too(tmp_path, photograph: torch.Tensor) -> None:
    first = TinyViTEncoder(weights=None)
    torch.save(first.state_dict(), tmp_path / "own.pth")
    second = TinyViTEncoder(weights=tmp_path / "own.pth")
    assert first.fingerprint() == second.fingerprint()
