"""Penn Treebank tokens of captions, as the COCO scores expect them, in Python.

* Gives what the CoreNLP 3.4.1 tokeniser gives for English captions with ``-preserveLines -lowerCase`` (the tests run
  both on real and generated captions), without Java and about as fast.
* `coco_tokens` then drops the punctuation that `pycocoevalcap` drops. Brackets are not dropped: that list spells
  them in upper case and the text is already lower case, so "(arrow)" stays ``-lrb- arrow -rrb-``. Kept, so that
  scores compare with published ones.

Like a lexer generator: at every place all rules are tried and the longest match wins, the earlier rule at a tie.
"""

from __future__ import annotations

import re
from functools import lru_cache

DROPPED = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)

_L = r"[^\W\d_]"  # a letter
_A = r"[^\W_]"  # a letter or digit
_Q = r"['’]"

# Abbreviations keep their full stop wherever they stand ...
_ABBREVIATIONS = (
    "mr|mrs|ms|messrs|dr|drs|prof|profs|st|ste|mt|ave|blvd|rd|jr|sr|bros|inc|ltd|corp|co|cos|dept|est|etc|vs|al|"
    "jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|ph\\.d|ed\\.d|m\\.d"
)
# ... these only in front of a number.
_BEFORE_NUMBER = "no|nos|fig|figs|prop|art|ph"

_SYMBOLS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
            "–": "--", "—": "--", "…": "...", "‘": "`", "’": "'", "“": "``", "”": "''",
            "½": "1/2", "¼": "1/4", "¾": "3/4", "€": "$", "£": "#"}  # fmt: skip

_RULES = [
    # words split in two before an ending: "is|n't", "patient|'s", "can|not"
    rf"{_L}+(?=n{_Q}t(?!{_A}))",
    rf"{_L}(?:{_A})*(?={_Q}(?:[msd]|re|ve|ll)(?!{_A}))",
    r"(?:can(?=not)|gon(?=na)|got(?=ta)|lem(?=me)|gim(?=me)|wan(?=na))(?=[a-z]{2,3}(?![^\W_]))",
    rf"{_Q}t(?=is(?!{_A})|was(?!{_A}))",
    rf"n{_Q}t(?!{_A})",
    rf"{_Q}(?:[msd]|re|ve|ll|n)(?!{_A})",
    rf"{_Q}\d\ds?(?!{_A})",
    # words, numbers, and what hyphens, slashes and dots hold together
    rf"{_L}{_A}*(?:[.!?]{_L}{_A}*)*",
    rf"(?:[dol]{_Q}{_L})?{_A}+(?:-(?:[dol]{_Q}{_L})?{_A}+)*",
    rf"{_A}[^\W_.,]*(?:[.,]*{_A})*(?:-{_A}+)+",
    r"[+-]?(?:\d*(?:[.:,]\d+)+|\d+)",
    r"[a-z0-9]+(?:-[a-z]+){0,2}(?:/[a-z0-9]+(?:-[a-z]+){0,2}){1,2}",
    r"(?:\d+ )?\d+/\d+",
    r"[a-z]/o(?![a-z0-9])",
    rf"{_L}+_{_L}+",
    rf"(?:{_L}\.)+{_L}?(?!{_A})",
    rf"(?:{_ABBREVIATIONS})\.",
    rf"(?:{_BEFORE_NUMBER})\.(?=\s*\d)",
    # addresses and mark-up
    r"https?://[^\s\"'<>]+[^\s\"'<>.,;:!?)]",
    r"[a-z0-9][\w.+-]*@(?:[a-z0-9-]+\.)+[a-z]{2,}",
    r"</?[a-z][^<>\n]*>",
    r"&(?:amp|lt|gt|quot|nbsp);",
    r"@[a-z]\w*",
    # punctuation
    r"\.{3,}|\. \. \.",
    r"-{2,}",
    r"[?!]+",
    r"\*+|_+",
    r"''|``",
    r"\S",
]
_PATTERNS = [re.compile(rule) for rule in _RULES]
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "''", "&nbsp;": ""}
_PLAIN = re.compile(r"[a-z]+(?= [a-z]| ?$)")
_ASSIMILATED = frozenset(["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"])


def _written(token: str) -> str:
    if token.startswith("--"):
        return "--"
    if token.startswith(".") and token.replace(" ", "") == "." * len(token.replace(" ", "")) and len(token) > 1:
        return "..."
    if token == '"':
        return "''"
    return _ENTITIES.get(token) or _SYMBOLS.get(token) or token.replace("’", "'")


@lru_cache(maxsize=65536)
def _tokens(text: str) -> tuple[str, ...]:
    tokens: list[str] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        plain = _PLAIN.match(text, place)
        if plain and plain.group() not in _ASSIMILATED:
            end = plain.end()
        else:
            end = max(match.end() for p in _PATTERNS if (match := p.match(text, place)))
        tokens.append(_written(text[place:end]))
        place = end
    return tuple(token for token in tokens if token)


def ptb_tokens(caption: str) -> list[str]:
    """All Penn Treebank tokens of one caption, lower case, punctuation included."""
    return list(_tokens(" ".join(caption.split()).lower()))


def coco_tokens(caption: str) -> list[str]:
    """Tokens of one caption that COCO scores count: Penn Treebank, lower case, without punctuation."""
    return [token for token in ptb_tokens(caption) if token not in DROPPED]
