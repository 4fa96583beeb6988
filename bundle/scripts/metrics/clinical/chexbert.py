"""CheXbert F1 (Smit et al., EMNLP 2020): 14 chest observations that a BERT reads off reports.

The labeller is the package ``f1chexbert``'s, where it and its weights are on the disk; nothing is downloaded. Stated
and uncertain observations count as found, as in the published report-generation scores.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from scripts.metrics.clinical.chest_findings import f1_statistics
from scripts.metrics.clinical.interface import OfChestFilms
from scripts.metrics.statistic import Statistic

FIVE = (1, 4, 5, 7, 9)
"""Cardiomegaly, edema, consolidation, atelectasis and pleural effusion among the 14."""


class CheXbertF1(OfChestFilms):
    """CheXbert F1 over chest radiographs, of all 14 observations and of the usual 5.

    Args:
        label: report to 14 numbers, 1 where an observation is stated or uncertain; the package's model by default.
    """

    name = "chexbert"

    def __init__(self, label: Callable[[str], Sequence[int]] | None = None) -> None:
        self.label = label

    def why_not(self) -> str | None:
        """What is missing: the package, or its weights."""
        if self.label is not None:
            return None
        if importlib.util.find_spec("f1chexbert") is None:
            return "it needs the package f1chexbert (0.0.2, MIT)"
        weights = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "chexbert" / "chexbert.pth"
        return None if weights.is_file() else f"it needs CheXbert's weights at {weights}"

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> list[Statistic]:
        """Micro and macro F1 of 14 observations, and of 5."""
        label = self.label or _model()
        found, true = (np.array([label(text) for text in texts], bool) for texts in (predictions, references))
        five = list(FIVE)
        return [
            *f1_statistics(found, true, "CheXbert 14"),
            *f1_statistics(found[:, five], true[:, five], "CheXbert 5"),
        ]


def _model() -> Callable[[str], Sequence[int]]:
    from f1chexbert import F1CheXbert

    return F1CheXbert().get_label
