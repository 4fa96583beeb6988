"""Greedy decoding and sampling over a `Decoder`, one step at a time, so that tokens can be shown as they come.

Legend: B images in the batch now, R captions an image, N = B * R, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from scripts.generation.decoders import Decoder
from scripts.generation.drawing import Draws
from scripts.generation.options import GenerationOptions, Step
from scripts.generation.stopping import Stopping
from scripts.generation.token_scores import Scoring


class Sampler:
    """R captions an image, each token chosen on its own."""

    def __init__(
        self, decoder: Decoder, options: GenerationOptions, scoring: Scoring, stopping: Stopping, pad: int
    ) -> None:
        self.decoder, self.options, self.scoring, self.stopping, self.pad = decoder, options, scoring, stopping, pad
        self.captions = options.num_return

    def steps(self, prefix: Tensor, mask: Tensor) -> Iterator[Step]:
        """Left-padded prefix `[B, P, D]` and mask `[B, P]` bool -> a `Step` a token, until every caption has ended."""
        images = torch.arange(len(prefix), device=prefix.device)
        self.draws = Draws(self.options.seed, len(images), prefix.device)
        self.ended = torch.zeros(len(images) * self.captions, dtype=torch.bool, device=prefix.device)
        written = self.ended.new_full((len(self.ended), self.options.max_new_tokens), self.pad, dtype=torch.int64)
        logits = self.decoder.prefill(prefix, mask).repeat_interleave(self.captions, dim=0)
        for step in range(self.options.max_new_tokens):
            rows = self._captions_of(images)
            logits = logits.float()
            chosen = self._choose(self.scoring(written[rows, :step], logits))
            yield self._record(written, rows, chosen, logits, step)
            if bool(self.ended.all()):
                return
            images = self._going(images)
            tokens = written[self._captions_of(images), step].unflatten(0, (len(images), self.captions))
            logits = self.decoder.step(tokens, None).flatten(0, 1)

    def _captions_of(self, images: Tensor) -> Tensor:
        """Images `[B]` -> their rows in the outputs, `[N]`."""
        return (images[:, None] * self.captions + torch.arange(self.captions, device=images.device)).flatten()

    def _record(self, written: Tensor, rows: Tensor, chosen: Tensor, logits: Tensor, step: int) -> Step:
        """Write the chosen tokens of output rows `rows [N]` and say what happened, for all output rows."""
        live = ~self.ended
        written[rows, step] = torch.where(live[rows], chosen, self.pad)
        own = logits.gather(1, chosen[:, None]).squeeze(1) - logits.logsumexp(dim=1)
        logprobs = own.new_zeros(len(written)).index_copy(0, rows, own) * live
        last = step + 1 == self.options.max_new_tokens
        self.ended = self.ended | (live & self.stopping(written[:, : step + 1])) | last
        return Step(written[:, step].clone(), logprobs, live, self.ended.clone())

    def _choose(self, scores: Tensor) -> Tensor:
        """Scores `[N, V]` -> tokens `[N]`: the likeliest, or drawn."""
        if not self.options.do_sample:
            return scores.argmax(dim=1)
        return self.draws(scores.softmax(dim=1), 1).squeeze(1)

    def _going(self, images: Tensor) -> Tensor:
        """Take images whose captions have all ended out of the batch; returns the others."""
        done = self.ended.unflatten(0, (-1, self.captions)).all(dim=1)[images]
        if not bool(done.any()) or (self.options.do_sample and not self.draws.independent):
            return images
        going = (~done).nonzero().flatten()
        self.decoder.keep_rows(going)
        self.draws.keep_rows(going)
        return images[going]
