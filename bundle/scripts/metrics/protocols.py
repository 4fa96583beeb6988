"""Protocols: how text is prepared before it is scored. A score without its protocol's name means nothing.

* ``coco``: Penn Treebank tokens, lower case, punctuation dropped (what `pycocoevalcap` does, brackets' quirk included).
* ``imageclef``: ImageCLEFmedical caption: lower case, then digits become "number", then ASCII punctuation is deleted,
  in that order. So "3.5 cm" is "numbernumber cm" and "T2-weighted" is "tnumberweighted".
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass

from scripts.errors import InputError
from scripts.metrics.ptb import coco_tokens

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def imageclef_text(caption: str) -> str:
    """A caption after ImageCLEFmedical's preprocessing."""
    return re.sub(r"\d+", "number", caption.lower()).translate(_PUNCTUATION)


def rouge_words(text: str) -> list[str]:
    """Words as the `rouge-score` package finds them without stemming: runs of a-z and 0-9."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).split()


@dataclass(frozen=True)
class Protocol:
    """A named way from caption to what the scores count.

    Args:
        name: ``coco`` or ``imageclef``.
        tokenizer: what readers of a table need to know about the tokens.
        text: caption to prepared text (for scores that read text, such as BERTScore).
        tokens: caption to tokens of BLEU, METEOR, ROUGE-L and CIDEr-D.
        rouge_tokens: caption to tokens of ROUGE-1.
    """

    name: str
    tokenizer: str
    text: Callable[[str], str]
    tokens: Callable[[str], list[str]]
    rouge_tokens: Callable[[str], list[str]]


PROTOCOLS = {
    "coco": Protocol("coco", "PTB 3.4.1, lower case, no punctuation", str.strip, coco_tokens, coco_tokens),
    "imageclef": Protocol(
        "imageclef",
        "lower case, digits to 'number', no ASCII punctuation, split at spaces",
        imageclef_text,
        lambda caption: imageclef_text(caption).split(),
        lambda caption: rouge_words(imageclef_text(caption)),
    ),
}


def protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        InputError: no such protocol.
    """
    if name not in PROTOCOLS:
        raise InputError(f"no protocol is called '{name}'; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
