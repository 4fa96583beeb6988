"""Stage-1 checkpoints of the official code: its SAM run alone, and merged with BLIP-2's as its notebook does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from test_foreign_checkpoints import IDS, MASK, TOLERANCE, assert_same_matcher, image, stage1_lavis
from torch import Tensor, nn
from torch.nn import functional as F

import tiny_blip2 as tiny
from scripts.checkpoints.start import start_branch, start_branches
from scripts.encoders.eva import EvaEncoder
from scripts.errors import WeightsError
from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.language_model import LanguageModel
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork
from scripts.networks.qformer import QFormer

HEADS = ("vision_proj.", "text_proj.", "itm_head.", "temp")


class SamChannels(nn.Module):
    """SAM's map as the official code reads it: 8 channels as tokens of 24 positions."""

    width, token_count = 24, 8

    def forward(self, values: Tensor) -> Tensor:
        return values[:, :, :8, :8].reshape(-1, 8, 24)


def branches(folder: Path, *, text: bool) -> dict[str, Branch]:
    extra = {"vocabulary": tiny.TEXT_VOCABULARY, "max_positions": 20} if text else {}
    qformer = QFormer(encoder_width=24, text=text, dropout=0.0, **tiny.QFORMER, **extra)
    detail = Branch(encoder=SamChannels(), qformer=qformer, normalize_tokens=False)
    return {"general": tiny.general_branch(EvaEncoder(weights=folder), text=text), "detail": detail}


def pretraining(folder: Path) -> PretrainingNetwork:
    made = {
        name: PretrainingBranch(branch=branch, decoder_token_id=tiny.TEXT_VOCABULARY - 1, embedding=16)
        for name, branch in branches(folder, text=True).items()
    }
    return PretrainingNetwork(branches=made).eval()


def captioner(folder: Path) -> CaptionNetwork:
    model = LanguageModel(model=tiny.captioner_of_transformers().language_model, tokenizer=tiny.tokenizer())
    return CaptionNetwork(branches=branches(folder, text=False), language_model=model).eval()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, nn.Module, Path]:
    """transformers' retrieval models of the general and of the SAM run, and the folder of the first."""
    folder = tmp_path_factory.mktemp("matcher")
    general = tiny.matcher_of_transformers()
    general.save_pretrained(folder)
    detail = tiny.matcher_of_transformers()
    with torch.no_grad():
        for parameter in detail.parameters():
            parameter.mul_(0.9)
    return general, detail, folder


def sam_only(detail: nn.Module) -> dict[str, Tensor]:
    """``sam_after_coco_med.pth``: the heads beside ``sam_Qformer`` and ``sam_query_tokens``, no norm on the tokens."""
    state = {key: value for key, value in stage1_lavis(detail).items() if not key.startswith("ln_vision")}
    return {re.sub("^(Qformer|query_tokens)", r"sam_\1", key): value for key, value in state.items()}


def merged(general: nn.Module, detail: nn.Module) -> dict[str, Tensor]:
    """``stage1_sam&clip_concat.pth``: the SAM run's Q-Former and queries, everything else of BLIP-2's stage 1."""
    second = {key: value for key, value in sam_only(detail).items() if not key.startswith(HEADS)}
    return stage1_lavis(general) | second


def write(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save({"model": state, "optimizer": {}, "epoch": 2}, folder / "stage1.pth")
    return folder / "stage1.pth"


def expected_scores(theirs: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast ``[B, B]`` and matching logits ``[B, 2]`` of transformers' parts on given tokens."""
    queries = theirs.query_tokens.expand(2, -1, -1)
    alone = theirs.qformer(query_embeds=queries, encoder_hidden_states=tokens).last_hidden_state
    text = theirs.qformer(query_embeds=theirs.embeddings(input_ids=IDS), query_length=0, attention_mask=MASK)
    v = F.normalize(theirs.vision_projection(alone), dim=-1)
    t = F.normalize(theirs.text_projection(text.last_hidden_state[:, 0]), dim=-1)
    see = torch.cat([torch.ones(2, tiny.QUERIES, dtype=torch.long), MASK], dim=1)
    joint = theirs.qformer(
        query_embeds=theirs.embeddings(input_ids=IDS, query_embeds=queries),
        query_length=tiny.QUERIES,
        attention_mask=see,
        encoder_hidden_states=tokens,
    ).last_hidden_state
    contrast = torch.einsum("bqe,te->bqt", v, t).amax(1)
    return contrast, theirs.itm_head(joint[:, : tiny.QUERIES]).mean(1)


def test_the_sam_run_alone_continues_in_stage_1(sources: tuple[nn.Module, nn.Module, Path], tmp_path: Path) -> None:
    _, detail, folder = sources
    ours = pretraining(folder)
    report = start_branch(ours, "detail", write(sam_only(detail), tmp_path))
    assert not report.random and not report.unexpected
    assert all("decoder" in key or "position_ids" in key for key in report.unused)  # the decoder is tied
    module = ours.branches["detail"]
    with torch.no_grad():
        tokens = module.branch.encoder(image())
        memory = module.branch.project(tokens)
        contrast = module.contrast.similarity(module.embed_images(memory), module.embed_texts(IDS, MASK))
        matching = module.matching.logits(module.match(memory, IDS, MASK))
        expected = expected_scores(detail, tokens)
    torch.testing.assert_close((contrast, matching), expected, **TOLERANCE)
    assert module.contrast.temperature.item() == pytest.approx(0.05)


def test_the_merged_file_starts_both_branches_of_both_stages(
    sources: tuple[nn.Module, nn.Module, Path], tmp_path: Path
) -> None:
    general, detail, folder = sources
    file = write(merged(general, detail), tmp_path)
    ours = start_branches(pretraining(folder), general=file, detail=file)
    assert_same_matcher(general, ours)
    later = start_branches(captioner(folder), general=file, detail=file)
    with torch.no_grad():
        for name, theirs in (("general", general), ("detail", detail)):
            branch = later.branches[name]
            tokens = branch.encoder(image())
            seen = theirs.vision_model.post_layernorm(tokens) if name == "general" else tokens
            queries = theirs.query_tokens.expand(2, -1, -1)
            expected = theirs.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state
            torch.testing.assert_close(branch(tokens), expected, **TOLERANCE)


@pytest.mark.parametrize(
    "key", ["sam_query_tokens", "vision_proj.weight", "itm_head.bias", "sam_Qformer.cls.predictions.bias",
            "sam_Qformer.bert.embeddings.word_embeddings.weight",
            "sam_Qformer.bert.encoder.layer.0.crossattention.self.value.weight"]
)  # fmt: skip
def test_a_missing_key_of_the_sam_run_is_named(
    sources: tuple[nn.Module, nn.Module, Path], tmp_path: Path, key: str
) -> None:
    state = sam_only(sources[1])
    del state[key]
    with pytest.raises(WeightsError, match=f"'{re.escape(key)}'"):
        start_branch(pretraining(sources[2]), "detail", write(state, tmp_path))


@pytest.mark.parametrize("key", ["query_tokens", "sam_query_tokens", "ln_vision.weight",
                                 "sam_Qformer.bert.encoder.layer.3.output_query.LayerNorm.weight"])  # fmt: skip
def test_a_missing_key_of_the_merged_file_is_named(
    sources: tuple[nn.Module, nn.Module, Path], tmp_path: Path, key: str
) -> None:
    state = merged(*sources[:2])
    del state[key]
    file = write(state, tmp_path)
    with pytest.raises(WeightsError, match=f"'{re.escape(key)}'"):
        start_branches(captioner(sources[2]), general=file, detail=file)
