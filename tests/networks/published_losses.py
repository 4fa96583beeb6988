"""Stage 1 of BLIP-2 written from its published formulas, apart from product code: plain functions of a state dict.

Four passes, as published: images alone, texts alone, image-text pairs, and the text to generate after the cached keys
and values of the queries. Li et al., ICML 2023 (arXiv 2301.12597), sections 3.1 and 3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

State = dict[str, Tensor]
Cache = list[tuple[Tensor, Tensor]]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: State, name: str, x: Tensor, eps: float = 1e-12) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attention(state: State, name: str, x: Tensor, keys: Tensor, values: Tensor, see: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over the columns that ``see`` ``[B, S, K]`` allows, with residual and norm."""
    size = x.shape[-1] // heads
    query = linear(state, f"{name}.query", x)
    parts = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[..., part] @ keys[..., part].transpose(1, 2) / math.sqrt(size)
        scores = scores.masked_fill(~see, float("-inf"))
        exponents = (scores - scores.amax(-1, keepdim=True)).exp()
        parts.append(exponents / exponents.sum(-1, keepdim=True) @ values[..., part])
    return norm(state, f"{name}.norm", x + linear(state, f"{name}.output", torch.cat(parts, dim=-1)))


def feed_forward(state: State, name: str, x: Tensor) -> Tensor:
    return norm(state, f"{name}.norm", x + linear(state, f"{name}.contract", gelu(linear(state, f"{name}.expand", x))))


def embed(state: State, ids: Tensor) -> Tensor:
    return state["word_embeddings.weight"][ids] + state["position_embeddings.weight"][: ids.shape[1]]


def run(
    state: State,
    *,
    queries: Tensor | None,
    ids: Tensor | None,
    see: Tensor,
    images: Tensor | None = None,
    past: Cache | None = None,
    heads: int = 4,
) -> tuple[Tensor, Cache]:
    """Hidden states of ``[queries | text]`` and every layer's self-attention keys and values.

    Args:
        state: of a Q-Former.
        queries: ``[B, Q, H]`` or None; ids: ``[B, T]`` or None; see: ``[B, S, past + S]``.
        images: encoder tokens ``[B, N, C]`` that the queries attend in every second layer.
        past: keys and values that stand before this pass's own.
    """
    parts = [part for part in (queries, None if ids is None else embed(state, ids)) if part is not None]
    hidden = norm(state, "embedding_norm", torch.cat(parts, dim=1))
    count = 0 if queries is None else queries.shape[1]
    cache: Cache = []
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("layers."))
    for number in range(depth):
        layer = f"layers.{number}"
        keys, values = (linear(state, f"{layer}.self_attention.{part}", hidden) for part in ("key", "value"))
        cache.append((keys, values))
        if past is not None:
            keys, values = (torch.cat([old, new], dim=1) for old, new in zip(past[number], (keys, values), strict=True))
        hidden = attention(state, f"{layer}.self_attention", hidden, keys, values, see, heads)
        query, text = hidden[:, :count], hidden[:, count:]
        if count and number % 2 == 0:
            name = f"{layer}.cross_attention"
            keys, values = (linear(state, f"{name}.{part}", images) for part in ("key", "value"))
            everything = torch.ones(len(query), count, images.shape[1], dtype=torch.bool)
            query = attention(state, name, query, keys, values, everything, heads)
        query = feed_forward(state, f"{layer}.query_feed_forward", query) if count else query
        text = feed_forward(state, f"{layer}.text_feed_forward", text) if text.shape[1] else text
        hidden = torch.cat([query, text], dim=1)
    return hidden, cache


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Mean over rows of -sum_k y_k log p_k with y = (1 - smoothing) onehot + smoothing / K."""
    logs = logits - logits.logsumexp(-1, keepdim=True)
    right = torch.stack([row[label] for row, label in zip(logs, labels.tolist(), strict=True)])
    return -((1 - smoothing) * right + smoothing * logs.mean(-1)).mean()


def drawn(scores: Tensor, noise: Tensor) -> Tensor:
    """One wrong partner a row from softmax(scores) without the diagonal, by the Gumbel-max rule on given noise."""
    scores, rows = scores.detach(), []
    for row in range(len(scores)):
        wrong = [column for column in range(scores.shape[1]) if column != row]
        keys = {column: float(scores[row, column]) - math.log(-math.log(float(noise[row, column]))) for column in wrong}
        rows.append(max(keys, key=keys.get))
    return torch.tensor(rows)


def losses(
    state: State, tokens: Tensor, ids: Tensor, mask: Tensor, *, noise: Tensor, decoder: int, smoothing: float = 0.1
) -> dict[str, Tensor]:
    """``itc``, ``itm``, ``itg`` of B pairs.

    Args:
        state: of a ``PretrainingBranch`` without its encoder.
        tokens: encoder tokens ``[B, N, C]``; ids, mask: ``[B, T]``.
        noise: ``[2, B, B]``, uniform: of the wrong image for each text, of the wrong text for each image.
        decoder: id that stands first in a text to generate.
    """
    own = {key.removeprefix("branch.qformer."): value for key, value in state.items()}
    images = norm(state, "branch.token_norm", tokens, eps=1e-5)
    size, length = ids.shape
    count = own["query_tokens"].shape[1]
    queries = own["query_tokens"].expand(size, -1, -1)
    ones, real = torch.ones(size, count, dtype=torch.bool), mask.bool()

    # 1 and 2: images alone, texts alone -> contrast
    alone, cache = run(own, queries=queries, ids=None, see=ones[:, None].expand(-1, count, -1), images=images)
    text, _ = run(own, queries=None, ids=ids, see=real[:, None].expand(-1, length, -1))
    v, t = linear(state, "contrast.image_projection", alone), linear(state, "contrast.text_projection", text[:, 0])
    v, t = (x / x.square().sum(-1, keepdim=True).sqrt() for x in (v, t))
    best = torch.stack([torch.stack([(v[i] @ t[j]).max() for j in range(size)]) for i in range(size)])
    scores = best / state["contrast.temperature"]
    diagonal = torch.arange(size)
    itc = (cross_entropy(scores, diagonal, smoothing) + cross_entropy(scores.T, diagonal, smoothing)) / 2

    # 3: right pairs, every text with a wrong image, every image with a wrong text -> matching
    image_rows = torch.cat([diagonal, drawn(scores.T, noise[0]), diagonal])
    text_rows = torch.cat([diagonal, diagonal, drawn(scores, noise[1])])
    see = torch.cat([ones.repeat(3, 1), real[text_rows]], dim=1)[:, None].expand(-1, count + length, -1)
    both, _ = run(own, queries=queries.repeat(3, 1, 1), ids=ids[text_rows], see=see, images=images[image_rows])
    matches = torch.cat([torch.ones(size), torch.zeros(2 * size)]).long()
    itm = cross_entropy(linear(state, "matching.head", both[:, :count]).mean(1), matches, 0.0)

    # 4: the text to generate after the queries' cached keys and values -> generation
    given = ids.clone()
    given[:, 0] = decoder
    causal = torch.ones(length, length, dtype=torch.bool).tril() & real[:, None]
    see = torch.cat([ones[:, None].expand(-1, length, -1), causal], dim=2)
    hidden, _ = run(own, queries=None, ids=given, see=see, past=cache)
    head = norm(state, "generation.norm", gelu(linear(state, "generation.transform", hidden)))
    logits = head @ own["word_embeddings.weight"].T + state["generation.bias"]
    wanted = real[:, 1:]
    itg = cross_entropy(logits[:, :-1][wanted], ids[:, 1:][wanted], smoothing)
    return {"itc": itc, "itm": itm, "itg": itg}
