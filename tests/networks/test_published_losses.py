"""Stage-1 losses and all gradients against four passes written from the published formulas, on real pixels."""

from __future__ import annotations

from pathlib import Path

import published_losses
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.encoders.clip import ClipEncoder
from scripts.encoders.sam import SamEncoder
from scripts.encoders.sam_vit import SamSize
from scripts.errors import InputError
from scripts.networks.branch import Branch
from scripts.networks.losses import ImageTextContrast
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork
from scripts.networks.qformer import QFormer

DECODER = 49
CLIP = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def real_pixels() -> Tensor:
    """Four crops of a CT and an MR slice that pydicom ships, ``[4, 3, 64, 64]`` in [0, 1]."""
    crops = []
    for name, corners in (("CT_small.dcm", ((0, 0), (32, 16), (60, 60))), ("MR_small.dcm", ((0, 0),))):
        pixels = torch.from_numpy(pydicom.dcmread(Path(get_testdata_file(name))).pixel_array.astype("float32"))
        unit = (pixels - pixels.min()) / (pixels.max() - pixels.min())
        crops += [unit[row : row + 64, column : column + 64] for row, column in corners]
    return torch.stack(crops)[:, None].expand(-1, 3, -1, -1).contiguous()


def captions() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 49, (4, 7), generator=generator)
    ids[:, 0] = 1
    mask = torch.ones(4, 7, dtype=torch.long)
    mask[1, 4:] = 0
    mask[3, 6:] = 0
    return ids * mask, mask


def encoder(kind: str) -> nn.Module:
    if kind == "clip":
        return ClipEncoder(config={**CLIP, "image_size": 56, "patch_size": 14})
    return SamEncoder(size=SamSize(24, 2, 2, (1,)), input_size=64, layout=kind)


def network(kind: str, absorbed: bool) -> PretrainingNetwork:
    frozen = encoder(kind)
    sizes = {"width": 32, "layers": 4, "heads": 4, "intermediate": 64, "queries": 6, "max_positions": 20}
    qformer = QFormer(encoder_width=frozen.width, vocabulary=50, dropout=0.0, absorbed=absorbed, **sizes)
    module = PretrainingBranch(
        branch=Branch(encoder=frozen, qformer=qformer), decoder_token_id=DECODER, embedding=16, seed=5
    )
    with torch.no_grad():  # away from zeros and ones, so that no term goes untested
        for parameter in module.parameters():
            if parameter.requires_grad and parameter.ndim:
                parameter += 0.1 * torch.randn_like(parameter)
    return PretrainingNetwork(branches={"general": module}).train()


@pytest.mark.parametrize(
    ("kind", "absorbed"), [("clip", False), ("clip", True), ("spatial", False), ("channel", False), ("channel", True)]
)
def test_losses_and_all_gradients_equal_the_published_four_passes(kind: str, absorbed: bool) -> None:
    ours = network(kind, absorbed)
    module, image, (ids, mask) = ours.branches["general"], real_pixels(), captions()
    actual = ours(image, input_ids=ids, attention_mask=mask)
    actual["loss"].backward()
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    gradients = {name: p.grad.clone() for name, p in parameters.items()}
    noise = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(5 * 1_000_003))
    tokens = module.branch.encoder(image)
    expected = published_losses.losses(parameters, tokens, ids, mask, noise=noise, decoder=DECODER)
    for name, value in expected.items():
        torch.testing.assert_close(actual[f"general_{name}"], value, atol=1e-5, rtol=1e-5)
    theirs = torch.autograd.grad(sum(expected.values()), list(parameters.values()), allow_unused=True)
    for (name, gradient), twin in zip(gradients.items(), theirs, strict=True):
        twin = torch.zeros_like(gradient) if twin is None else twin
        torch.testing.assert_close(gradient, twin, atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
    nothing = {name for name, gradient in gradients.items() if gradient.abs().max() < 1e-7}
    assert all(name.endswith(".key.bias") for name in nothing), nothing  # it cancels in the softmax


def test_the_formulas_notice_a_changed_loss() -> None:
    """The reference is no echo: another mask, temperature or smoothing gives another value."""
    module, (ids, mask) = network("clip", False).branches["general"], captions()
    state = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    tokens = module.branch.encoder(real_pixels())
    noise = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(1))

    def total(changed: dict[str, Tensor] | None = None, **options: float) -> Tensor:
        values = published_losses.losses(
            state | (changed or {}), tokens, ids, mask, noise=noise, decoder=DECODER, **options
        )
        return sum(values.values())

    assert (total() - total(smoothing=0.0)).abs() > 1e-2
    assert (total() - total({"contrast.temperature": torch.tensor(0.1)})).abs() > 1e-2
    assert F.mse_loss(total(), total({"branch.token_norm.bias": torch.zeros(24)})) > 1e-8


def test_each_ingredient_is_a_value() -> None:
    """The mean over queries, a fixed temperature, wrong partners drawn whatever their similarity."""

    def module(**options: object) -> PretrainingBranch:
        torch.manual_seed(0)
        sizes = {"width": 32, "layers": 2, "heads": 4, "intermediate": 64, "queries": 6, "max_positions": 20}
        qformer = QFormer(encoder_width=24, vocabulary=50, dropout=0.0, **sizes)
        branch = Branch(encoder=encoder("clip"), qformer=qformer)
        return PretrainingBranch(branch=branch, decoder_token_id=DECODER, embedding=16, **options)

    states, text = torch.randn(3, 6, 32), torch.randn(4, 5, 32)
    mask = torch.ones(4, 5, dtype=torch.long)
    mask[1, 2:] = 0
    published, mean = module(), module(query_pool="mean", text_pool="mean")
    vectors, texts = published.contrast.embed_image(states), published.contrast.embed_text(text[:, :1], mask)
    whole = torch.stack([text[i, : int(mask[i].sum())].mean(0) for i in range(4)])
    torch.testing.assert_close(
        mean.contrast.embed_text(text, mask), mean.contrast.embed_text(whole[:, None], mask[:, :1])
    )
    torch.testing.assert_close(
        mean.contrast.embed_text(text, mask), published.contrast.embed_text(whole[:, None], mask)
    )
    cosines = torch.einsum("bqe,te->bqt", vectors, texts)
    torch.testing.assert_close(published.contrast.similarity(vectors, texts), cosines.amax(1))
    torch.testing.assert_close(mean.contrast.similarity(mean.contrast.embed_image(states), texts), cosines.mean(1))
    with pytest.raises(InputError, match="median"):
        module(query_pool="median")
    with pytest.raises(InputError, match="last"):
        module(text_pool="last")
    assert published.contrast.temperature.requires_grad
    assert not module(learn_temperature=False).contrast.temperature.requires_grad
    similar, positives = torch.zeros(4, 4), torch.eye(4, dtype=torch.bool)
    similar[:, 0] = similar[0, 1] = 50.0  # the first caption is everyone's nearest
    drawn = {
        hard: {int(branch.matching.draw(similar, similar, positives)[1][3]) for _ in range(40)}
        for hard in (True, False)
        for branch in [module(hard_negatives=hard).train()]
    }
    assert drawn == {True: {0}, False: {0, 1, 2}}


def test_contrast_learns_between_close_vectors_under_autocast() -> None:
    """Vectors a thousandth apart: bfloat16, with three digits, would call them equal and give no direction."""
    torch.manual_seed(0)
    contrast = ImageTextContrast(width=32, embedding=16)
    common = torch.randn(1, 1, 32)
    states, text = common + 1e-3 * torch.randn(6, 4, 32), common + 1e-3 * torch.randn(6, 1, 32)
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            vectors = contrast.embed_image(states), contrast.embed_text(text, torch.ones(6, 1))
            loss, *_ = contrast(*vectors, torch.eye(6, dtype=torch.bool))
        gradients.append(torch.autograd.grad(loss, contrast.image_projection.weight)[0])
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0])
