"""Stage 1 hands its branches to stage 2 completely, drops what only stage 1 needs, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from scripts.checkpoints.stages import load_pretrained_branches, load_trained
from scripts.errors import WeightsError
from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.language_model import LanguageModel
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork
from scripts.networks.qformer import QFormer
from scripts.weights.saving import save_shards, trained_state


class Patches(nn.Module):
    width, token_count = 12, 4

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.unfold(image[..., :4, :4], 2, stride=2).transpose(1, 2)


def qformer(text: bool) -> QFormer:
    return QFormer(
        encoder_width=12, width=16, layers=2, heads=2, intermediate=32, queries=4, vocabulary=30, text=text, dropout=0.0
    )


def branch(text: bool) -> Branch:
    return Branch(encoder=Patches(), qformer=qformer(text), token_positions=True)


def stage1(names: tuple[str, ...]) -> PretrainingNetwork:
    branches = {name: PretrainingBranch(branch=branch(True), decoder_token_id=29, embedding=8) for name in names}
    return PretrainingNetwork(branches=branches)


def stage2() -> CaptionNetwork:
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=32,
        word_embed_proj_dim=16,
        max_position_embeddings=64,
    )

    class Tokenizer:
        pad_token_id, eos_token_id = 1, 2

        def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
            return {"input_ids": []}

    language_model = LanguageModel(model=OPTForCausalLM(config), tokenizer=Tokenizer())
    return CaptionNetwork(branches={"general": branch(False), "detail": branch(False)}, language_model=language_model)


def test_branches_arrive_from_one_file_or_from_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = stage1(("general",)), stage1(("detail",))
    save_shards(trained_state(first), tmp_path / "general" / "model.pt", dtype=torch.float32)
    save_shards(trained_state(second), tmp_path / "detail" / "model.pt", dtype=torch.float32)
    network = stage2()
    load_pretrained_branches(network, [tmp_path / "general" / "model.pt", tmp_path / "detail" / "model.pt"])
    printed = capsys.readouterr().out
    assert "left at random" in printed and "projections" in printed and "not used" in printed
    tokens = torch.randn(2, 4, 12)
    for name, source in (("general", first), ("detail", second)):
        expected = source.branches[name].branch.eval()(tokens)
        torch.testing.assert_close(network.branches[name].eval()(tokens), expected)


def test_a_missing_branch_is_refused(tmp_path: Path) -> None:
    save_shards(trained_state(stage1(("general",))), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"branches\.detail\."):
        load_pretrained_branches(stage2(), tmp_path / "model.pt")


def test_a_stage2_file_is_not_taken_for_stage1(tmp_path: Path) -> None:
    save_shards(trained_state(stage2()), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="no stage-1 branches"):
        load_pretrained_branches(stage2(), tmp_path / "model.pt")


def test_a_trained_caption_network_comes_back_the_same(tmp_path: Path) -> None:
    source, target = stage2(), stage2()
    target.language_model.load_state_dict(source.language_model.state_dict())
    save_shards(trained_state(source), tmp_path / "model.pt", dtype=torch.float32)
    load_trained(target, tmp_path / "model.pt")
    ids = torch.randint(3, 40, (2, 5))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    image = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(source.eval()(image, **batch)["loss"], target.eval()(image, **batch)["loss"])
