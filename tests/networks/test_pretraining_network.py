"""Stage-1 losses and all gradients against a four-pass form written from the published formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.networks.branch import Branch
from scripts.networks.losses import hard_negatives, sameness
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork
from scripts.networks.qformer import QFormer

DEC, QUERIES = 49, 6


class PatchEncoder(nn.Module):
    """A frozen stand-in encoder: 4 x 4 patches of the image as tokens, so that real pixels reach the losses."""

    width, token_count = 48, 16

    def forward(self, image: Tensor) -> Tensor:
        return F.unfold(F.interpolate(image, (16, 16)), 4, stride=4).transpose(1, 2)


def branch(encoder: nn.Module | None = None, **options: object) -> PretrainingBranch:
    qformer = QFormer(
        encoder_width=48,
        width=32,
        layers=4,
        heads=4,
        intermediate=64,
        queries=QUERIES,
        vocabulary=50,
        max_positions=20,
        dropout=0.0,
    )
    return PretrainingBranch(
        branch=Branch(encoder=encoder or PatchEncoder(), qformer=qformer),
        decoder_token_id=DEC,
        embedding=16,
        **options,
    )


def batch(size: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(size, 3, 32, 32, generator=generator)
    ids = torch.randint(1, 49, (size, 7), generator=generator)
    ids[:, 0] = 1
    mask = torch.ones(size, 7, dtype=torch.long)
    mask[1, 4:] = 0
    return image, ids * mask, mask


def four_pass_losses(module: PretrainingBranch, tokens: Tensor, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """ITC, ITM, ITG as published: image alone, text alone, pairs, and text after cached queries; one pass each.

    The same draw of negatives is used; everything else is written out again from the formulas.
    """
    qformer, size, smoothing = module.branch.qformer, ids.shape[0], 0.1
    tokens = module.branch.token_norm(tokens)
    images = qformer(qformer.project(tokens))
    text = qformer(texts=(ids,), mask=mask.bool()[:, None, None], use_queries=False)
    v = F.normalize(images @ module.contrast.image_projection.weight.T + module.contrast.image_projection.bias, dim=-1)
    t = F.normalize(
        text[:, 0] @ module.contrast.text_projection.weight.T + module.contrast.text_projection.bias, dim=-1
    )
    best = torch.stack([torch.stack([(v[i] @ t[j]).max() for j in range(size)]) for i in range(size)])
    scores = best / module.contrast.temperature

    def smoothed(logits: Tensor, label: Tensor) -> Tensor:
        log = logits.log_softmax(-1)
        return -(1 - smoothing) * log[torch.arange(len(label)), label] - smoothing * log.mean(-1)

    own = torch.arange(size)
    itc = (smoothed(scores, own).mean() + smoothed(scores.T, own).mean()) / 2

    noise = torch.rand(2, size, size, generator=torch.Generator().manual_seed(int(module.matching.seed) * 1_000_003))
    wrong_image = hard_negatives(scores.T, torch.eye(size, dtype=torch.bool), noise[0])
    wrong_text = hard_negatives(scores, torch.eye(size, dtype=torch.bool), noise[1])
    logits = []
    for image_rows, text_rows in ((own, own), (wrong_image, own), (own, wrong_text)):
        see = torch.cat([torch.ones(size, QUERIES, dtype=torch.long), mask[text_rows]], 1).bool()[:, None, None]
        pair = qformer(qformer.project(tokens[image_rows]), texts=(ids[text_rows],), mask=see)[:, :QUERIES]
        logits.append((pair @ module.matching.head.weight.T + module.matching.head.bias).mean(1))
    labels = torch.tensor([1] * size + [0] * 2 * size)
    itm = -torch.cat(logits).log_softmax(-1)[torch.arange(3 * size), labels].mean()

    target = ids.clone()
    target[:, 0] = DEC
    length = ids.shape[1]
    see = torch.zeros(size, QUERIES + length, QUERIES + length, dtype=torch.bool)
    see[:, :QUERIES, :QUERIES] = True
    for row in range(length):
        see[:, QUERIES + row, :QUERIES] = True
        see[:, QUERIES + row, QUERIES : QUERIES + row + 1] = mask[:, : row + 1].bool()
    hidden = qformer(qformer.project(tokens), texts=(target,), mask=see[:, None])[:, QUERIES:]
    head = module.generation
    words = head.norm(F.gelu(hidden @ head.transform.weight.T + head.transform.bias))
    vocabulary = words @ qformer.word_embeddings.weight.T + head.bias
    real = mask[:, 1:].bool()
    itg = smoothed(vocabulary[:, :-1][real], ids[:, 1:][real]).mean()
    return {"itc": itc, "itm": itm, "itg": itg}


@pytest.mark.parametrize("absorbed", [False, True])
def test_losses_and_gradients_equal_the_four_pass_form(absorbed: bool) -> None:
    module = branch(seed=5)
    module.branch.qformer.absorbed = absorbed
    for layer in module.branch.qformer.layers:
        if layer.cross_attention is not None:
            layer.cross_attention.absorbed = absorbed
    image, ids, mask = batch()
    tokens, _ = module.branch.encode(image)
    network = PretrainingNetwork(branches={"general": module})
    losses = network.train()(image, input_ids=ids, attention_mask=mask)
    losses["loss"].backward()
    gradients = {name: p.grad.clone() for name, p in module.named_parameters()}
    module.zero_grad()
    expected = four_pass_losses(module, tokens, ids, mask)
    sum(expected.values()).backward()
    for name, value in expected.items():
        torch.testing.assert_close(losses[f"general_{name}"], value, atol=1e-5, rtol=1e-5)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_two_branches_sum_with_weights() -> None:
    network = PretrainingNetwork(
        branches={"general": branch(), "detail": branch()},
        weights={"itc": 1.0, "itm": 0.5, "itg": 2.0, "sameness": 0.25},
    ).eval()
    image, ids, mask = batch()
    losses = network(image, input_ids=ids, attention_mask=mask)
    parts = {"itc": 1.0, "itm": 0.5, "itg": 2.0, "sameness": 0.25}
    expected = sum(w * losses[f"{b}_{o}"] for b in ("general", "detail") for o, w in parts.items())
    torch.testing.assert_close(losses["loss"], expected)
    network.learn(["detail"])
    torch.testing.assert_close(network(image, input_ids=ids, attention_mask=mask), losses)  # evaluation is of all
    learned = set(network.train()(image, input_ids=ids, attention_mask=mask))
    assert learned == {"loss", "detail_itc", "detail_itm", "detail_itg", "detail_sameness"}
    with pytest.raises(ValueError, match="deatil"):
        network.learn(["deatil"])


def test_cached_tokens_give_the_same_losses_as_images() -> None:
    network = PretrainingNetwork(branches={"general": branch()}).eval()
    image, ids, mask = batch()
    tokens, _ = network.branches["general"].branch.encode(image)
    from_images = network(image, input_ids=ids, attention_mask=mask)
    from_cache = network(general_tokens=tokens, input_ids=ids, attention_mask=mask)
    torch.testing.assert_close(from_images, from_cache)


def test_a_batch_of_one_trains_on_the_right_pair_only() -> None:
    network = PretrainingNetwork(branches={"general": branch()}).eval()
    image, ids, mask = (x[:1] for x in batch())
    losses = network(image, input_ids=ids, attention_mask=mask)
    module = network.branches["general"]
    tokens, _ = module.branch.encode(image)
    right = module.matching.logits(module.match(module.branch.project(tokens), ids, mask))
    torch.testing.assert_close(losses["general_itm"], F.cross_entropy(right, torch.tensor([1])))


def test_equal_captions_are_never_negatives_when_asked() -> None:
    module = branch(duplicates_are_positives=True)
    _, ids, _ = batch()
    ids[2] = ids[0]
    positives = module.positives(ids)
    assert positives[0, 2] and positives[2, 0] and positives.sum() == 6
    similarity = torch.zeros(4, 4)
    similarity[0, 2] = 50.0  # by far the most similar, and forbidden
    draws = [int(hard_negatives(similarity, positives, torch.rand(4, 4))[0]) for _ in range(50)]
    assert set(draws) == {1, 3}


def test_hard_negatives_follow_the_softmax() -> None:
    similarity = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(20000, -1)
    positives = torch.zeros(20000, 4, dtype=torch.bool)
    positives[:, 0] = True
    drawn = hard_negatives(similarity, positives, torch.rand(20000, 4))
    share = torch.bincount(drawn, minlength=4) / 20000
    expected = F.softmax(torch.tensor([float("-inf"), 1.0, 2.0, -1.0]), -1)
    torch.testing.assert_close(share, expected, atol=0.015, rtol=0)  # four standard deviations


def test_draws_go_on_from_a_saved_state_and_repeat_in_evaluation() -> None:
    module = branch().train()
    similarity, positives = torch.randn(4, 4), torch.eye(4, dtype=torch.bool)
    first = module.matching.draw(similarity, similarity, positives)
    twin = branch().train()
    twin.load_state_dict(module.state_dict())
    for left, right in zip(
        module.matching.draw(similarity, similarity, positives),
        twin.matching.draw(similarity, similarity, positives),
        strict=True,
    ):
        assert torch.equal(left, right)
    module.eval()
    repeats = [module.matching.draw(similarity, similarity, positives)[0] for _ in range(2)]
    assert torch.equal(*repeats)
    assert first[0].shape == (4,)


def test_text_that_generates_cannot_be_read_by_queries() -> None:
    module = branch().eval()
    image, ids, mask = batch()
    tokens, _ = module.branch.encode(image)
    other = ids.clone()
    other[:, 3] = (other[:, 3] + 7) % 48 + 1
    first = module(tokens, None, ids, mask)
    again = module(tokens, None, other, mask)
    memory = module.branch.project(tokens)
    torch.testing.assert_close(module.embed_images(memory), module.embed_images(memory))
    assert (first["itg"] - again["itg"]).abs() > 1e-4  # the words matter to generation


def test_sameness_is_what_queries_have_in_common_of_the_differences_between_images() -> None:
    generator = torch.Generator().manual_seed(0)
    of_images, of_queries = torch.randn(12, 1, 6, generator=generator), torch.randn(1, 4, 6, generator=generator)
    alike = of_images + of_queries  # queries differ, but each says the same of an image
    torch.testing.assert_close(sameness(alike), torch.tensor(1.0))
    apart = torch.randn(4000, 4, 6, generator=generator)
    torch.testing.assert_close(sameness(apart), torch.tensor(0.25), atol=0.01, rtol=0)
    assert sameness(apart[:1]) == 0  # one image differs from none
    assert sameness((100 * alike).bfloat16()).dtype == torch.float32


def test_sameness_as_a_loss_draws_the_queries_of_an_image_apart() -> None:
    """Beside the three objectives, against those alone."""
    found = {}
    for weight in (0.0, 1.0):
        module = branch(seed=5)
        image, ids, mask = batch(8)
        network = PretrainingNetwork(branches={"general": module}, weights={"sameness": weight}).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(30):
            losses = network(image, input_ids=ids, attention_mask=mask)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
        found[weight] = float(
            sameness(network.score_pairs(image, input_ids=ids, attention_mask=mask)["general_queries"])
        )
    assert found[1.0] < 0.6 * found[0.0], found


@pytest.mark.parametrize("chunk", [1, 3, 4, 9])
def test_chunks_change_neither_losses_nor_gradients(chunk: int) -> None:
    """A chunk that divides the batch, one that does not, the whole batch, and more than that."""
    image, ids, mask = batch(8)
    results = {}
    for size in (0, chunk):
        torch.manual_seed(4)
        module = branch(contrastive_chunk=size, seed=5)
        network = PretrainingNetwork(branches={"general": module}, weights={"sameness": 1.0}).train()
        losses = network(image, input_ids=ids, attention_mask=mask)
        losses["loss"].backward()
        results[size] = losses, {name: p.grad for name, p in network.named_parameters()}
    for name, value in results[0][0].items():
        torch.testing.assert_close(results[chunk][0][name], value, atol=1e-6, rtol=1e-6, msg=name)
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(results[chunk][1][name], gradient, atol=1e-5, rtol=1e-4, msg=name)
    assert max(float(gradient.abs().max()) for gradient in results[0][1].values()) > 1e-2


def test_chunks_draw_the_same_dropout_in_both_passes() -> None:
    """The gradient belongs to the loss that was returned: checked by its derivative along a direction."""
    module = branch(contrastive_chunk=2, seed=5).double()
    module.branch.qformer.dropout = 0.4
    for layer in module.branch.qformer.layers:
        layer.self_attention.dropout = layer.query_feed_forward.dropout = 0.4
    network = PretrainingNetwork(branches={"general": module}).train()
    image, ids, mask = batch(4)
    weight = module.branch.qformer.query_tokens
    direction = torch.randn_like(weight)

    def loss_at(step: float) -> Tensor:
        torch.manual_seed(11)
        module.matching.draws.zero_()
        with torch.no_grad():
            weight.add_(direction, alpha=step)
        loss = network(image.double(), input_ids=ids, attention_mask=mask)["loss"]
        with torch.no_grad():
            weight.sub_(direction, alpha=step)
        return loss

    slope = (loss_at(3e-4) - loss_at(-3e-4)).item() / 6e-4
    torch.manual_seed(12)
    loss = loss_at(0.0)
    torch.rand(3)  # the generator has gone on when gradients are computed
    loss.backward()
    assert (weight.grad * direction).sum().item() == pytest.approx(slope, rel=3e-3)  # vectors are float32


def test_memory_for_backward_does_not_grow_with_a_chunked_batch() -> None:
    def kept(size: int, chunk: int) -> int:
        network = PretrainingNetwork(branches={"general": branch(contrastive_chunk=chunk)}).train()
        image, ids, mask = batch(size)
        owned = {value.untyped_storage().data_ptr() for value in network.state_dict().values()}
        storages: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage().data_ptr() not in owned:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = network(image, input_ids=ids, attention_mask=mask)["loss"]
        del loss
        return sum(storages.values())

    assert kept(16, 4) < 0.15 * kept(16, 0)


def test_score_pairs_gives_vectors_and_match_probabilities() -> None:
    network = PretrainingNetwork(branches={"general": branch()}).eval()
    image, ids, mask = batch()
    scored = network.score_pairs(image, input_ids=ids, attention_mask=mask)
    assert {name: tuple(scored[f"general_{name}"].shape) for name in ("images", "texts", "matches")} == {
        "images": (4, QUERIES, 16),
        "texts": (4, 16),
        "matches": (4, 3),
    }
    module = network.branches["general"]
    tokens, _ = module.branch.encode(image)
    memory = module.branch.project(tokens)
    torch.testing.assert_close(scored["general_images"], module.embed_images(memory))
    torch.testing.assert_close(scored["general_texts"], module.embed_texts(ids, mask))
    right = module.matching.logits(module.match(memory, ids, mask)).softmax(-1)[:, 1]
    torch.testing.assert_close(scored["general_matches"][:, 0], right)
    alone = network.score_pairs(image[:1], input_ids=ids[:1], attention_mask=mask[:1])["general_matches"]
    assert torch.isfinite(alone[:, 0]).all() and torch.isnan(alone[:, 1:]).all()
