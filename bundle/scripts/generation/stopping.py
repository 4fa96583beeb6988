"""End of a caption before its greatest length: an end token or a stop string."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.generation.options import GenerationOptions


class TextDecoder(Protocol):
    """The part of a transformers tokenizer that stop strings need."""

    def decode(self, token_ids: list[int]) -> str:
        """The text of token ids."""


class Stopping:
    """Says which captions end with their newest token; `ends [E]` are the end tokens."""

    def __init__(self, options: GenerationOptions, ends: Tensor, tokenizer: TextDecoder | None) -> None:
        if options.stop_strings and tokenizer is None:
            raise InputError(
                "Stop strings need a tokenizer; give one to Generator(tokenizer=...) or drop stop_strings."
            )
        self.ends = ends
        self.strings = options.stop_strings
        self.tokenizer = tokenizer

    def __call__(self, captions: Tensor) -> Tensor:
        """New tokens so far `[N, t]`, t >= 1 -> `[N]` bool."""
        ended = torch.isin(captions[:, -1], self.ends)
        if self.strings:
            texts = [self._completes(caption) for caption in captions.tolist()]
            ended = ended | torch.tensor(texts, device=ended.device)
        return ended

    def _completes(self, caption: list[int]) -> bool:
        """Whether the newest token made a stop string appear that the text before it did not have."""
        text = self.tokenizer.decode(caption)
        found = [string for string in self.strings if string in text]
        if not found:
            return False
        before = self.tokenizer.decode(caption[:-1]) if len(caption) > 1 else ""
        return any(text.count(string) > before.count(string) for string in found)
