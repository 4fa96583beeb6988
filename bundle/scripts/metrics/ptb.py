"""Penn Treebank tokens of captions, as the COCO scores expect them, in Python.

* Gives what the CoreNLP 3.4.1 tokeniser gives for English captions with ``-preserveLines -lowerCase`` (the tests run
  both on real and generated captions), without Java and about as fast. Written from its observed output.
* `coco_tokens` then drops the punctuation that `pycocoevalcap` drops. Brackets are not dropped: that list spells
  them in upper case and the text is already lower case, so "(arrow)" stays ``-lrb- arrow -rrb-``. Kept, so that
  scores compare with published ones.

Like a lexer: at every place all rules are tried and the longest match wins, the earlier rule at a tie. Where a rule
has a group, the group is the token and the rest is context that must follow.
"""

from __future__ import annotations

import re
from functools import lru_cache

DROPPED = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)

_OTHER = "_\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209f\u2150-\u218f\u2460-\u24ff"
_L = rf"[^\W\d{_OTHER}]"  # a letter
_A = rf"[^\W{_OTHER}]"  # a letter or digit
_W = r"[A-Za-z0-9]"
_Q = "['’]"
_END = rf"(?!{_A})"
_I = "(?i:{})"

# Keep their full stop wherever they stand: days, months, titles, American states, companies, single words
_ABBREVIATIONS = """
    mon tue tues wed thu thurs fri jan feb mar apr jun jul aug sep sept oct nov dec
    mr mrs ms messrs mme mlle dr drs prof sen sens rep reps atty attys lt lieut col gen gov govs adm rev maj sgt cpl pvt
    capt st ste mt ave pres hon brig cmdr comdr pfc spc supt supts det msgr insp asst sfc ens jr sr esq
    ala ariz calif colo conn dak fla ga ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc wyo
    inc co cos corp ltd plc bancorp bhd assn assoc univ intl dept bldg bros natl cie
    adj adv al alex blvd cf ct elec est etc ext ft invt jos rd rt seq sq sys tel vs wm
"""
_NOT_IN_CAPITALS = "mfg mtg ppte ppty pte ptes pty ptys Mfg Mtg Ppte Ppty Pte Ptes Pty Ptys"
_ONLY_CAPITALISED = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash ARK AZ DEL ILL LA MASS MISS ORE PA TEX WASH"
_BEFORE_NUMBER = "art ca fig figs no nos op ph pp prop"


def _one_of(words: str) -> str:
    return rf"(?:{'|'.join(words.split())})"


_SEGMENT = rf"{_W}+(?:-[A-Za-z]+){{0,2}}"
_RULES = [
    # words that are split before an ending: is|n't, patient|'s, can|not, gon|na, '|tis
    _I.format(rf"({_L}+)n{_Q}t"),
    _I.format(rf"({_L}{_A}*|{_A}+){_Q}(?:[msd]|re|ve|ll){_END}"),
    _I.format(rf"(can)not{_END}|(gon|wan)na{_END}|(got)ta{_END}|(lem|gim)me{_END}"),
    _I.format(rf"({_Q}t)(?:is|was){_END}"),
    _I.format(rf"n{_Q}t"),
    _I.format(rf"{_Q}(?:[msdn]|re|ve|ll|em|cause){_END}"),
    rf"n{_Q}(?!{_A})|{_Q}n{_Q}",
    rf"{_Q}\d\ds?(?!{_A}|{_Q}s)",
    _I.format(rf"o{_Q}er|ne{_Q}er|ma{_Q}am|ol{_Q}|([ly]{_Q}){_A}"),
    # words, numbers, and what hyphens, slashes, dots and underscores hold together
    rf"{_L}{_A}*(?:[.!?]{_L}{_A}*)*",
    rf"(?:[dDoOlL]{_Q}{_L})?{_A}+(?:[-‐‑](?:[dDoOlL]{_Q}{_L})?{_A}+)*",
    rf"({_A}+(?:-{_A}+|[.!?]{_L}{_A}*)*\.)[,;:]",
    rf"{_W}[A-Za-z0-9.,]*(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|{_W}+))+",
    r"[+-]?(?:\d*(?:[.:,]\d+)+|\d+)",
    rf"{_SEGMENT}(?:\\?/{_SEGMENT}){{1,2}}",
    r"(?:\d{1,4}[- ])?\d{1,4}\\?/\d{1,4}",
    r"[A-Z]+(?:(?:&(?:amp|AMP);|[+&])[A-Z]+)+",
    r"[A-Za-z]/[A-Za-z](?![A-Za-z0-9])",
    rf"_?{_A}+(?:_{_A}+)+|_{_A}+",
    # abbreviations
    r"[A-Za-z](?:\.[A-Za-z])*\.",
    _I.format(r"(?:ph|ed)\.d\."),
    _I.format(_one_of(_ABBREVIATIONS) + r"\."),
    _one_of(_NOT_IN_CAPITALS) + r"\.",
    _one_of(_ONLY_CAPITALISED) + r"\.",
    _I.format(rf"({_one_of(_BEFORE_NUMBER)}\.)\s?\d"),
    # addresses, mark-up, faces
    r"https?://[^\s\"<>|(){}]+\.[^\s\"<>|(){}]*[^\s\"<>|(){}.!?,-]",
    r"[^\s\"<>|(){}]+@(?:[^\s\"<>|(){}.]+\.)*[^\s\"<>|(){}.]+",
    r"<[/!?]?[A-Za-z][A-Za-z0-9]*(?:\s[^<>=\n]*)?/?>|<!--.*?-->|<[A-Za-z][^<>\n]*\"[^<>\n]*>",
    r"&(?:amp|lt|gt|quot|apos|nbsp);|&#\d+;",
    r"@[A-Za-z]\w*|#[A-Za-z]+",
    r"[<>]?[:;=]['-]?[()DPdp](?![A-Za-z0-9])|[:=][][{|@\\]|=_=|\^_\^",
    r"(?:US|HK|NZ|A|C)\$|[cC]\+\+",
    # punctuation
    r"\.{3,}|\. \. \.",
    r"-{2,}",
    r"[?!]+",
    r"\*+|_+",
    r"''|``",
    r"\S",
]
_PATTERNS = [re.compile(rule) for rule in _RULES]

_WRITTEN = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", '"': "''",
    "–": "--", "—": "--", "―": "--", "…": "...", "‘": "`", "’": "'", "“": "``", "”": "''", "«": "``", "»": "''",
    "‹": "`", "›": "'", "½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "€": "$", "£": "#", "¢": "cents",
    "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "''", "&apos;": "'", "&nbsp;": "",
    "‐": "", "‑": "", "‒": "", "\ufffc": "",
}  # fmt: skip

# Most words need no rules: lower-case letters with a space, a comma and a space, or the end behind them
_PLAIN = re.compile(r"(?!(?:cannot|gonna|gotta|lemme|gimme|wanna)\b)[a-z]+(?=,? [a-zA-Z(]|$)")
_ENDING = re.compile(rf"{_Q}(?:[msdtn]|re|ve|ll)|n{_Q}t", re.IGNORECASE)


def _written(token: str) -> str:
    if token in _WRITTEN:
        return _WRITTEN[token]
    if token.startswith("--"):
        return "--"
    if len(token) > 2 and not token.strip(". "):
        return "..."
    if _ENDING.fullmatch(token):
        token = token.replace("’", "'")
    if token[0] in "<>:;=":
        token = token.replace("(", "-lrb-").replace(")", "-rrb-")
    return token.replace("&amp;", "&").replace("&AMP;", "&").replace(" ", "\u00a0").lower()


def _token_at(text: str, place: int) -> int:
    """Where the token that starts at `place` ends."""
    best, end = -1, place + 1
    for pattern in _PATTERNS:
        match = pattern.match(text, place)
        if match and match.end() > best:
            best = match.end()
            end = match.end(match.lastindex) if match.lastindex else best
    return end


@lru_cache(maxsize=65536)
def _tokens(text: str) -> tuple[str, ...]:
    tokens: list[str] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        plain = _PLAIN.match(text, place)
        end = plain.end() if plain else _token_at(text, place)
        tokens.append(_written(text[place:end]))
        place = end
    return tuple(token for token in tokens if token)


def ptb_tokens(caption: str) -> list[str]:
    """All Penn Treebank tokens of one caption, lower case, punctuation included."""
    return list(_tokens(caption.replace("\n", " ")))


def coco_tokens(caption: str) -> list[str]:
    """Tokens of one caption that COCO scores count: Penn Treebank, lower case, without punctuation."""
    return [token for token in ptb_tokens(caption) if token not in DROPPED]
