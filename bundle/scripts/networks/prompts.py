"""Prompts: words that a caption begins with because they were given; the network continues them.

A prompt that is spoken begins the caption: after "CT of the chest with no" the network writes "pleural effusion", and
without those words the caption would say the opposite. A question to the network is a prompt that is not spoken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.errors import InputError

MAX_TOKENS = 512
"""Of a prompt. Memory and time of a caption grow with each, and more than a page of words begins no caption."""


@dataclass(frozen=True)
class Prompt:
    """What stands before the caption of one image.

    Attributes:
        text: "" for none.
        is_spoken: the caption begins with these words, and is read with them.
    """

    text: str = ""
    is_spoken: bool = True

    @property
    def given(self) -> str:
        """The text where it is part of what is read, else ""."""
        return self.text if self.is_spoken else ""


def refuse_long(tokens: int) -> None:
    """Raises: InputError where a prompt has more than `MAX_TOKENS` tokens."""
    if tokens > MAX_TOKENS:
        raise InputError(f"the prompt has {tokens:,} tokens, at most {MAX_TOKENS} can begin a caption: shorten it")


def spoken(prompt: str, tokenizer: Any) -> str:
    """The words of a prompt: without marks such as ``</s>``, one space between them."""
    for mark in tokenizer.all_special_tokens:
        prompt = prompt.replace(mark, " ")
    return " ".join(prompt.split())


def continued(prompt: str, ids: Sequence[int], tokenizer: Any) -> str:
    """The words of a prompt, and those that the token ``ids`` add to it.

    Whether a space stands between the two is for the tokenizer to say, which decodes them together; the words of the
    prompt stay as they were given, also those that the tokenizer does not know.
    """
    given = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    head = tokenizer.decode(given, skip_special_tokens=True)
    whole = tokenizer.decode([*given, *ids], skip_special_tokens=True)
    added = (
        whole[len(head) :] if head and whole.startswith(head) else f" {tokenizer.decode(ids, skip_special_tokens=True)}"
    )
    gap = " " if prompt[-1:].isspace() else ""
    return " ".join((spoken(prompt, tokenizer) + gap + added).split())
