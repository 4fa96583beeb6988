"""`Generator`: prefix embeddings in, captions as token ids out; it knows nothing of images.

Legend: B images, P prefix positions, D width of the language model's embeddings, R captions an image, T new tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.generation.beams import BeamSearch, Guide
from scripts.generation.decoders import (
    Decoder,
    ReorderingDecoder,
    SharedPrefixDecoder,
    base_model,
    supports_shared_prefix,
)
from scripts.generation.options import Generated, GenerationOptions, Step, Watch, mean_logprobs
from scripts.generation.packing import can_be_packed, packed, worth_packing
from scripts.generation.sampling import Sampler
from scripts.generation.stopping import Stopping, TextDecoder
from scripts.generation.token_scores import Scoring


class Generator:
    """Decodes captions with a transformers causal language model that takes `inputs_embeds` and a cache.

    Tokens equal those of `transformers.generate(inputs_embeds=...)` in float32. One deliberate difference: with
    left-padded prefixes transformers lets the repetition penalty skip as many new tokens as a row has padding; here a
    caption does not depend on the padding.

    Args:
        language_model: e.g. `OPTForCausalLM`, `LlamaForCausalLM`, or one of these inside a PEFT wrapper.
        eos_token_id: end token or tokens; `None` lets every caption reach `max_new_tokens`.
        pad_token_id: fills captions that ended.
        tokenizer: only for `stop_strings` and `no_repeated_words`; anything with `decode(list of ids) -> str`.
        suppress_tokens: token ids that no caption may have, as the option of that name in transformers.
        shared_prefix: `True`/`False` overrides the choice between the shared-prefix decoder and the reordering one;
            `None` takes the shared prefix for architectures where it is tested.
        pack_weights: keep a second copy of the linear weights in the layout that the CPU multiplies fastest
            (`scripts.generation.packing`): same precision, 2-3x faster steps. `None` does so for frozen models on a CPU
            whose copy is at most 2 GiB; `True` raises where it is impossible.
    """

    def __init__(
        self,
        language_model: nn.Module,
        *,
        eos_token_id: int | Sequence[int] | None,
        pad_token_id: int,
        tokenizer: TextDecoder | None = None,
        suppress_tokens: Sequence[int] = (),
        shared_prefix: bool | None = None,
        pack_weights: bool | None = None,
    ) -> None:
        ends = [] if eos_token_id is None else [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
        self.language_model = language_model
        self.ends = torch.tensor(ends, dtype=torch.int64)
        self.pad = pad_token_id
        self.tokenizer = tokenizer
        self.suppressed = torch.tensor(list(suppress_tokens), dtype=torch.int64)
        self.shared_prefix = shared_prefix
        self.pack_weights = pack_weights
        self._packed: tuple[list[int], nn.Module] | None = None

    @torch.no_grad()
    def generate(
        self,
        prefix: Tensor,
        prefix_mask: Tensor | None,
        options: GenerationOptions,
        guide: Guide | None = None,
        watch: Watch | None = None,
    ) -> Generated:
        """Caption each prefix.

        Args:
            prefix: `[B, P, D]`, any floating-point type.
            prefix_mask: `[B, P]`, non-zero where a position counts; padding may stand anywhere. `None`: all count.
            options: how captions are decoded.
            guide: has a say in which beams are kept and which caption is best; sequence scores hold its part.
            watch: told of each step; not while sampling several captions an image.

        Raises:
            InputError: shapes do not fit, a row has no position or a value that is not finite, or prefix and new
                tokens are more than the model has positions for; a guide without beams, or with sampling.
        """
        if guide is not None and (options.num_beams == 1 or options.do_sample):
            raise InputError("A guide chooses among beams: set num_beams above 1 and do_sample to false.")
        prefix, mask = self._prepared(prefix, prefix_mask, options)
        if options.num_beams > 1:
            with evaluating(self._model()):
                return BeamSearch(*self._parts(prefix, options), guide).run(prefix, mask, watch)
        steps: list[Step] = []
        for step in self.stream(prefix, mask, options):
            steps.append(step)
            if watch is not None and options.num_return == 1:
                written = torch.stack([one.tokens for one in steps], dim=1)
                watch(torch.arange(len(written), device=written.device), written)
        shape = (len(steps[0].tokens), options.max_new_tokens)
        token_ids = torch.full(shape, self.pad, dtype=torch.int64, device=prefix.device)
        logprobs = torch.zeros(shape, device=prefix.device)
        token_ids[:, : len(steps)] = torch.stack([step.tokens for step in steps], dim=1)
        logprobs[:, : len(steps)] = torch.stack([step.logprobs for step in steps], dim=1)
        lengths = torch.stack([step.live for step in steps]).sum(dim=0)
        return Generated(token_ids, logprobs, lengths, mean_logprobs(logprobs, lengths))

    @torch.no_grad()
    def stream(self, prefix: Tensor, prefix_mask: Tensor | None, options: GenerationOptions) -> Iterator[Step]:
        """Like `generate`, without beams, giving each token as soon as it is known."""
        if options.num_beams > 1:
            raise InputError(
                f"Beams cannot be streamed; set num_beams to 1 (it is {options.num_beams}) or use generate."
            )
        prefix, mask = self._prepared(prefix, prefix_mask, options)
        with evaluating(self._model()):
            yield from Sampler(*self._parts(prefix, options)).steps(prefix, mask)

    def _parts(
        self, prefix: Tensor, options: GenerationOptions
    ) -> tuple[Decoder, GenerationOptions, Scoring, Stopping, int]:
        ends = self.ends.to(prefix.device)
        stopping = Stopping(options, ends, self.tokenizer)
        scoring = Scoring(options, ends, self.tokenizer, self.suppressed.to(prefix.device))
        return self._decoder(prefix, options), options, scoring, stopping, self.pad

    def _model(self) -> nn.Module:
        """The model to decode with. Decided at each call: devices, types and frozen weights may change in between."""
        wanted = worth_packing(self.language_model) if self.pack_weights is None else self.pack_weights
        if not wanted:
            return self.language_model
        if not can_be_packed(self.language_model):
            raise InputError(
                "pack_weights needs a float32 or bfloat16 language model on a CPU with oneDNN; set it to false or null."
            )
        parts = [id(part) for part in self.language_model.modules()]  # an adapter put in later changes them
        if self._packed is None or self._packed[0] != parts:
            self._packed = parts, packed(self.language_model)
        return self._packed[1]

    def _decoder(self, prefix: Tensor, options: GenerationOptions) -> Decoder:
        captions = options.num_beams if options.num_beams > 1 else options.num_return
        shared = self.shared_prefix
        if shared is None:
            shared = supports_shared_prefix(self.language_model, prefix.shape[1] + options.max_new_tokens)
        if shared:
            return SharedPrefixDecoder(self._model(), captions=captions, max_new_tokens=options.max_new_tokens)
        return ReorderingDecoder(self._model(), captions=captions)

    def _prepared(self, prefix: Tensor, mask: Tensor | None, options: GenerationOptions) -> tuple[Tensor, Tensor]:
        """Checked, left-padded prefix in the model's type, and its mask as bool."""
        if prefix.ndim != 3 or prefix.shape[0] == 0:
            raise InputError(
                f"A prefix has the shape [images, positions, width], images at least 1; got {tuple(prefix.shape)}."
            )
        if mask is None:
            mask = torch.ones(prefix.shape[:2], dtype=torch.bool, device=prefix.device)
        if mask.shape != prefix.shape[:2]:
            raise InputError(
                f"The prefix mask has the shape {tuple(mask.shape)}; it must be {tuple(prefix.shape[:2])}."
            )
        mask = mask != 0
        empty = (~mask.any(dim=1)).nonzero().flatten().tolist()
        if empty:
            raise InputError(f"Prefix rows {empty} have no position that counts; give each row at least one.")
        wrong = (~(prefix.isfinite().all(dim=2) | ~mask).all(dim=1)).nonzero().flatten().tolist()
        if wrong:
            raise InputError(f"Prefix rows {wrong} hold values that are not finite; check the image and the weights.")
        prefix, mask = left_padded(prefix, mask)
        limit = getattr(base_model(self.language_model).config, "max_position_embeddings", None)
        if limit is not None and prefix.shape[1] + options.max_new_tokens > limit:
            raise InputError(
                f"{prefix.shape[1]} prefix positions and {options.max_new_tokens} new tokens are more than the {limit} "
                "positions that the language model has; lower max_new_tokens or shorten the prompt."
            )
        return prefix.to(next(self.language_model.parameters()).dtype), mask


def left_padded(prefix: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the positions that count to the right end of each row, keeping their order, and drop common padding.

    Args:
        prefix: `[B, P, D]`.
        mask: `[B, P]` bool.

    Returns:
        Prefix `[B, P', D]` and mask `[B, P']` with `P' <= P`; padding is zero.
    """
    if bool(mask.all()):
        return prefix, mask
    longest = int(mask.sum(dim=1).max())
    order = mask.int().argsort(dim=1, stable=True)[:, -longest:]
    mask = mask.gather(1, order)
    rows = torch.arange(len(prefix), device=prefix.device)[:, None]
    return prefix[rows, order].masked_fill(~mask[:, :, None], 0.0), mask


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the former mode after: drop-out would make captions random."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
