"""A language model's tokenizer for measurements that need no text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class NoTokenizer:
    """Gives every text the same tokens, and every token no text.

    Args:
        prompt: token ids of any text.
        eos, pad: ids that end and fill a caption.
    """

    all_special_tokens: tuple[str, ...] = ()
    all_special_ids: tuple[int, ...] = ()

    def __init__(self, *, prompt: Sequence[int] = (), eos: int = 2, pad: int = 1) -> None:
        self.eos_token_id, self.pad_token_id = eos, pad
        self._prompt = list(prompt)

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": list(self._prompt)}

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return ""

    def batch_decode(self, rows: Tensor, **_: Any) -> list[str]:
        return [""] * len(rows)
