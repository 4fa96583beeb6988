"""All scores of one system on one set of images, as statistics that can be resampled and compared.

A score that cannot run here (METEOR without Java, BERTScore without a model) is listed with its reason, never left out
silently and never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from scripts.metrics.pairs import Pairs
from scripts.metrics.protocols import Protocol
from scripts.metrics.resampling import RESAMPLES, Groups, bootstrap
from scripts.metrics.scores import SCORES, Captions, Extras, UnavailableScoreError
from scripts.metrics.statistic import CorpusScore, Single, Statistic

CLINICAL = "clinical"


@dataclass
class Scores:
    """What one system scored.

    Args:
        groups: group name to its statistics, in the order of the table.
        fixed: group name to scores without an interval.
        skipped: score name to the reason why it could not be computed.
    """

    groups: dict[str, list[Statistic]] = field(default_factory=dict)
    fixed: dict[str, list[Single]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, group: str, score: CorpusScore) -> None:
        """Take up a score in the table's group of this name."""
        if isinstance(score, Single):
            self.fixed.setdefault(group, []).append(score)
        else:
            self.groups.setdefault(group, []).append(score)

    def add_clinical(self, found: tuple[list[Statistic], dict[str, str]]) -> None:
        """Add clinical scores, and the reasons of those that cannot be given."""
        statistics, refused = found
        if statistics:
            self.groups[CLINICAL] = statistics
        self.skipped |= refused

    def statistics(self) -> dict[str, Statistic]:
        """Every statistic by its name."""
        return {statistic.name: statistic for group in self.groups.values() for statistic in group}

    def values(self) -> dict[str, float]:
        """Every score by its name, as one number."""
        singles = {single.name: single.value for group in self.fixed.values() for single in group}
        return {name: statistic.value for name, statistic in self.statistics().items()} | singles

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


def score_captions(captions: Captions) -> Scores:
    """All scores of `scripts.metrics.scores.SCORES`."""
    scores = Scores()
    for group, compute in SCORES:
        try:
            made = compute(captions)
        except UnavailableScoreError as error:
            name, reason = error.args
            scores.skipped[name] = reason
            continue
        for score in [made] if isinstance(made, Statistic | Single) else made:
            scores.add(group, score)
    return scores


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
    captions = Captions(pairs.predictions, pairs.references, protocol, pairs.fields, training, extras or Extras())
    return score_captions(captions)
