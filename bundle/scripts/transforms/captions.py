"""Captions to token ids, as dictionary transforms."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from scripts.transforms.open_ended import finding_unknown


def clean_caption(text: str, *, style: str = "keep", max_words: int = 0) -> str:
    """Prepare a caption for training.

    Args:
        text: the caption.
        style: ``"keep"`` only joins runs of white space: sides, numbers and brackets carry meaning. ``"paper"`` does
            what the official code's text processor does: lower case, the characters ``.!"()*#:;~`` become spaces,
            and what remains of runs of spaces is joined.
        max_words: above 0, keep only so many words (50 in the official code).

    Raises:
        ValueError: another style.
    """
    if style == "paper":
        text = re.sub(r"([.!\"()*#:;~])", " ", text.lower())
    elif style != "keep":
        raise ValueError(f"caption style {style!r} is not known: use 'keep' or 'paper'")
    words = text.split()
    return " ".join(words[:max_words] if max_words else words)


class TokenizeCaptiond(MapTransform):
    """Add ``input_ids`` ``[T]`` (int64) of a caption.

    A caption whose item's ``fields`` say that the finding is not known is left open: its full stop and end token are
    left out. It stops where its source knows no more, not where nothing more is to be seen, so no model learns from it
    to stop there.

    Args:
        keys: of the captions; only the first is tokenized.
        tokenizer: a ``transformers`` tokenizer.
        max_tokens: longest sequence, the end token included.
        append_end: end with the tokenizer's end-of-text token and add no other special token (language model). False
            keeps the tokenizer's own special tokens (BERT's ``[CLS] ... [SEP]``).
        style, max_words: see :func:`clean_caption`.
    """

    def __init__(
        self,
        keys: KeysCollection = "caption",
        *,
        tokenizer: object,
        max_tokens: int = 64,
        append_end: bool = True,
        style: str = "keep",
        max_words: int = 0,
    ) -> None:
        super().__init__(keys)
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.append_end = append_end
        self.style = style
        self.max_words = max_words

    def tokenize(self, text: str, open_ended: bool = False) -> torch.Tensor:
        """Token ids ``[T]``; of a caption that is left open without full stop and end token."""
        text = clean_caption(text, style=self.style, max_words=self.max_words)
        text = text.removesuffix(".") if open_ended else text
        if not self.append_end:
            ids = self.tokenizer(text, truncation=True, max_length=self.max_tokens)["input_ids"]
            return torch.tensor(ids[:-1] if open_ended else ids)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][: self.max_tokens - 1]
        return torch.tensor(ids if open_ended else [*ids, self.tokenizer.eos_token_id])

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        result = dict(data)
        result["input_ids"] = self.tokenize(result[self.keys[0]], finding_unknown(result.get("fields")))
        return result


class DecodeCaptiond(MapTransform):
    """Put the text of a caption in the place of its token ids, for programs that run a bundle's ``postprocessing``.

    Args:
        keys: of token ids ``[T]``, or of what an inferer gives for one image: a dictionary that holds them as ``pred``,
            and the text, or why it is withheld, as ``captioned``.
        network: a `CaptionNetwork`, whose tokenizer and prompt count.
        rule: a `ConfidenceRule`, which says what of a text may be told when nothing else is known of it.
    """

    def __init__(self, keys: KeysCollection = "pred", *, network: Any, rule: Any = None) -> None:
        super().__init__(keys)
        self.network = network
        self.rule = rule

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        result = dict(data)
        for key in self.key_iterator(result):
            given = result[key] if isinstance(result[key], Mapping) else {"pred": result[key]}
            text = given.get("captioned")
            if text is None:
                [text] = self.network.captions(torch.as_tensor(given["pred"])[None])
            result[key] = text if self.rule is None else self.rule.told(text)
        return result
