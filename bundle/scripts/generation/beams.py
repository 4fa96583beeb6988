"""Beam search, diverse beam search and guided beam search over a `Decoder`.

The candidates, the length penalty and the three ways to stop are those of `transformers.generate`, so tokens are
identical in float32 (drawn ones with version 5.24 and later, which also sort what they draw). Two differences change
no token: an image whose result is final leaves the batch, and per-token log-probabilities of the unmodified model are
kept.

A `Guide` that judges unfinished captions has its say in every step, not only over the captions that the language model
alone would have finished (cf. Yang and Klein, NAACL 2021, arXiv 2104.05218). transformers has no such search. What it
gives is part of the score, and divided by `length ** length_penalty` with the rest when a caption is finished.

Legend: B images in the batch now, K beams (of one group), C candidates, V vocabulary, T `max_new_tokens`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from scripts.generation.decoders import Decoder
from scripts.generation.drawing import Draws
from scripts.generation.options import Generated, GenerationOptions, Watch
from scripts.generation.stopping import Stopping
from scripts.generation.token_scores import Scoring

WIDER = 2  # times as many candidates are shown to a guide: one that it likes may stand lower in the model's order
NEVER = -1.0e9  # a score that no caption reaches; finite, so that sums with it stay ordered
DROP_SHARE = 0.25  # finished images leave the batch when they are this share of it: moving caches has a price


class Guide(Protocol):
    """A second judge of captions, beside the language model."""

    def __call__(self, images: Tensor, captions: Tensor, ended: Tensor) -> Tensor:
        """What is added to the log-probabilities of captions, before the length penalty divides the sum.

        Args:
            images: `[B]`, the places that the images had in the batch that decoding began with.
            captions: `[B, C, t]`, their first t tokens.
            ended: `[B, C]` bool. For a caption that goes on, an upper bound of what its continuations may get serves
                best: then no caption is given up for words that it has still to say.

        Returns:
            `[B, C]` float32 of a whole caption, not of its last token.
        """
        ...


ImageGuide = Callable[[Tensor, Tensor], Tensor]  # a `Guide` that knows its images


@dataclass
class _Candidates:
    """Continuations of each image's beams; a row each, best first.

    Attributes:
        scores: `[B, C]` log-probabilities under all rules, with what a guide gave.
        guidance: `[B, C]` the guide's part of it.
        parents: `[B, C]` the beam continued.
        captions, logprobs: `[B, C, T]`.
        ended: `[B, C]` bool.
    """

    scores: Tensor
    guidance: Tensor
    parents: Tensor
    captions: Tensor
    logprobs: Tensor
    ended: Tensor

    def take(self, places: Tensor) -> _Candidates:
        """Those at `places [B, N]`."""
        image = torch.arange(len(places), device=places.device)[:, None]
        return _Candidates(*(getattr(self, part.name)[image, places] for part in fields(self)))


class Beams:
    """The K running and the K best finished captions of each image, for one group of beams."""

    ROWS = (
        "tokens",
        "logprobs",
        "scores",
        "guidance",
        "best_tokens",
        "best_logprobs",
        "best_scores",
        "best_lengths",
        "is_full",
        "open",
    )

    def __init__(self, options: GenerationOptions, *, images: int, beams: int, ends: int, pad: int, device) -> None:
        self.options, self.beams = options, beams
        # With E end tokens at most E candidates a beam can end, so this many always leave K that go on.
        self.candidates = max(2, 1 + ends) * beams
        shape = (images, beams, options.max_new_tokens)
        self.tokens = torch.full(shape, pad, dtype=torch.int64, device=device)
        self.logprobs = torch.zeros(shape, device=device)
        self.scores = torch.zeros(shape[:2], device=device)
        self.scores[:, 1:] = NEVER  # all beams start alike: only the first may branch
        self.guidance = torch.zeros(shape[:2], device=device)  # a guide's part of the scores
        self.best_tokens = self.tokens.clone()
        self.best_logprobs = self.logprobs.clone()
        self.best_scores = torch.full(shape[:2], NEVER, device=device)
        self.best_lengths = torch.zeros(shape[:2], dtype=torch.int64, device=device)
        self.is_full = torch.zeros(shape[:2], dtype=torch.bool, device=device)  # a slot of `best_*` is taken
        self.open = torch.ones(images, dtype=torch.bool, device=device)  # the result may still change

    def advance(
        self, raw: Tensor, processed: Tensor, step: int, stopping: Stopping, draws: Draws, guide: ImageGuide | None
    ) -> Tensor:
        """Give each running caption its token `step`.

        Args:
            raw: `[B, K, V]` log-probabilities of the model.
            processed: `[B, K, V]` the same after scoring rules.
            step: how many tokens each running caption has.
            stopping: says which candidates end.
            draws: chooses candidates when sampling.
            guide: judges candidates, of the images in the batch now.

        Returns:
            `[B, K]` the beam that each new running caption continues.
        """
        last = step + 1 == self.options.max_new_tokens
        made = self._candidates(raw, processed, step, stopping, draws, wider=1 if guide is None else WIDER)
        if guide is not None:
            made = self._guided(made, guide, step, last)
        self._finish(made.scores, made.captions, made.logprobs, made.ended | last, step)
        self.scores, kept = (made.scores + made.ended * NEVER).topk(self.beams)
        going = made.take(kept)
        self.tokens, self.logprobs, self.guidance = going.captions, going.logprobs, going.guidance
        self._close(step)
        return going.parents

    def _candidates(
        self, raw: Tensor, processed: Tensor, step: int, stopping: Stopping, draws: Draws, wider: int
    ) -> _Candidates:
        """The best, or drawn, continuations `[B, C * wider]`, with the guidance that their parents had."""
        scores, flat = self._chosen(processed + self.scores[:, :, None], draws, self.candidates * wider)
        parents, tokens = flat // raw.shape[2], flat % raw.shape[2]
        image = torch.arange(len(raw), device=raw.device)[:, None]
        captions = self.tokens[image, parents]
        captions[:, :, step] = tokens
        logprobs = self.logprobs[image, parents]
        logprobs[:, :, step] = raw[image, parents, tokens]
        ended = stopping(captions[:, :, : step + 1].flatten(0, 1)).unflatten(0, tokens.shape)
        return _Candidates(scores, self.guidance[image, parents], parents, captions, logprobs, ended)

    def _guided(self, made: _Candidates, guide: ImageGuide, step: int, last: bool) -> _Candidates:
        """The C candidates that are best by what the guide says of them, instead of what it said of their parents."""
        guidance = guide(made.captions[:, :, : step + 1], made.ended | last)
        made.scores, made.guidance = made.scores - made.guidance + guidance, guidance
        return made.take(made.scores.topk(self.candidates).indices)

    def _chosen(self, total: Tensor, draws: Draws, count: int) -> tuple[Tensor, Tensor]:
        """Accumulated scores `[B, K, V]` -> the best, or drawn, `count`: scores and flat indices `[B, count]`."""
        total = total.flatten(1)
        if not self.options.do_sample:
            best = total.topk(min(count, total.shape[1]))
            return best.values, best.indices
        drawn = draws(total.softmax(dim=1), count)
        scores, order = total.gather(1, drawn).sort(dim=1, descending=True)  # later steps want the best first
        return scores, drawn.gather(1, order)

    def _finish(self, scores: Tensor, captions: Tensor, logprobs: Tensor, ended: Tensor, step: int) -> None:
        """Merge candidates that ended into the best finished captions. Only the first K candidates may enter.

        The length penalty divides the whole of `scores [B, C]`, a guide's part included.
        """
        ended = ended.clone()
        ended[:, self.beams :] = False
        scores = scores / (step + 1) ** self.options.length_penalty
        scores = scores + (~self._may_change())[:, None] * NEVER + ~ended * NEVER
        merged = torch.cat([self.best_scores, scores], dim=1)
        order = merged.topk(self.beams).indices
        image = torch.arange(len(order), device=order.device)[:, None]
        lengths = torch.full_like(ended, step + 1, dtype=torch.int64)
        self.best_scores = merged.gather(1, order)
        self.best_tokens = torch.cat([self.best_tokens, captions], dim=1)[image, order]
        self.best_logprobs = torch.cat([self.best_logprobs, logprobs], dim=1)[image, order]
        self.best_lengths = torch.cat([self.best_lengths, lengths], dim=1).gather(1, order)
        self.is_full = torch.cat([self.is_full, ended], dim=1).gather(1, order)

    def _close(self, step: int) -> None:
        """Note the images where no running caption is expected to beat the worst finished one."""
        options = self.options
        hopeful = options.early_stopping == "never" and options.length_penalty > 0
        length = options.max_new_tokens if hopeful else step + 1
        reachable = self.scores[:, :1] / length**options.length_penalty
        worst = torch.where(self.is_full, self.best_scores.min(dim=1, keepdim=True).values, NEVER)
        self.open = self.open & (reachable > worst).any(dim=1)

    def _may_change(self) -> Tensor:
        """`[B]` bool: a caption that ends now may still enter the result."""
        if self.options.early_stopping is True:
            return self.open & ~self.is_full.all(dim=1)
        return self.open

    @property
    def done(self) -> Tensor:
        """`[B]` bool: the result is final."""
        return ~self._may_change()

    def keep_rows(self, rows: Tensor) -> None:
        """Forget all images but `rows [N]`."""
        for name in self.ROWS:
            setattr(self, name, getattr(self, name)[rows])


class BeamSearch:
    """Beam search with `num_beam_groups` groups; one `Decoder` runs all groups' beams in one pass."""

    def __init__(
        self,
        decoder: Decoder,
        options: GenerationOptions,
        scoring: Scoring,
        stopping: Stopping,
        pad: int,
        guide: Guide | None = None,
    ) -> None:
        self.decoder, self.options, self.scoring, self.stopping, self.pad = decoder, options, scoring, stopping, pad
        self.guide = guide
        self.group_size = options.num_beams // options.num_beam_groups

    def run(self, prefix: Tensor, mask: Tensor, watch: Watch | None = None) -> Generated:
        """Left-padded prefix `[B, P, D]` and mask `[B, P]` bool -> the best `num_return` captions an image."""
        images = torch.arange(len(prefix), device=prefix.device)
        groups = [self._group(len(prefix), prefix.device) for _ in range(self.options.num_beam_groups)]
        results: list[tuple[Tensor, Generated]] = []
        self.draws = Draws(self.options.seed, len(prefix), prefix.device)
        may_drop = not self.options.do_sample or self.draws.independent
        logits = self.decoder.prefill(prefix, mask)[:, None].expand(-1, self.options.num_beams, -1)
        for step in range(self.options.max_new_tokens):
            parents = self._advance(groups, logits, step, images)
            if watch is not None:
                watch(images, groups[0].tokens[:, 0, : step + 1])
            done = torch.stack([group.done for group in groups]).all(dim=0)
            if step + 1 == self.options.max_new_tokens or bool(done.all()):
                break
            if may_drop and int(done.sum()) >= DROP_SHARE * len(images):
                results.append((images[done], self._result(groups, done)))
                going = (~done).nonzero().flatten()
                images, parents = images[going], parents[going]
                for part in (self.decoder, self.draws, *groups):
                    part.keep_rows(going)
            tokens = torch.cat([group.tokens[:, :, step] for group in groups], dim=1)
            logits = self.decoder.step(tokens, parents)
        results.append((images, self._result(groups, torch.ones_like(images, dtype=torch.bool))))
        return _in_order(results)

    def _group(self, images: int, device: torch.device) -> Beams:
        ends = len(self.stopping.ends)
        return Beams(self.options, images=images, beams=self.group_size, ends=ends, pad=self.pad, device=device)

    def _advance(self, groups: list[Beams], logits: Tensor, step: int, images: Tensor) -> Tensor:
        """One token for every beam; returns the parents over all groups `[B, num_beams]`."""
        guide = None if self.guide is None else partial(self.guide, images)
        raw = logits.float().log_softmax(dim=2)
        parents, chosen = [], []
        for number, group in enumerate(groups):
            first = number * self.group_size
            own = raw[:, first : first + self.group_size]
            scores = own
            if chosen and self.options.diversity_penalty > 0:
                scores = scores - self._penalty(torch.cat(chosen, dim=1), own)
            if self.scoring.rules:
                captions = group.tokens[:, :, :step].flatten(0, 1)
                scores = self.scoring(captions, scores.flatten(0, 1)).unflatten(0, own.shape[:2])
            parents.append(group.advance(own, scores, step, self.stopping, self.draws, guide) + first)
            chosen.append(group.tokens[:, :, step])
        return torch.cat(parents, dim=1)

    def _penalty(self, chosen: Tensor, like: Tensor) -> Tensor:
        """Hamming diversity: tokens `[B, n]` of earlier groups -> what each token costs, `[B, 1, V]`."""
        counts = like.new_zeros(like.shape[0], like.shape[2]).scatter_add_(
            1, chosen, torch.ones_like(chosen, dtype=like.dtype)
        )
        return self.options.diversity_penalty * counts[:, None]

    def _result(self, groups: list[Beams], rows: Tensor) -> Generated:
        """The best of every group, then the second of every group, ...; likeliest first within each round."""
        keep = self.options.num_return
        ranks = torch.arange(self.group_size, device=rows.device).repeat(len(groups))
        scores = torch.cat([group.best_scores[rows] for group in groups], dim=1)
        by_score = scores.argsort(dim=1, descending=True, stable=True)
        order = by_score.gather(1, ranks[by_score].argsort(dim=1, stable=True))[:, :keep]
        image = torch.arange(len(order), device=rows.device)[:, None]

        def pick(name: str) -> Tensor:
            return torch.cat([getattr(group, name)[rows] for group in groups], dim=1)[image, order]

        return Generated(pick("best_tokens"), pick("best_logprobs"), pick("best_lengths"), pick("best_scores"))


def _in_order(results: list[tuple[Tensor, Generated]]) -> Generated:
    """Results of some images each, in the order they left the batch -> one result `[B*R, ...]` in the images' order."""
    order = torch.cat([images for images, _ in results]).argsort()

    def join(name: str) -> Tensor:
        return torch.cat([getattr(result, name) for _, result in results])[order].flatten(0, 1)

    return Generated(join("token_ids"), join("token_logprobs"), join("lengths"), join("sequence_scores"))
