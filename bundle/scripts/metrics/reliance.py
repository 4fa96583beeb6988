"""Reliance on the image: captions compared with captions of a blank image, of noise, of another patient.

A captioner that writes the same for a blank image has learned the data set, not the picture, whatever its BLEU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scripts.concepts.fields import field_agreement
from scripts.errors import InputError
from scripts.metrics.diversity import normal_caption
from scripts.metrics.statistic import Statistic, mean_statistic

FIELDS_COUNTED = ("plane", "modality", "organ")


def changed(real: Sequence[str], other: Sequence[str], name: str = "caption changed") -> Statistic:
    """Share of images whose caption differs (letter case and spaces aside) when the image is replaced."""
    if len(real) != len(other):
        raise InputError(f"{name}: {len(real)} captions of real images and {len(other)} of replaced ones; match them")
    different = [normal_caption(a) != normal_caption(b) for a, b in zip(real, other, strict=True)]
    return mean_statistic(name, np.array(different, float))


def field_loss(
    real: Sequence[str],
    other: Sequence[str],
    references: Sequence[str],
    fields: Sequence[Mapping[str, str | None] | None] | None = None,
    name: str = "fields lost",
) -> Statistic:
    """How much accuracy (mean of plane, modality and organ) the replaced image costs; near 0 means it was not used."""
    with_image, without = (field_agreement(captions, references, fields) for captions in (real, other))
    drop = np.mean([with_image[f] - without[f] for f in FIELDS_COUNTED], axis=0)
    return mean_statistic(name, drop, "mean of plane, modality, organ")


def image_reliance(
    real: Sequence[str],
    replaced: Mapping[str, Sequence[str]],
    references: Sequence[str],
    fields: Sequence[Mapping[str, str | None] | None] | None = None,
) -> list[Statistic]:
    """Both checks for each kind of replacement.

    Args:
        real: captions of the real images, N.
        replaced: kind ("blank", "noise", "other patient") to the N captions of the replaced images.
        references: N references.
        fields: N known fields.
    """
    statistics = []
    for kind, captions in replaced.items():
        statistics.append(changed(real, captions, f"changed by {kind}"))
        statistics.append(field_loss(real, captions, references, fields, f"fields lost with {kind}"))
    return statistics


def other_image(count: int, groups: Sequence[object] | None = None, seed: int = 0) -> np.ndarray:
    """For each of `count` images the index of another one, from another group (patient) where groups are given.

    Raises:
        InputError: some image has no partner in another group.
    """
    labels = np.asarray([str(g) for g in groups] if groups is not None else [str(i) for i in range(count)])
    generator = np.random.default_rng(seed)
    partners = np.empty(count, int)
    for i in range(count):
        candidates = np.flatnonzero(labels != labels[i])
        if not len(candidates):
            raise InputError(f"image {i}: every image belongs to group '{labels[i]}'; no other patient to take")
        partners[i] = generator.choice(candidates)
    return partners
