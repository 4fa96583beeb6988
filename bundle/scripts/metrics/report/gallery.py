"""Gallery: the best, the worst, a fair draw, and some of every failure group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.metrics.report.cases import Case, failure_groups

EACH = 6


def choose(cases: Sequence[Case], each: int = EACH, seed: int = 0) -> dict[str, list[Case]]:
    """Titled groups of cases; within best and worst each caption occurs once, so that a page of twins is avoided."""
    ranked = sorted(cases, key=lambda case: (-case.quality, case.image))
    drawn = np.random.default_rng(seed).permutation(len(cases))[: 2 * each]
    groups = {
        "Drawn by lot": [cases[i] for i in drawn],
        "Best": _different(ranked, each),
        "Worst": _different(ranked[::-1], each),
    }
    for name, members in failure_groups(cases).items():
        order = np.random.default_rng(seed).permutation(len(members))[:each]
        groups[f"Failure: {name}"] = [members[i] for i in order]
    return groups


def _different(ranked: Sequence[Case], count: int) -> list[Case]:
    chosen: dict[str, Case] = {}
    for case in ranked:
        chosen.setdefault(case.prediction, case)
        if len(chosen) == count:
            break
    return list(chosen.values())
