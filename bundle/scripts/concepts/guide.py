"""Guide of beams: in every step of decoding, what the concept reader sees counts, and commonness counts against.

Ranking finished beams again can only choose among captions that the language model liked. Here beams are kept by

    log p_LM(begun | image) + weight * bound(begun) - prior_weight * log p(begun)

where ``bound`` is the most that any end of the caption can make of :mod:`.concept_reader`'s second term: fields that
are not named yet count as if the likeliest answer were named, concepts not said yet as if said where they are likelier
than not. So it never counts against a caption that it has not come to the point yet, as in A* search, and for an ended
caption it is the term itself. (A caption that takes back what it said is outside the bound: "MRI" in the view, "CT"
after it.) The last term, :mod:`.caption_prior`, is taken of the words said so far. These sums are compared
at one length; finished captions by the sum over ``tokens ** length_penalty``, guidance included.

Shape legend: B images, C captions of an image, t tokens so far, K concepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from scripts.concepts.header import EXCLUDED
from scripts.concepts.prior import CaptionPrior
from scripts.concepts.stated import Stated
from scripts.concepts.statement_check import contradicts, disagreement
from scripts.concepts.vocabulary import UNKNOWN, ConceptVocabulary, whole_words

CONCEPT_WEIGHT = 0.04  # of the concepts, a sum over hundreds, beside the fields


class ConceptGuide:
    """A :class:`scripts.generation.Guide`, from one reading of the images.

    Args:
        vocabulary: what was read.
        concepts: logits ``[B, K]``.
        fields: log-probabilities ``[B, answers]`` by field.
        decode: token ids ``[N, t]`` -> N texts.
        starts: of each image, words that its captions continue.
        weight: of the reading beside the language model's log-probability.
        prior: how common captions are; None does without.
        prior_weight: of its log-probability, which is taken off.
        known: what each image's file states; a caption that contradicts it, or ends without saying it, counts
            ``EXCLUDED`` once more.
    """

    def __init__(
        self,
        vocabulary: ConceptVocabulary,
        concepts: Tensor,
        fields: Mapping[str, Tensor],
        *,
        decode: Callable[[Tensor], Sequence[str]],
        starts: Sequence[str],
        weight: float = 1.0,
        prior: CaptionPrior | None = None,
        prior_weight: float = 0.0,
        known: Sequence[Stated] = (),
    ) -> None:
        self.vocabulary = vocabulary
        self.decode = decode
        self.starts = starts
        self.weight = weight
        self.prior = prior if prior_weight > 0 else None
        self.prior_weight = prior_weight
        self.known = list(known) or [Stated()] * len(concepts)
        self._images = [
            _Reading(row.double().cpu(), [read[number].double().cpu() for read in fields.values()])
            for number, row in enumerate(concepts)
        ]
        self._said: dict[tuple[str, bool], tuple[list[int], list[set[int] | None]]] = {}

    def __call__(self, images: Tensor, captions: Tensor, ended: Tensor) -> Tensor:
        """``[B]``, ``[B, C, t]`` and ``[B, C]`` bool -> ``[B, C]``, see the module's head."""
        texts = self.decode(captions.flatten(0, 1))
        numbers = images.repeat_interleave(captions.shape[1]).tolist()
        scores = [
            self.judge(number, self.starts[number] + text, end)
            for number, text, end in zip(numbers, texts, ended.flatten().tolist(), strict=True)
        ]
        return torch.tensor(scores, dtype=torch.float32, device=captions.device).view(ended.shape)

    def judge(self, image: int, text: str, ended: bool) -> float:
        """What one caption of one image gets beside its log-probability."""
        common = 0.0 if self.prior is None else self.prior.logprob(text, ended)
        stated = self.known[image]
        refused = stated and (disagreement(text, stated) if ended else contradicts(whole_words(text), stated))
        score = self.score(image, text, ended) + (EXCLUDED if refused else 0.0)
        return self.weight * score - self.prior_weight * common

    def score(self, image: int, text: str, ended: bool) -> float:
        """Log-probability of what one caption says of one image, or its bound, without the weight."""
        said, answers = self._read(text, ended)
        reading = self._images[image]
        return CONCEPT_WEIGHT * reading.concepts(said, ended) + reading.fields(answers)

    def support(self, image: int, text: str) -> float:
        """The fields' part of an ended caption's score."""
        return self._images[image].fields(self._read(text, True)[1])

    def _read(self, text: str, ended: bool) -> tuple[list[int], list[set[int] | None]]:
        """Beams of similar images say much the same: each text is read once."""
        if (text, ended) not in self._said:
            self._said[text, ended] = self._all_said(text) if ended else self.vocabulary.begun(text)
        return self._said[text, ended]

    def _all_said(self, text: str) -> tuple[list[int], list[set[int] | None]]:
        said = self.vocabulary.targets(text).nonzero().flatten().tolist()
        answers = self.vocabulary.field_targets(text).tolist()
        return said, [{answer} if answer != UNKNOWN else set() for answer in answers]


class _Reading:
    """Of one image: ``concepts`` logits ``[K]`` and ``fields`` log-probabilities, ``[answers]`` each."""

    def __init__(self, concepts: Tensor, fields: Sequence[Tensor]) -> None:
        self.logits = concepts.tolist()
        self.silent = float(F.logsigmoid(-concepts).sum())  # nothing said
        self.hope = float(concepts.clamp(min=0).sum())  # what saying all that is likely adds
        self.answers = [read.tolist() for read in fields]

    @cached_property
    def best(self) -> list[float]:
        return [max(read, default=0.0) for read in self.answers]

    def concepts(self, said: Sequence[int], ended: bool) -> float:
        """``log sigmoid(z) - log sigmoid(-z) = z``, so each concept said adds its logit."""
        if ended:
            return self.silent + sum(self.logits[number] for number in said)
        return self.silent + self.hope + sum(min(0.0, self.logits[number]) for number in said)

    def fields(self, answers: Sequence[set[int] | None]) -> float:
        """An answer that is not named, or that no training caption gives, counts as a guess at the end."""
        total = 0.0
        for read, best, possible in zip(self.answers, self.best, answers, strict=True):
            if not read:
                continue
            guess = -math.log(len(read))
            total += best if possible is None else max((read[number] for number in possible), default=guess)
        return total
