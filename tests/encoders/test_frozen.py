"""What all encoders promise: frozen, in eval mode, one input convention, a fingerprint that notices changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.encoders.frozen import FrozenEncoder
from scripts.errors import InputError


class Patches(FrozenEncoder):
    """A linear patch encoder with batch normalisation and dropout, small enough to check by hand."""

    def __init__(self, *, trainable_blocks: int | str = 0, interpolation: str = "bilinear") -> None:
        super().__init__(
            width=5,
            grid=(2, 2),
            input_size=8,
            mean=(0.5, 0.25, 0.0),
            std=(0.5, 0.25, 2.0),
            interpolation=interpolation,
        )
        self.first = nn.Conv2d(3, 5, 4, 4)
        self.second = nn.Sequential(nn.BatchNorm2d(5), nn.Dropout(0.5))
        self._freeze(trainable_blocks)

    def block_groups(self) -> list[list[nn.Module]]:
        return [[self.first], [self.second]]

    def encode(self, pixels: Tensor) -> Tensor:
        return self.second(self.first(pixels)).flatten(2).transpose(1, 2)


def test_train_mode_changes_nothing_when_frozen() -> None:
    network = nn.ModuleDict({"encoder": Patches(), "head": nn.Linear(5, 1)}).train()
    encoder = network["encoder"]
    assert network["head"].training
    assert not any(module.training for module in encoder.modules())
    assert not any(p.requires_grad for p in encoder.parameters())
    assert encoder.is_frozen
    image = torch.rand(2, 3, 8, 8)
    assert torch.equal(encoder(image), encoder(image))
    assert not encoder(image).requires_grad


def test_tuned_block_follows_train_mode_but_batch_statistics_do_not() -> None:
    encoder = Patches(trainable_blocks=1).train()
    norm, dropout = encoder.second
    assert (encoder.first.training, norm.training, dropout.training) == (False, False, True)
    assert [p.requires_grad for p in encoder.first.parameters()] == [False, False]
    assert [p.requires_grad for p in norm.parameters()] == [True, True]
    before = norm.running_mean.clone()
    encoder(torch.rand(2, 3, 8, 8))
    assert torch.equal(norm.running_mean, before)


def test_normalises_with_its_own_statistics() -> None:
    encoder = Patches()
    pixels = encoder.prepare(torch.full((1, 3, 8, 8), 0.5))
    assert torch.allclose(pixels[0, :, 0, 0], torch.tensor([0.0, 1.0, 0.25]))


def test_resizing_is_antialiased() -> None:
    """A fine checkerboard becomes its mean; without antialiasing it would become one of its colours."""
    board = torch.zeros(1, 3, 64, 64)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 1.0
    plain = Patches()
    pixels = plain.prepare(board) * plain.std + plain.mean
    assert (pixels - 0.5).abs().max() < 0.02
    edge = torch.zeros(1, 3, 64, 64)
    edge[..., 30:] = 1.0
    cubic = Patches(interpolation="bicubic")
    assert F.interpolate(edge, size=(8, 8), mode="bicubic", antialias=True).max() > 1.0
    pixels = cubic.prepare(edge) * cubic.std + cubic.mean
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 8, 8), "letterbox and stack"),
        (torch.rand(1, 1, 8, 8), r"\[B, 3, H, H\]"),
        (torch.rand(1, 3, 8, 6), "square"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "floating-point"),
    ],
)
def test_refuses_what_is_no_image_batch(image: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Patches()(image)


@pytest.mark.parametrize("blocks", [-1, 3, "some"])
def test_refuses_impossible_tuning(blocks: object) -> None:
    with pytest.raises(InputError, match='from 0 to 2 or "all"'):
        Patches(trainable_blocks=blocks)


def test_fingerprint_notices_weights_and_settings_only() -> None:
    encoder = Patches()
    same = Patches()
    same.load_state_dict(encoder.state_dict())
    assert encoder.fingerprint() == same.fingerprint() == same.train().fingerprint()
    cubic = Patches(interpolation="bicubic")
    cubic.load_state_dict(encoder.state_dict())
    assert cubic.fingerprint() != encoder.fingerprint()
    with torch.no_grad():
        same.first.weight[0, 0, 0, 0] += 1e-3
    assert same.fingerprint() != encoder.fingerprint()


def test_images_with_metadata_give_plain_tokens() -> None:
    from monai.data import MetaTensor

    encoder = Patches()
    image = torch.rand(1, 3, 16, 16)
    tokens = encoder(MetaTensor(image, meta={"filename_or_obj": "x.png"}))
    assert type(tokens) is Tensor
    assert torch.equal(tokens, encoder(image))


def test_half_precision() -> None:
    encoder = Patches()
    image = torch.rand(1, 3, 16, 16)
    exact = encoder(image)
    rounded = encoder.to(torch.bfloat16)(image)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0.05)
