"""Stage 1 begins with texts that differ: the start from the starter's text encoder."""

from __future__ import annotations

import pytest
import torch

from scripts.checkpoints.stages import start_from_text_encoder, text_tokenizer
from scripts.errors import WeightsError
from scripts.networks.branch import Branch
from scripts.networks.pretraining_network import PretrainingBranch
from scripts.networks.qformer import QFormer

CAPTIONS = (
    "Axial CT of the head showing subdural hematoma.",
    "Sagittal T2-weighted MRI of the spine showing disc herniation.",
    "Frontal X-ray of the chest with no abnormality.",
)


class _Width(torch.nn.Module):
    """An encoder that only says how wide its tokens are."""

    width, token_count = 8, 4


def test_texts_differ_at_the_start_of_stage_1() -> None:
    """Image-text contrast has something to point at before the first step, whatever speaks for a text."""
    try:
        tokenizer = text_tokenizer("starter")
        cosines = {pool: _starting_cosines(tokenizer, pool) for pool in ("first", "mean")}
    except WeightsError as error:
        pytest.skip(str(error))
    for pool, cosine in cosines.items():
        assert cosine.fill_diagonal_(-1).max() < 0.95, pool


def _starting_cosines(tokenizer: object, pool: str) -> torch.Tensor:
    """Cosines between captions' states after a Q-Former of the starter's three layers, as ITC takes them."""
    qformer = QFormer(encoder_width=8, width=384, layers=3, heads=12, intermediate=1536, vocabulary=len(tokenizer))
    branch = Branch(encoder=_Width(), qformer=qformer)
    module = PretrainingBranch(branch=branch, decoder_token_id=tokenizer.bos_token_id, embedding=384, text_pool=pool)
    start_from_text_encoder([module], "starter")
    torch.nn.init.eye_(module.contrast.text_projection.weight)
    torch.nn.init.zeros_(module.contrast.text_projection.bias)
    batch = tokenizer(list(CAPTIONS), padding=True, return_tensors="pt")
    with torch.no_grad():
        texts = module.eval().embed_texts(batch["input_ids"], batch["attention_mask"])
    return texts @ texts.T
