"""All scores of one system on one set of images, as statistics that can be resampled and compared.

A score that cannot run here (METEOR without Java, BERTScore without a model) is listed with its reason, never left out
silently and never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scripts.concepts.fields import field_agreement
from scripts.metrics.agreement import agreement_statistics
from scripts.metrics.bertscore import BertScorer
from scripts.metrics.bleu import bleu
from scripts.metrics.cider import cider_d
from scripts.metrics.diversity import distinct_ratio, looped, verbatim, word_count
from scripts.metrics.meteor import meteor, why_no_meteor
from scripts.metrics.pairs import Pairs
from scripts.metrics.protocols import Protocol
from scripts.metrics.resampling import RESAMPLES, Groups, bootstrap
from scripts.metrics.rouge import rouge_1, rouge_l
from scripts.metrics.spice import spice, why_no_spice
from scripts.metrics.statistic import Statistic, mean_statistic

TEXT, FIELD, SAFETY, VARIETY = "text overlap", "fields", "dangerous words", "variety"


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


@dataclass
class Scores:
    """What one system scored.

    Args:
        groups: group name to its statistics, in the order of the table.
        fixed: group name to scores without an interval (name, value, note).
        skipped: score name to the reason why it could not be computed.
    """

    groups: dict[str, list[Statistic]] = field(default_factory=dict)
    fixed: dict[str, list[tuple[str, float, str]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def statistics(self) -> dict[str, Statistic]:
        """Every statistic by its name."""
        return {statistic.name: statistic for group in self.groups.values() for statistic in group}

    def rows(
        self, *, resamples: int = RESAMPLES, seed: int = 0, groups: Groups | None = None
    ) -> list[dict[str, object]]:
        """One dictionary a score: group (of scores), name, value, low, high, n, note; `groups` are of the images."""
        table: list[dict[str, object]] = []
        for group in dict.fromkeys([*self.groups, *self.fixed]):
            for statistic in self.groups.get(group, []):
                interval = bootstrap(statistic, resamples=resamples, seed=seed, groups=groups)
                row = {"group": group, "name": statistic.name, **vars(interval)}
                table.append({**row, "n": statistic.count, "note": statistic.note})
            for name, value, note in self.fixed.get(group, []):
                table.append({"group": group, "name": name, "value": value, "low": None, "high": None, "note": note})
        return table


def text_statistics(
    predictions: Sequence[str], references: Sequence[Sequence[str]], protocol: Protocol, *, with_meteor: bool = True
) -> tuple[list[Statistic], dict[str, str]]:
    """BLEU-1..4, METEOR, ROUGE-1, ROUGE-L and CIDEr-D under one protocol, and what was skipped and why."""
    candidates = [protocol.tokens(caption) for caption in predictions]
    groups = [[protocol.tokens(caption) for caption in group] for group in references]
    statistics = bleu(candidates, groups)
    skipped = {}
    reason = why_no_meteor() if with_meteor else "METEOR was switched off (--no-meteor)"
    if reason is None:
        statistics.append(meteor(candidates, groups))
    else:
        skipped["METEOR"] = reason
    words = [protocol.rouge_tokens(caption) for caption in predictions]
    word_groups = [[protocol.rouge_tokens(caption) for caption in group] for group in references]
    statistics += [rouge_1(words, word_groups), rouge_l(candidates, groups), cider_d(candidates, groups)]
    return statistics, skipped


def field_statistics(
    predictions: Sequence[str],
    references: Sequence[str],
    fields: Sequence[Mapping[str, str | None] | None] | None = None,
) -> list[Statistic]:
    """Accuracy of plane, modality, organ and abnormality, read off the captions."""
    notes = {
        "modality family": "CT, MR, XR, US, ...",
        "abnormality": "exact, where the reference states one",
        "abnormality words": "F1 of words",
    }
    agreement = field_agreement(predictions, references, fields)
    order = ("plane", "modality", "modality family", "organ", "abnormality", "abnormality words")
    return [mean_statistic(name, agreement[name], notes.get(name, "")) for name in order]


def extra_statistics(pairs: Pairs, protocol: Protocol, extras: Extras) -> tuple[list[Statistic], dict[str, str]]:
    """SPICE (on raw text) and BERTScore (on the protocol's text), and what was skipped and why."""
    statistics: list[Statistic] = []
    skipped = {}
    reason = why_no_spice() if extras.spice else "not asked for (--spice)"
    if reason is None:
        statistics.append(spice(pairs.predictions, pairs.references))
    else:
        skipped["SPICE"] = reason
    if extras.bert is None:
        skipped["BERTScore"] = "no model given (--bertscore FOLDER)"
    else:
        predictions = [protocol.text(caption) for caption in pairs.predictions]
        references = [[protocol.text(caption) for caption in group] for group in pairs.references]
        statistics += extras.bert.score(predictions, references)
    return statistics, skipped


def score_pairs(
    pairs: Pairs, protocol: Protocol, *, training: Sequence[str] = (), extras: Extras | None = None
) -> Scores:
    """All scores of the predictions in `pairs`.

    Args:
        pairs: predictions beside references.
        protocol: how text is prepared.
        training: training captions; without them the share of copied captions is skipped.
        extras: scores that need Java or a model.
    """
    extras = extras or Extras()
    scores = Scores()
    first = pairs.first_references
    scores.groups[FIELD] = field_statistics(pairs.predictions, first, pairs.fields)
    scores.groups[TEXT], skipped = text_statistics(
        pairs.predictions, pairs.references, protocol, with_meteor=extras.meteor
    )
    more, also_skipped = extra_statistics(pairs, protocol, extras)
    scores.groups[TEXT] += more
    scores.skipped |= {**skipped, **also_skipped}
    scores.groups[SAFETY] = agreement_statistics(pairs.predictions, first)
    scores.fixed[VARIETY] = [("distinct captions", distinct_ratio(pairs.predictions), "different / all")]
    scores.groups[VARIETY] = [word_count(pairs.predictions), looped(pairs.predictions)]
    if training:
        scores.groups[VARIETY].append(verbatim(pairs.predictions, training))
    else:
        scores.skipped["verbatim in training"] = "the references file has no training split"
    return scores
