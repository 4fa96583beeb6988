"""Commonness of a caption before any image is seen; decoding takes it off, so that images tell captions apart.

A language model that learned from few captions gives a frequent finding to every image that allows it. Decoding by

    log p(c | image) - weight * log p(c)

asks instead what the image speaks for: with weight 1 it is pointwise mutual information (Li et al., NAACL 2016, arXiv
1510.03055, equation 9). Their ``p(c)`` is a second run of the language model; here it is a model of word triples of the
training captions, which costs nothing beside it. A word's log-probability counts down to ``FLOOR`` only, or the rarest
words would be the best. Where no training caption has a word after the word before, its rarity says nothing of the
image: such words count ``UNHEARD``, against the caption, or captions would ramble on in words that no caption has.

    p(w | u v) = (count(u v w) + kinds(u v) * p(w | v)) / (count(u v) + kinds(u v))       (Witten and Bell 1991)

and so down to one word and to a uniform one, ``kinds`` being how many words followed. Words are kept as hashes of 63
bits: no training caption can be read out of a file.

Shape legend: G word runs of one to three words, H of those that some word followed.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from scripts.concepts.vocabulary import whole_words, words_of
from scripts.transforms.open_ended import finding_unknown

ORDER = 3
FLOOR = -3.0  # log-probability: a word that follows one time in twenty counts like one that never did
UNHEARD = 1.5  # above 0, the log-probability of certainty: a word in a place where it was never heard
KEPT = 4096  # beginnings of captions, some thirty a caption: a service that never ends must not keep all it ever judged
START, END = "<start>", "<end>"


class CaptionPrior:
    """``log p(c)`` of captions, begun or ended.

    Args:
        counts: of word runs, by hash.
        kinds: how many different words followed a run, and how many words in all, by hash.
        words: how many different words there are.
    """

    def __init__(self, counts: Mapping[int, int], kinds: Mapping[int, tuple[int, int]], words: int) -> None:
        self.counts, self.kinds, self.words = dict(counts), dict(kinds), words
        self._known: dict[tuple[str, ...], float] = {(): 0.0}

    @classmethod
    def from_captions(
        cls, captions: Sequence[str], fields: Sequence[Mapping[str, str | None] | None] | None = None
    ) -> CaptionPrior:
        """Count the runs of up to three words of captions, their beginnings and ends among them.

        Args:
            captions: of the training cases.
            fields: of the training cases; the end of a caption whose finding is not known does not count.
        """
        counts: Counter[tuple[str, ...]] = Counter()
        for caption, known in zip(captions, fields or [None] * len(captions), strict=True):
            said = [START] * (ORDER - 1) + [*words_of(caption), *([] if finding_unknown(known) else [END])]
            for place in range(ORDER - 1, len(said)):
                counts.update(tuple(said[place - size : place + 1]) for size in range(ORDER))
        kinds: dict[int, tuple[int, int]] = {}
        for run, count in counts.items():
            different, total = kinds.get(_hash(run[:-1]), (0, 0))
            kinds[_hash(run[:-1])] = different + 1, total + count
        words = sum(len(run) == 1 for run in counts)
        return cls({_hash(run): count for run, count in counts.items()}, kinds, words)

    def logprob(self, text: str, ended: bool) -> float:
        """``sum max(FLOOR, log p(word | two words before))``; ``UNHEARD`` for a word never heard after the one before.

        Args:
            text: a caption, or its beginning, of which whole words count.
            ended: whether nothing comes after it.
        """
        said = words_of(text if ended else whole_words(text))
        return self._of((*said, END) if ended else tuple(said))

    def _of(self, said: tuple[str, ...]) -> float:
        found = self._known.get(said)
        if found is None:
            before = ((START,) * (ORDER - 1) + said[:-1])[1 - ORDER :]
            heard = _hash((before[-1], said[-1])) in self.counts
            last = max(FLOOR, math.log(self.probability(said[-1], before))) if heard else UNHEARD
            found = self._of(said[:-1]) + last
            if len(self._known) >= KEPT:
                self._known = {(): 0.0}
            self._known[said] = found
        return found

    def probability(self, word: str, before: Sequence[str]) -> float:
        """``p(word | before)``, of the last two words before it."""
        found = 1 / max(1, self.words)
        for size in range(ORDER):
            run = tuple(before)[len(before) - size :] if size else ()
            different, total = self.kinds.get(_hash(run), (0, 0))
            if total:
                found = (self.counts.get(_hash((*run, word)), 0) + different * found) / (total + different)
        return found

    def state(self) -> dict[str, Tensor]:
        """As tensors: ``runs [G]``, ``counts [G]``, ``contexts [H]``, ``kinds [H, 2]``, ``words [1]``, all int64."""
        return {
            "runs": torch.tensor(list(self.counts), dtype=torch.int64),
            "counts": torch.tensor(list(self.counts.values()), dtype=torch.int64),
            "contexts": torch.tensor(list(self.kinds), dtype=torch.int64),
            "kinds": torch.tensor(list(self.kinds.values()), dtype=torch.int64).view(-1, 2),
            "words": torch.tensor([self.words], dtype=torch.int64),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> CaptionPrior:
        """What :meth:`state` gave.

        Raises:
            KeyError: a tensor is missing.
        """
        counts = dict(zip(state["runs"].tolist(), state["counts"].tolist(), strict=True))
        kinds = dict(zip(state["contexts"].tolist(), map(tuple, state["kinds"].tolist()), strict=True))
        return cls(counts, kinds, int(state["words"]))


@lru_cache(maxsize=1 << 16)
def _hash(run: tuple[str, ...]) -> int:
    """63 bits, the same on every machine."""
    return int.from_bytes(hashlib.blake2b("\0".join(run).encode(), digest_size=8).digest(), "big") >> 1
