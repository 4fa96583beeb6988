"""Greedy decoding and sampling over a `Decoder`, one step at a time, so that tokens can be shown as they come.

Legend: B images in the batch now, R captions an image, N = B * R, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from scripts.generation.decoders import Decoder
from scripts.generation.options import GenerationOptions, Step
from scripts.generation.scoring import Scoring
from scripts.generation.stopping import Stopping


class TokenChoice:
    """Scores `[N, V]` -> tokens `[N]`: the likeliest, or drawn.

    With a seed every image has its own random stream, all begun alike: an image's captions do not depend on its batch.
    """

    def __init__(self, options: GenerationOptions, images: int, device: torch.device) -> None:
        self.sampled = options.do_sample
        self.streams: list[torch.Generator] | None = None
        if options.do_sample and options.seed is not None:
            self.streams = [torch.Generator(device).manual_seed(options.seed) for _ in range(images)]

    @property
    def images_are_independent(self) -> bool:
        """Whether taking an image out of the batch leaves the others' tokens as they are."""
        return not self.sampled or self.streams is not None

    def __call__(self, scores: Tensor) -> Tensor:
        if not self.sampled:
            return scores.argmax(dim=1)
        probabilities = scores.softmax(dim=1)
        if self.streams is None:
            return torch.multinomial(probabilities, 1).squeeze(1)
        images = probabilities.unflatten(0, (len(self.streams), -1))
        drawn = [torch.multinomial(p, 1, generator=g) for p, g in zip(images, self.streams, strict=True)]
        return torch.cat(drawn).squeeze(1)

    def keep_rows(self, rows: Tensor) -> None:
        """Forget all images but `rows [B]`."""
        if self.streams is not None:
            self.streams = [self.streams[row] for row in rows.tolist()]


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
        choice = TokenChoice(self.options, len(images), prefix.device)
        self.ended = torch.zeros(len(images) * self.captions, dtype=torch.bool, device=prefix.device)
        written = self.ended.new_full((len(self.ended), self.options.max_new_tokens), self.pad, dtype=torch.int64)
        logits = self.decoder.prefill(prefix, mask).repeat_interleave(self.captions, dim=0)
        for step in range(self.options.max_new_tokens):
            rows = self._captions_of(images)
            logits = logits.float()
            chosen = choice(self.scoring(written[rows, :step], logits))
            yield self._record(written, rows, chosen, logits, step)
            if bool(self.ended.all()):
                return
            images, going = self._going(images, choice)
            if going is not None:
                self.decoder.keep_rows(going)
                choice.keep_rows(going)
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
        self.ended = self.ended | (live & self.stopping(written[:, : step + 1]))
        return Step(written[:, step].clone(), logprobs, live, self.ended.clone())

    def _going(self, images: Tensor, choice: TokenChoice) -> tuple[Tensor, Tensor | None]:
        """Images that go on, and which rows of the present batch they are (`None`: all)."""
        done = self.ended.unflatten(0, (-1, self.captions)).all(dim=1)[images]
        if not choice.images_are_independent or not bool(done.any()):
            return images, None
        going = (~done).nonzero().flatten()
        return images[going], going
