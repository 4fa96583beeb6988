"""Remembered pairs: which they are, what they add to ITC, and that they belong to a run and not to its model."""

from __future__ import annotations

import pytest
import torch
from test_pretraining_network import QUERIES, batch, branch
from torch import Tensor
from torch.nn import functional as F

from scripts.networks.losses import ImageTextContrast
from scripts.networks.pair_memory import PairMemory, Remembered, fingerprints
from scripts.training.resumable import resumable_names
from scripts.weights.loading import trained_names


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def captions(size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    ids = torch.randint(1, 50, (size, 7), generator=torch.Generator().manual_seed(seed))
    return ids, torch.ones_like(ids)


def test_the_last_pairs_are_remembered() -> None:
    memory = PairMemory(size=6, queries=2, embedding=4, duplicates_are_positives=True)
    assert memory.partners(*captions(4)) is None
    images, texts = vectors(12, 2, 4), vectors(12, 4, seed=1)
    for number in range(3):
        rows = slice(4 * number, 4 * number + 4)
        memory.keep(images[rows], texts[rows], *captions(4, number))
        found = memory.partners(*captions(4, number))
        assert len(found.texts) == min(6, 4 * number + 4) and int(found.positives.sum()) == 4
    kept = {tuple(row.half().tolist()) for row in texts[6:]}
    assert {tuple(row.half().tolist()) for row in found.texts} == kept
    for row, text in zip(found.images, found.texts, strict=True):  # each image still beside its own text
        [place] = [n for n in range(12) if torch.equal(texts[n].half().float(), text)]
        torch.testing.assert_close(row, images[place], atol=1e-3, rtol=1e-3)


def test_more_pairs_at_once_than_are_remembered() -> None:
    memory = PairMemory(size=3, queries=1, embedding=4, duplicates_are_positives=True)
    texts = vectors(8, 4)
    memory.keep(vectors(8, 1, 4), texts, *captions(8))
    found = memory.partners(*captions(8)).texts
    assert {tuple(row.tolist()) for row in found} == {tuple(row.half().float().tolist()) for row in texts[5:]}


def test_captions_are_told_apart_by_their_tokens_alone() -> None:
    ids, mask = captions(64)
    ids[1] = ids[0]
    ids[2, :2], ids[2, 2:] = ids[0, :2].flip(0), ids[0, 2:]  # the same tokens in another order
    mask[3, 4:] = 0
    padded = F.pad(ids * mask, (0, 3)), F.pad(mask, (0, 3))
    found = fingerprints(ids, mask)
    assert torch.equal(found, fingerprints(*padded))
    assert found[0] == found[1] and len(set(found.tolist())) == 63


@pytest.mark.parametrize("duplicates", [False, True])
def test_an_equal_caption_of_before_is_right_where_duplicates_are(duplicates: bool) -> None:
    memory = PairMemory(size=4, queries=2, embedding=4, duplicates_are_positives=duplicates)
    memory.keep(vectors(4, 2, 4), vectors(4, 4), *captions(4))
    found = memory.partners(*captions(3)).positives
    assert torch.equal(found, torch.eye(3, 4, dtype=torch.bool) if duplicates else torch.zeros(3, 4, dtype=torch.bool))


def test_the_loss_is_that_of_rows_of_a_larger_batch() -> None:
    """Against the cross-entropy of all columns, written out from the formula."""
    contrast = ImageTextContrast(width=8, embedding=16, label_smoothing=0.1)
    images, texts = vectors(9, 5, 16).requires_grad_(), vectors(9, 16, seed=1).requires_grad_()
    positives = torch.eye(3, 9, dtype=torch.bool)
    positives[0, 7] = True
    remembered = Remembered(images[3:].detach(), texts[3:].detach(), positives[:, 3:])
    loss, image_to_text, text_to_image = contrast(images[:3], texts[:3], positives[:, :3], remembered)
    assert image_to_text.shape == text_to_image.shape == (3, 3)  # wrong pairs for ITM are drawn from the batch alone

    best = torch.stack([torch.stack([(v @ t).max() for t in texts]) for v in images]) / 0.07
    smoothed = 0.9 * positives / positives.sum(1, keepdim=True) + 0.1 / 9
    rows, columns = best[:3].log_softmax(1), best.T[:3].log_softmax(1)
    torch.testing.assert_close(loss, -0.5 * ((smoothed * rows).sum(1) + (smoothed * columns).sum(1)).mean())
    loss.backward()
    assert not images.grad[3:].any() and not texts.grad[3:].any() and bool(images.grad[:3].any())


def test_a_branch_remembers_while_it_learns() -> None:
    plain, learning = branch(), branch(remembered_pairs=8)
    learning.load_state_dict(plain.state_dict(), strict=False)
    image, ids, mask = batch()
    tokens = plain.branch.encoder(image)
    first = learning(tokens, None, ids, mask)
    torch.testing.assert_close(first, plain(tokens, None, ids, mask))
    second = learning(tokens.flip(0), None, ids.flip(0), mask.flip(0))
    assert bool(second["itc"] > first["itc"] + 0.1)  # twice as many partners, and ITM and ITG as before
    torch.testing.assert_close(second["itg"], first["itg"])
    assert int(learning.memory.seen) == 8
    learning.eval()
    torch.testing.assert_close(learning(tokens, None, ids, mask)["itc"], plain.eval()(tokens, None, ids, mask)["itc"])
    assert int(learning.memory.seen) == 8


def test_checkpoints_hold_them_and_models_do_not() -> None:
    learning = branch(remembered_pairs=8)
    assert learning.memory.images.shape == (8, QUERIES, 16)
    held = {f"memory.{name}" for name in ("images", "texts", "captions", "seen")}
    assert held <= set(resumable_names(learning)) and not held & set(trained_names(learning))
    assert branch(remembered_pairs=8, query_pool="mean").memory.images.shape == (8, 1, 16)
