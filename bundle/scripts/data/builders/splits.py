"""Splitting by groups: all entries of one patient, study or article fall on one side, drawn with a seed.

Groups are ordered by a hash of seed and name, so that the draw depends neither on the order of rows nor on how many
there are: a set that grows keeps nearly all of its split. A million rows take 9 bytes each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from scripts.errors import InputError

SECTIONS = ("training", "validation", "test")
CROSSING = ("refuse", "keep", "drop")


def group_number(name: str) -> int:
    """A group's name as 64 bits (of SHA-256): two of a million names are equal with a chance of 3 in 100 million."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def assign_groups(groups: np.ndarray, shares: Mapping[str, float], seed: int) -> np.ndarray:
    """Section number `[N]` (int8, places of `SECTIONS`) of rows whose groups are `[N]` (uint64).

    Each section but training gets whole groups until it has its share of the rows; one that has a share above 0 gets
    at least one group, where there is more than one.

    Args:
        groups: numbers of :func:`group_number`.
        shares: section name to its share of all rows, such as ``{"validation": 0.1, "test": 0.1}``.
        seed: of the draw.

    Raises:
        InputError: shares are impossible, or there are too few groups.
    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    if any(share < 0 for share in shares.values()) or sum(wanted.values()) >= 1:
        raise InputError(f"shares of validation and test must be 0 to 1 and leave rows for training, not {shares}.")
    names, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) <= len(wanted):
        raise InputError(
            f"there are only {len(names)} groups, too few for {', '.join(['training', *wanted])}; "
            "set --validation or --test to 0, or name a finer group."
        )
    order = np.argsort(_mixed(names, seed), kind="stable")
    section_of_group = np.zeros(len(names), np.int8)
    start = 0
    for section, share in wanted.items():
        taken = np.cumsum(counts[order[start:]])
        end = start + max(1, int(np.searchsorted(taken, share * len(groups), side="right")))
        end = min(end, len(names) - 1)
        section_of_group[order[start:end]] = SECTIONS.index(section)
        start = end
    return section_of_group[inverse]


def crossing_groups(groups: np.ndarray, sections: np.ndarray) -> np.ndarray:
    """The groups (uint64) that stand in more than one section."""
    pairs = np.unique(np.stack([groups, sections.astype(np.uint64)], axis=1), axis=0)
    names, counts = np.unique(pairs[:, 0], return_counts=True)
    return names[counts > 1]


def _mixed(names: np.ndarray, seed: int) -> np.ndarray:
    """Finalizer of SplitMix64 (Steele et al., 2014) over name and seed: an order that looks drawn."""
    with np.errstate(over="ignore"):
        value = names + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
