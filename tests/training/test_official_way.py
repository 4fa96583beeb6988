"""What the benchmark compares with computes the same: losses and gradients of the published form at a small size."""

from __future__ import annotations

import official_way
import pytest
import torch
from no_tokenizer import NoTokenizer
from transformers import OPTConfig, OPTForCausalLM

from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.language_model import LanguageModel
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork
from scripts.networks.qformer import QFormer


class Given(torch.nn.Module):
    token_count, width = 10, 24


def small_branch(*, absorbed: bool, text: bool) -> Branch:
    sizes = {"width": 32, "layers": 4, "heads": 4, "intermediate": 64, "queries": 5, "vocabulary": 50}
    qformer = QFormer(encoder_width=24, dropout=0.0, text=text, absorbed=absorbed, max_positions=20, **sizes)
    return Branch(encoder=Given(), qformer=qformer)


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 48, (4, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    return ids * mask, mask


def compare(network: torch.nn.Module, first: torch.Tensor, second: torch.Tensor) -> None:
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    parameters = [p for p in network.parameters() if p.requires_grad]
    mine, reference = (torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (first, second))
    assert max(float(gradient.abs().max()) for gradient in mine) > 1e-2
    for one, other in zip(mine, reference, strict=True):
        # the plain form has no path to a key bias at all: its gradient is zero up to rounding
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("absorbed", [False, True])
def test_stage_1(absorbed: bool) -> None:
    module = PretrainingBranch(branch=small_branch(absorbed=absorbed, text=True), decoder_token_id=49, seed=3)
    network = PretrainingNetwork(branches={"detail": module}).train()
    tokens, (ids, mask) = torch.randn(4, 10, 24), texts()
    ours = network(detail_tokens=tokens, input_ids=ids, attention_mask=mask)
    published = official_way.stage1_losses(module, tokens, ids, mask)
    for name, value in published.items():
        torch.testing.assert_close(ours[f"detail_{name}"], value, rtol=1e-5, atol=1e-5, msg=name)
    compare(network, ours["loss"], sum(published.values()))


def test_stage_2() -> None:
    sizes = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = OPTConfig(vocab_size=50, word_embed_proj_dim=32, max_position_embeddings=64, **sizes)
    model = LanguageModel(model=OPTForCausalLM(config), tokenizer=NoTokenizer())
    branches = {name: small_branch(absorbed=name == "detail", text=False) for name in ("general", "detail")}
    network = CaptionNetwork(branches=branches, language_model=model).train()
    tokens, (ids, mask) = {name: torch.randn(4, 10, 24) for name in branches}, texts()
    ours = network(input_ids=ids, attention_mask=mask, **{f"{name}_tokens": value for name, value in tokens.items()})
    compare(network, ours["loss"], official_way.stage2_loss(network, tokens, ids, mask))


def test_half_precision_features_hardly_change_the_stage_2_loss() -> None:
    """Cached float16 tokens against the encoder's own: below one in a thousand; int8 below one in a hundred."""
    from scripts.data.cache.shards import pack, unpack

    torch.manual_seed(1)
    sizes = {"hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 128, "num_attention_heads": 4}
    config = OPTConfig(vocab_size=500, num_hidden_layers=2, **sizes)
    model = LanguageModel(model=OPTForCausalLM(config), tokenizer=NoTokenizer())
    qformer = QFormer(encoder_width=256, width=64, layers=4, heads=4, intermediate=128, text=False, dropout=0.0)
    network = CaptionNetwork(
        branches={"detail": Branch(encoder=type("E", (Given,), {"width": 256})(), qformer=qformer)},
        language_model=model,
    ).eval()
    for layer in qformer.layers[::2]:  # as trained ones do, queries look at tokens, and the language model at them
        torch.nn.init.normal_(layer.cross_attention.query.weight, std=0.3)
    torch.nn.init.normal_(network.projections["detail"].weight, std=1.0)
    tokens = torch.randn(4, 64, 256) * torch.rand(256).mul(4).exp()  # channels of very different size, as encoders give
    ids, mask = texts()
    losses = {}
    with torch.no_grad():
        for kind in ("float32", "float16", "int8"):
            stored = torch.stack([unpack(pack(row, kind)) for row in tokens])
            losses[kind] = network(detail_tokens=stored, input_ids=ids, attention_mask=mask)["loss"].double().item()
    assert losses["int8"] != losses["float32"]  # the loss looks at the tokens; half precision may round to no change
    assert abs(losses["float16"] / losses["float32"] - 1) < 1e-3
    assert abs(losses["int8"] / losses["float32"] - 1) < 1e-2
