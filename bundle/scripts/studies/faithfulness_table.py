"""Table of the faithfulness study: kinds of words, the fall of their probability, and its interval."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scripts.concepts.fields import read_fields
from scripts.explanation.words import content_words, plain_word
from scripts.metrics.resampling import bootstrap
from scripts.metrics.statistic import mean_statistic
from scripts.metrics.tables import markdown_table

ALL = "all content words"
KINDS = ("plane", "modality", "organ", "finding", "other", ALL)
"""Kinds of words, in the order of the table; "of", "the", "showing" and their like are counted nowhere."""


def word_kinds(words: Sequence[str], caption: str) -> dict[int, str]:
    """Place of each content word -> what it tells, by its place in "PLANE MODALITY of the ORGAN showing FINDING".

    The caption's fields decide plane and modality; what stands between "of" and "showing" is the organ, what follows
    is the finding. Words of captions of another build are "other".
    """
    plain = [plain_word(word).lower() for word in words]
    start = plain.index("of") if "of" in plain else 0
    end = next((i for i, word in enumerate(plain) if word in ("showing", "shows", "with")), len(plain))
    fields = read_fields(caption)
    plane = set(re.findall(r"[\w-]+", (fields.plane or "").lower()))
    kinds = {}
    for place in content_words(tuple(words)):
        if place > end:
            kinds[place] = "finding" if end < len(plain) else "other"
        elif place > start > 0:
            kinds[place] = "organ"
        elif start > 0:
            kinds[place] = "plane" if plain[place] in plane else "modality"
        else:
            kinds[place] = "other"
    return kinds


def joined(falls: Sequence[Mapping[str, Any]], marked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What hiding did, with the tile that a method marks for each word, of the images for which both are known."""
    by_image = {result["image"]: result for result in marked}
    found = []
    for result in falls:
        if (own := by_image.get(result["image"])) is not None:
            words = [{**word, "highlighted": own["highlighted"][word["place"]]} for word in result["words"]]
            found.append({**result, **own, "words": words})
    return found


def summarized(results: Mapping[str, Sequence[Mapping[str, Any]]], groups: Mapping[str, str]) -> dict[str, Any]:
    """The study's figures of each method's results, and differences between methods on the images that both have."""
    pairs = itertools.combinations(results, 2)
    return {"images": max(map(len, results.values()), default=0), "unit": "group" if groups else "image",
            "methods": {method: table(own, groups) for method, own in results.items()},
            "likeness": {method: likeness(own, groups) for method, own in results.items()},
            "versus": [row for a, b in pairs if (row := versus((a, results[a]), (b, results[b]), groups))]}  # fmt: skip


def table(results: Sequence[Mapping[str, Any]], groups: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """A row a kind of word: mean falls of the log-probability, and differences with 95 % bootstrap intervals.

    Groups of images are what is resampled, or images where no groups are given; an image counts with the mean of its
    words of the kind. ``wins`` is the share of words whose highlighted tile mattered more than the mean of the others
    (by chance one half, less where falls are skewed); ``beaten`` and ``beats_middle`` are shares as in `_Falls`, one
    half by chance.

    Args:
        results: of a method, from :func:`joined`, one an image.
        groups: ``image`` of a result -> its group in the datalist.
    """
    rows = []
    for kind in KINDS:
        images, wins, members = [], [], []
        for result in results:
            falls = [_falls(word) for word in result["words"] if kind in (word["kind"], ALL)]
            if falls:
                images.append(np.mean(falls, axis=0))
                members.append(groups.get(result["image"]) if groups else None)
                wins += [fall.highlighted > fall.others for fall in falls]
        if images:
            rows.append(_row(kind, np.array(images), wins, members))
    return rows


def versus(
    one: tuple[str, Sequence[Mapping[str, Any]]], other: tuple[str, Sequence[Mapping[str, Any]]],
    groups: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:  # fmt: skip
    """By how much the tiles of one method cost more, and beat more, than another's on the same words; None without any.

    Args:
        one, other: name and results of a method; groups: see :func:`table`.
    """
    by_image = {result["image"]: result for result in other[1]}
    differences, members = [], []
    for result in one[1]:
        pair = result["words"], by_image.get(result["image"], {}).get("words", ())
        if pair[0] and pair[1]:
            both = [np.array(_falls(a)) - np.array(_falls(b)) for a, b in zip(*pair, strict=True)]
            differences.append(np.mean(both, axis=0))
            members.append(groups.get(result["image"]) if groups else None)
    if not differences:
        return None
    found = _Falls(*np.array(differences).T)
    fall, beaten = _interval(found.highlighted, members), _interval(found.beaten, members)
    return {"method": one[0], "over": other[0], "images": len(differences), "fall": fall, "beaten": beaten}


def versus_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of :func:`versus` for people."""
    head = ["method", "over", "images", "fall, highlighted [95 %]", "tiles that it beats [95 %]"]
    return markdown_table(head, [
        [row["method"], row["over"], str(row["images"]), _signed(row["fall"]), _signed(row["beaten"])] for row in rows
    ])  # fmt: skip


def _signed(interval: Sequence[float]) -> str:
    """Value, low and high as text."""
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*interval)


class _Falls(NamedTuple):
    """What hiding did to one word, or the means over words: falls in nats, and shares from 0 to 1.

    Attributes:
        highlighted: fall when the highlighted tile is hidden; others: mean fall of the others; middle: of the middle.
        beaten: share of the other tiles whose fall is smaller; beats_middle: whether the middle tile's is, a half where
            it is the highlighted one. A few words fall by nats, most by hundredths: shares count all words alike.
    """

    highlighted: float
    others: float
    middle: float
    beaten: float
    beats_middle: float


def _falls(word: Mapping[str, Any]) -> _Falls:
    falls = np.array(word["falls"])
    own, rest, middle = falls[word["highlighted"]], np.delete(falls, word["highlighted"]), falls[len(falls) // 2]
    beats_middle = 0.5 if word["highlighted"] == len(falls) // 2 else float(own > middle)
    return _Falls(float(own), float(rest.mean()), float(middle), float((own > rest).mean()), beats_middle)


def _row(kind: str, images: np.ndarray, wins: list[bool], groups: list[str | None]) -> dict[str, Any]:
    falls = _Falls(*images.T)
    over_random = _interval(falls.highlighted - falls.others, groups)
    over_middle = _interval(falls.highlighted - falls.middle, groups)
    return {
        "kind": kind, "images": len(images), "words": len(wins), "highlighted": float(falls.highlighted.mean()),
        "random": float(falls.others.mean()), "middle": float(falls.middle.mean()),
        "over_random": over_random[0], "over_random_interval": over_random[1:],
        "over_middle": over_middle[0], "over_middle_interval": over_middle[1:], "wins": float(np.mean(wins)),
        "beaten": _interval(falls.beaten, groups), "beats_middle": _interval(falls.beats_middle, groups),
    }  # fmt: skip


def _interval(values: np.ndarray, groups: Sequence[str | None]) -> list[float]:
    """Mean of values of images, and its 95 % bootstrap interval over their groups."""
    found = bootstrap(mean_statistic("", values), groups=list(groups))
    return [found.value, found.low, found.high]


def likeness(results: Sequence[Mapping[str, Any]], groups: Mapping[str, str] | None = None) -> dict[str, Any]:
    """How alike a method's maps of different words are, and its cost.

    Returns:
        ``measured`` images; ``images`` with two maps or more, ``correlation`` (mean over them) and its ``interval``,
        None without any; ``seconds``, the median over all images; ``made_by``: how many content words' maps were made
        in which way.
    """
    known = [result for result in results if result["correlation"] is not None]
    made = Counter(result["made_by"][word["place"]] for result in results for word in result["words"])
    found = {"measured": len(results), "images": len(known), "correlation": None, "interval": None, "made_by": made}
    if known:
        members = [groups.get(result["image"]) if groups else None for result in known]
        values = np.array([result["correlation"] for result in known])
        mean, low, high = _interval(values, members)
        found |= {"correlation": mean, "interval": [low, high]}
    return found | {"seconds": float(np.median([r["seconds"] for r in results])) if results else None}


def told(alike: Mapping[str, Any]) -> str:
    """What :func:`likeness` found, in words."""
    if alike["correlation"] is None:
        return "no caption has maps of two words"
    low, high = alike["interval"]
    return (
        f"mean correlation between maps of different content words {alike['correlation']:.3f} "
        f"[{low:.3f}, {high:.3f}], {alike['seconds']:.1f} s an image"
    )


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table for people; falls in nats."""
    head = ["words", "images", "fall, highlighted", "fall, other tiles", "difference [95 %]", "wins",
            "fall, middle tile", "over the middle [95 %]", "tiles that it beats [95 %]",
            "beats the middle [95 %]"]  # fmt: skip
    lines = []
    for row in rows:
        lines.append([
            row["kind"], str(row["images"]), f"{row['highlighted']:.3f}", f"{row['random']:.3f}",
            _signed([row["over_random"], *row["over_random_interval"]]), f"{row['wins']:.0%}",
            f"{row['middle']:.3f}", _signed([row["over_middle"], *row["over_middle_interval"]]),
            *("{:.3f} [{:.3f}, {:.3f}]".format(*row[name]) for name in ("beaten", "beats_middle")),
        ])  # fmt: skip
    return markdown_table(head, lines)
