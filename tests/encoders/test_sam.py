"""SamEncoder against ``segment_anything`` and ``transformers``, its memory, its gradients, its weight layouts."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import SamVisionConfig, SamVisionModel

from scripts.encoders.sam import SAM_MEAN, SAM_STD, SamEncoder
from scripts.encoders.sam_vit import SamSize
from scripts.errors import InputError, WeightsError
from scripts.kernels.relative_attention import attend

SMALL = SamSize(width=32, depth=2, heads=2, global_blocks=(1,))


def shake(network: nn.Module) -> None:
    """Every weight away from its initial zero or one, so that no term of the sums goes untested."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


def published(encoder_class: type, *, input_size: int, size: SamSize = SMALL) -> nn.Module:
    network = encoder_class(
        img_size=input_size,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        global_attn_indexes=size.global_blocks,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
    )
    shake(network)
    return network.eval()


def normalised(image: torch.Tensor) -> torch.Tensor:
    return (image - torch.tensor(SAM_MEAN).view(3, 1, 1)) / torch.tensor(SAM_STD).view(3, 1, 1)


def save_as_meta(network: nn.Module, path: Path) -> Path:
    """As ``sam_vit_b_01ec64.pth`` is laid out: the image encoder beside the prompt encoder and mask decoder."""
    state = {f"image_encoder.{name}": value for name, value in network.state_dict().items()}
    state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = torch.zeros(2, 128)
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 256)
    torch.save(state, path)
    return path


def test_equals_segment_anything_at_1024(
    segment_anything_encoder: type, photograph: torch.Tensor, tmp_path: Path
) -> None:
    """Windowed (with padding: 64 is no multiple of 14) and global blocks, from Meta's layout."""
    network = published(segment_anything_encoder, input_size=1024)
    encoder = SamEncoder(weights=save_as_meta(network, tmp_path / "sam.pth"), size=SMALL)
    image = F.interpolate(photograph, size=(1024, 1024), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = network(normalised(image))
        found = encoder.features(encoder.prepare(image))
        tokens = encoder(image)
    assert found.shape == (1, 256, 64, 64)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    assert tokens.shape == (1, encoder.token_count, encoder.width) == (1, 4096, 256)
    torch.testing.assert_close(tokens[0, 5 * 64 + 9], expected[0, :, 5, 9], atol=1e-4, rtol=1e-5)


def test_equals_hugging_face(tmp_path: Path) -> None:
    config = SamVisionConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_dim=128,
        global_attn_indexes=[1],
        image_size=512,
        initializer_range=0.02,
    )
    reference = SamVisionModel(config)
    shake(reference)
    reference.eval().save_pretrained(tmp_path / "sam")
    encoder = SamEncoder(weights=tmp_path / "sam", size=SMALL, input_size=512)
    image = torch.rand(2, 3, 512, 512)
    with torch.no_grad():
        expected = reference(normalised(image)).last_hidden_state
        found = encoder.features(encoder.prepare(image))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_lower_resolution_interpolates_as_segment_anything_does(segment_anything_encoder: type, tmp_path: Path) -> None:
    """Its code interpolates the relative tables at run time; the absolute ones it leaves to the caller."""
    network = published(segment_anything_encoder, input_size=512)
    path = save_as_meta(network, tmp_path / "sam.pth")
    with pytest.warns(UserWarning, match="trained at 1024"):
        encoder = SamEncoder(weights=path, size=SMALL, input_size=256)
    image = torch.rand(1, 3, 256, 256)
    grid = F.interpolate(network.pos_embed.permute(0, 3, 1, 2), size=(16, 16), mode="bicubic", antialias=True)
    network.pos_embed = nn.Parameter(grid.permute(0, 2, 3, 1))
    with torch.no_grad():
        expected = network(normalised(image))
        found = encoder.features(encoder.prepare(image))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_no_warning_at_the_trained_size(segment_anything_encoder: type, tmp_path: Path) -> None:
    path = save_as_meta(published(segment_anything_encoder, input_size=1024), tmp_path / "sam.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SamEncoder(weights=path, size=SMALL)


def test_published_backend_gives_the_same_tokens(segment_anything_encoder: type, tmp_path: Path) -> None:
    path = save_as_meta(published(segment_anything_encoder, input_size=256), tmp_path / "sam.pth")
    options = {"weights": path, "size": SMALL, "input_size": 256, "pool": 2}
    image = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        ours, theirs = SamEncoder(**options)(image), SamEncoder(**options, backend="segment_anything")(image)
    assert ours.shape == (1, 64, 256)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def dense_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor):
    """The definition, entry by entry of the offset tables."""
    side = (rows.shape[0] + 1) // 2
    position = torch.arange(side * side)
    row, column = position // side, position % side
    bias_rows = rows[row[:, None] - row[None, :] + side - 1]
    bias_columns = columns[column[:, None] - column[None, :] + side - 1]
    scores = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
    scores = scores + torch.einsum("gnd,nmd->gnm", q, bias_rows) + torch.einsum("gnd,nmd->gnm", q, bias_columns)
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("width", [8, 16], ids=["offsets added", "offsets in the product"])
@pytest.mark.parametrize("budget", [1 << 4, 1 << 10, 1 << 14, 1 << 19])
def test_attention_equals_its_definition(budget: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the slicing: a row at a time, several rows, several groups; as layers cut them out of a projection."""
    monkeypatch.setattr("scripts.kernels.relative_attention.CPU_SCORES", budget)
    q, k, v = torch.randn(49, 3, 7, width, dtype=torch.double).permute(1, 2, 0, 3).unbind()
    rows, columns = (torch.randn(13, width, dtype=torch.double) for _ in range(2))
    with torch.no_grad():
        torch.testing.assert_close(attend(q, k, v, rows, columns), dense_attention(q, k, v, rows, columns))


def test_attention_gradients_equal_those_of_its_definition() -> None:
    tensors = [torch.randn(3, 25, 4, dtype=torch.double, requires_grad=True) for _ in range(3)]
    tensors += [torch.randn(9, 4, dtype=torch.double, requires_grad=True) for _ in range(2)]
    weight = torch.randn(3, 25, 4, dtype=torch.double)
    ours = torch.autograd.grad((attend(*tensors) * weight).sum(), tensors)
    theirs = torch.autograd.grad((dense_attention(*tensors) * weight).sum(), tensors)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_tuned_blocks_get_gradients_and_the_same_tokens() -> None:
    frozen = SamEncoder(size=SMALL, input_size=256)
    shake(frozen)
    tuned = SamEncoder(size=SMALL, input_size=256, trainable_blocks=1).train()
    tuned.load_state_dict(frozen.state_dict())
    image = torch.rand(1, 3, 256, 256)
    tokens = tuned(image)
    torch.testing.assert_close(tokens, frozen(image), atol=1e-4, rtol=1e-5)
    tokens.square().mean().backward()
    trained = {name.split(".")[1] for name, p in tuned.named_parameters() if p.requires_grad}
    assert trained == {"blocks", "neck"}
    assert all((p.grad is not None and bool(p.grad.any())) == p.requires_grad for p in tuned.parameters())


def test_batches_and_images_alone_agree() -> None:
    encoder = SamEncoder(size=SMALL, input_size=256)
    shake(encoder)
    image = torch.rand(3, 3, 256, 256)
    together = encoder(image)
    for index in range(3):
        torch.testing.assert_close(encoder(image[index : index + 1])[0], together[index], atol=1e-5, rtol=1e-5)


def test_bfloat16_and_autocast_stay_near() -> None:
    encoder = SamEncoder(size=SMALL, input_size=256)
    shake(encoder)
    image = torch.rand(1, 3, 256, 256)
    exact = encoder(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        automatic = encoder(image).float()
    rounded = encoder.to(torch.bfloat16)(image).float()
    for tokens in (automatic, rounded):
        assert 1e-5 < (tokens - exact).norm() / exact.norm() < 0.04


def test_no_score_matrix_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of the size of one head's N x N scores is ever made: the buffer bounds it."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            nonlocal largest
            result = function(*arguments, **(options or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.untyped_storage().nbytes())
            return result

    encoder = SamEncoder(size=SMALL)
    with torch.no_grad(), Watch():
        encoder(torch.rand(1, 3, 1024, 1024))
    one_head = 4096 * 4096 * 4
    assert 0 < largest < one_head / 4


def test_medsam_pixels_are_not_normalised() -> None:
    image = torch.rand(1, 3, 256, 256)
    medsam = SamEncoder(size=SMALL, input_size=256, normalization="medsam")
    torch.testing.assert_close(medsam.prepare(image), image)
    torch.testing.assert_close(SamEncoder(size=SMALL, input_size=256).prepare(image), normalised(image))
    assert medsam.fingerprint() != SamEncoder(size=SMALL, input_size=256).fingerprint()


@pytest.mark.parametrize(("name", "millions"), [("base", 89.7), ("large", 308.3), ("huge", 637.0)])
def test_published_sizes(name: str, millions: float) -> None:
    from scripts.encoders.sam_vit import SAM_SIZES, SamViT

    with torch.device("meta"):
        network = SamViT(SAM_SIZES[name])
    assert abs(sum(p.numel() for p in network.parameters()) / 1e6 - millions) < 0.06


def test_impossible_options(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiple of 16"):
        SamEncoder(size=SMALL, input_size=1000)
    with pytest.raises(InputError, match="base, large, huge"):
        SamEncoder(size="big")
    with pytest.raises(InputError, match="normalization"):
        SamEncoder(size=SMALL, normalization="imagenet")
    with pytest.raises(InputError, match="backend"):
        SamEncoder(size=SMALL, backend="torch")
    with pytest.raises(WeightsError, match="neither a weight file, nor a folder"):
        SamEncoder(size=SMALL, weights=tmp_path / "absent")


def test_weights_of_another_size_are_refused(segment_anything_encoder: type, tmp_path: Path) -> None:
    path = save_as_meta(published(segment_anything_encoder, input_size=256), tmp_path / "sam.pth")
    with pytest.raises(WeightsError, match="has shape"):
        SamEncoder(weights=path, size=SMALL._replace(width=64), input_size=256)
