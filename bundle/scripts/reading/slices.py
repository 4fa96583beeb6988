"""Choice of slices of a volume, frames of a cine or pages of a file.

A *rule* is one of: an index (``12``, ``-1`` from the end), a fraction (``0.25``, or ``"25%"``) of the way through,
``"first"``, ``"middle"`` (index ``n // 2``), ``"last"``, ``"most_informative"``, ``"informative:5"`` (the most
informative slice of each of five equal parts), ``"even:5"`` (five at equal distances), ``"all"``, or a list of these
(``"0.25,middle,0.75"`` as text). Several slices make several views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from scripts.errors import InputError

Rule = int | float | str | Sequence[int | float | str]
"""How slices or frames are chosen; see the module's text."""


def choose(count: int, rule: Rule, *, fetch: Callable[[int], np.ndarray], what: str, path: str) -> list[int]:
    """Indices in ``range(count)`` that ``rule`` names, in the order asked for, each once.

    Args:
        count: how many slices or frames there are.
        rule: see the module's text.
        fetch: gives the image ``[..., H, W]`` of an index; called only for informative slices.
        what: "slice" or "frame", for messages.
        path: the file, for messages.

    Raises:
        InputError: the rule is unknown or an index lies outside.
    """
    if isinstance(rule, str) and "," in rule:
        rule = [part.strip() for part in rule.split(",") if part.strip()]
    if isinstance(rule, (list, tuple)):
        if not rule:
            raise InputError(f"{path}: the list of {what}s to take is empty; give an index, a fraction or 'middle'")
        found = [i for part in rule for i in choose(count, part, fetch=fetch, what=what, path=path)]
        return list(dict.fromkeys(found))
    if isinstance(rule, str):
        return _by_word(count, rule, fetch=fetch, what=what, path=path)
    if isinstance(rule, bool) or not isinstance(rule, (int, float, np.integer, np.floating)):
        raise InputError(f"{path}: {rule!r} does not name a {what}; give an index, a fraction, 'middle' or a list")
    if isinstance(rule, (float, np.floating)):
        return [_by_fraction(count, float(rule), what=what, path=path)]
    return [_by_index(count, int(rule), what=what, path=path)]


def _by_index(count: int, index: int, *, what: str, path: str) -> int:
    if not -count <= index < count:
        raise InputError(f"{path}: {what} {index} does not exist; there are {count} (0 to {count - 1})")
    return index % count


def _by_fraction(count: int, fraction: float, *, what: str, path: str) -> int:
    if not 0.0 <= fraction <= 1.0:
        raise InputError(f"{path}: {what} fraction {fraction} is outside 0 to 1; give a whole number for an index")
    return min(int(fraction * count), count - 1)


def _by_word(count: int, rule: str, *, fetch: Callable[[int], np.ndarray], what: str, path: str) -> list[int]:
    word = rule.strip().lower()
    simple = {"first": 0, "middle": count // 2, "last": count - 1}
    if word in simple:
        return [simple[word]]
    if word == "all":
        return list(range(count))
    if word == "most_informative":
        return [most_informative(count, fetch)]
    try:
        if word.startswith("even:"):
            return _evenly(count, int(word[5:]))
        if word.startswith("informative:"):
            return _informative_parts(count, int(word[12:]), fetch)
        if word.endswith("%"):
            return [_by_fraction(count, float(word[:-1]) / 100, what=what, path=path)]
        number = float(word) if "." in word else int(word)
    except ValueError:
        names = "an index, a fraction, 'first', 'middle', 'last', 'most_informative', 'informative:N', 'even:N', 'all'"
        raise InputError(f"{path}: {rule!r} does not name a {what}; give {names} or a list of these") from None
    return choose(count, number, fetch=fetch, what=what, path=path)


def _evenly(count: int, wanted: int) -> list[int]:
    """Centres of ``wanted`` equal parts of the range, so the ends (often empty) are not taken."""
    if wanted < 1:
        raise ValueError
    parts = min(wanted, count)
    return [int((i + 0.5) * count / parts) for i in range(parts)]


def most_informative(count: int, fetch: Callable[[int], np.ndarray]) -> int:
    """The slice whose grey values have the greatest Shannon entropy, in bits.

    All slices share one histogram of 64 bins between the 1st and 99th percentile of the whole stack, so that noise in
    empty slices is not stretched into information. Slices are thinned to about 128 x 128 first. Equal entropies
    (within 0.001 bit) go to the slice nearest the middle.
    """
    return _best(_entropies(count, fetch), 0)


def _informative_parts(count: int, wanted: int, fetch: Callable[[int], np.ndarray]) -> list[int]:
    """The most informative slice of each of ``wanted`` equal parts: neighbours would show the same anatomy twice."""
    if wanted < 1:
        raise ValueError
    entropies = _entropies(count, fetch)
    cuts = np.linspace(0, count, min(wanted, count) + 1).astype(int)
    return [_best(entropies[start:end], int(start)) for start, end in zip(cuts[:-1], cuts[1:], strict=True)]


def _best(entropies: np.ndarray, start: int) -> int:
    """Index, counted from ``start``, of the greatest entropy; of (nearly) equal ones the middle."""
    best = np.flatnonzero(entropies >= entropies.max() - 1e-3)
    return start + int(best[np.argmin(np.abs(best - len(entropies) // 2))])


def _entropies(count: int, fetch: Callable[[int], np.ndarray]) -> np.ndarray:
    """Entropy in bits of every slice `[count]`; all are 0 where the whole stack has one value."""
    thin = []
    for index in range(count):
        image = np.asarray(fetch(index), dtype=np.float32)
        step = max(1, max(image.shape[-2:]) // 128)
        thin.append(np.nan_to_num(image[..., ::step, ::step].ravel(), posinf=0.0, neginf=0.0))
    low, high = np.percentile(np.concatenate(thin), (1, 99))
    if high <= low:
        return np.zeros(count)
    return np.array([_entropy(values, low, high) for values in thin])


def _entropy(values: np.ndarray, low: float, high: float) -> float:
    counts, _ = np.histogram(np.clip(values, low, high), bins=64, range=(low, high))
    share = counts[counts > 0] / values.size
    return float(-(share * np.log2(share)).sum())
