"""Diverse and guided beams the slow way: Python lists, whole sequences, no cache, one caption at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Guide = Callable[[list[int], bool], float]  # a caption so far, and whether it has ended


@dataclass
class Group:
    running: list[tuple[float, list[int]]] = field(default_factory=lambda: [(0.0, [])])
    finished: list[tuple[float, list[int]]] = field(default_factory=list)
    open: bool = True


def next_logprobs(model: nn.Module, prefix: Tensor, caption: list[int]) -> Tensor:
    """Prefix `[P, D]` and the caption so far -> `[V]`."""
    embedded = model.get_input_embeddings()(torch.tensor(caption, dtype=torch.int64))
    with torch.no_grad():
        return model(inputs_embeds=torch.cat([prefix, embedded])[None]).logits[0, -1].log_softmax(dim=0)


def diverse_beams(
    model: nn.Module,
    prefix: Tensor,
    *,
    groups: int,
    size: int,
    penalty: float,
    length_penalty: float,
    tokens: int,
    end: int,
    guide: Guide | None = None,
) -> list[tuple[float, list[int]]]:
    """All finished captions of one prefix `[P, D]` with scores: the best of each group, the second of each, ..."""
    state = [Group() for _ in range(groups)]
    for step in range(tokens):
        chosen: Counter[int] = Counter()
        for group in state:
            advance(model, prefix, group, chosen, size, penalty, length_penalty, end, step + 1 == tokens, guide)
            chosen.update(caption[-1] for _, caption in group.running)
        if not any(group.open for group in state):
            break
    rounds = []
    for rank in range(size):
        rounds += sorted((group.finished[rank] for group in state), key=lambda found: -found[0])
    return rounds


def advance(
    model, prefix, group: Group, chosen: Counter, size, penalty, length_penalty, end, last: bool, guide: Guide | None
) -> None:
    wider = 1 if guide is None else 2
    candidates = []
    for score, caption in group.running:
        logprobs = next_logprobs(model, prefix, caption)
        for token, count in chosen.items():
            logprobs[token] -= penalty * count
        best = logprobs.topk(2 * size * wider)
        candidates += [
            (score + float(value), [*caption, int(token)])
            for value, token in zip(best.values, best.indices, strict=True)
        ]
    candidates = sorted(candidates, key=lambda candidate: -candidate[0])[: 2 * size * wider]
    if guide is not None:
        judged = []
        for score, caption in candidates:
            before = guide(caption[:-1], False) if len(caption) > 1 else 0.0
            judged.append((score - before + guide(caption, caption[-1] == end or last), caption))
        candidates = sorted(judged, key=lambda candidate: -candidate[0])[: 2 * size]
    if group.open:
        for score, caption in candidates[:size]:
            if caption[-1] == end or last:
                group.finished.append((score / len(caption) ** length_penalty, caption))
        group.finished = sorted(group.finished, key=lambda found: -found[0])[:size]
    group.running = [candidate for candidate in candidates if candidate[1][-1] != end][:size]
    length = len(group.running[0][1])
    full = len(group.finished) == size
    if full and group.running[0][0] / length**length_penalty <= group.finished[-1][0]:
        group.open = False
