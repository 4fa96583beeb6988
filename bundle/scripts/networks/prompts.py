"""The words that somebody gives for a caption to continue: with what the network writes after them they are the text.

A caption without them says something else: after "CT of the chest with no" the network writes "pleural effusion".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["continued", "spoken"]


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
