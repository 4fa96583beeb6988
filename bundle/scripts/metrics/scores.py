"""Every score of a caption, a line each in `SCORES`.

A line added there stands in tables, comparisons, reports and ``history.json``, and may choose the best checkpoint
(``--caption_score NAME``); nothing else needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from scripts.concepts.fields import field_agreement
from scripts.metrics.agreement import agreement_statistics
from scripts.metrics.bertscore import BertScorer
from scripts.metrics.bleu import bleu
from scripts.metrics.cider import cider_d
from scripts.metrics.diversity import distinct_ratio, looped, verbatim, word_count
from scripts.metrics.meteor import meteor, why_no_meteor
from scripts.metrics.protocols import Protocol
from scripts.metrics.rouge import rouge_1, rouge_l
from scripts.metrics.spice import spice, why_no_spice
from scripts.metrics.statistic import CorpusScore, Statistic, mean_statistic

TEXT, FIELD, SAFETY, VARIETY = "text overlap", "fields", "dangerous words", "variety"


class UnavailableScoreError(Exception):
    """A score that cannot be computed here: its name, and the reason for the table."""


@dataclass(frozen=True)
class Extras:
    """Scores that cost time or need something installed.

    Args:
        meteor: run METEOR's Java program (on unless switched off).
        spice: run SPICE's Java program.
        bert: a loaded model for BERTScore.
    """

    meteor: bool = True
    spice: bool = False
    bert: BertScorer | None = None


@dataclass(frozen=True)
class Captions:
    """What a score may look at: N predictions, and the references of each.

    Args:
        predictions: N captions, empty where none was made.
        references: N groups of reference captions.
        protocol: how text is prepared.
        fields: known plane, modality, organ and abnormality of each image, where the datalist has them.
        training: training captions; empty where there are none.
        extras: scores that need Java or a model.
    """

    predictions: Sequence[str]
    references: Sequence[Sequence[str]]
    protocol: Protocol
    fields: Sequence[Mapping[str, str | None] | None] | None = None
    training: Sequence[str] = ()
    extras: Extras = field(default_factory=Extras)

    @property
    def first(self) -> list[str]:
        """The first reference of every image."""
        return [group[0] for group in self.references]

    @cached_property
    def tokens(self) -> tuple[list[list[str]], list[list[list[str]]]]:
        """Predictions and references as tokens of BLEU, METEOR, ROUGE-L and CIDEr-D."""
        return self.prepared(self.protocol.tokens)

    @cached_property
    def words(self) -> tuple[list[list[str]], list[list[list[str]]]]:
        """Predictions and references as tokens of ROUGE-1."""
        return self.prepared(self.protocol.rouge_tokens)

    def prepared(self, prepare: Callable[[str], Any]) -> tuple[list[Any], list[list[Any]]]:
        """Predictions and references after `prepare`."""
        return [prepare(c) for c in self.predictions], [[prepare(c) for c in group] for group in self.references]


def _fields(captions: Captions) -> list[Statistic]:
    """Accuracy of plane, modality, organ and abnormality, read off the captions."""
    notes = {
        "modality family": "CT, MR, XR, US, ...",
        "abnormality": "exact, where the reference states one",
        "abnormality words": "F1 of words",
    }
    agreement = field_agreement(captions.predictions, captions.first, captions.fields)
    order = ("plane", "modality", "modality family", "organ", "abnormality", "abnormality words")
    return [mean_statistic(name, agreement[name], notes.get(name, "")) for name in order]


def _meteor(captions: Captions) -> Statistic:
    reason = why_no_meteor() if captions.extras.meteor else "METEOR was switched off (--no-meteor)"
    if reason is not None:
        raise UnavailableScoreError("METEOR", reason)
    return meteor(*captions.tokens)


def _spice(captions: Captions) -> Statistic:
    reason = why_no_spice() if captions.extras.spice else "not asked for (--spice)"
    if reason is not None:
        raise UnavailableScoreError("SPICE", reason)
    return spice(captions.predictions, captions.references)


def _bertscore(captions: Captions) -> list[Statistic]:
    if captions.extras.bert is None:
        raise UnavailableScoreError("BERTScore", "no model given (--bertscore FOLDER)")
    return captions.extras.bert.score(*captions.prepared(captions.protocol.text))


def _verbatim(captions: Captions) -> Statistic:
    if not captions.training:
        raise UnavailableScoreError("verbatim in training", "the references file has no training split")
    return verbatim(captions.predictions, captions.training)


SCORES: list[tuple[str, Callable[[Captions], CorpusScore | Sequence[CorpusScore]]]] = [
    (FIELD, _fields),
    (TEXT, lambda c: bleu(*c.tokens)),
    (TEXT, _meteor),
    (TEXT, lambda c: rouge_1(*c.words)),
    (TEXT, lambda c: rouge_l(*c.tokens)),
    (TEXT, lambda c: cider_d(*c.tokens)),
    (TEXT, _spice),
    (TEXT, _bertscore),
    (SAFETY, lambda c: agreement_statistics(c.predictions, c.first)),
    (VARIETY, lambda c: word_count(c.predictions)),
    (VARIETY, lambda c: looped(c.predictions)),
    (VARIETY, _verbatim),
    (VARIETY, lambda c: distinct_ratio(c.predictions)),
]
