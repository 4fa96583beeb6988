"""Label volumes, told from images: a segmentation shows no tissue, and nothing can be described in it.

Few formats say so. A volume is taken for labels when all of its values are whole and not negative, there are few of
them, and nearly all voxels that are not background have neighbours of the same value. Images have noise.
"""

from __future__ import annotations

import numpy as np

from scripts.errors import InputError
from scripts.reading.orientation import Volume

_MOST_LABELS = 256
_ALIKE = 0.8
"""Share of neighbouring pairs, not both background, that are equal."""
_LOOKED_AT = 24
"""Slices of the volume that are looked at beside the shown one."""


def refuse_labels(path: str, shown: list[np.ndarray], volume: Volume, plane: str) -> None:
    """Let pass what has the texture of an image.

    Args:
        path: the file, for the message.
        shown: slices ``[C, H, W]`` that were chosen.
        volume: that they are of; looked at only where they look like labels.
        plane: that they were taken in.

    Raises:
        InputError: the volume holds labels.
    """
    if any(slice.shape[0] != 1 or not _is_flat(slice[0]) for slice in shown):
        return
    count = volume.count(plane)
    values: set[float] = set()
    for index in np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)):
        slice = volume.slice(plane, int(index))[0]
        values.update(np.unique(slice).tolist())
        if len(values) > _MOST_LABELS or not (_is_flat(slice) or slice.min() == slice.max()):
            return
    raise InputError(
        f"{path}: holds labels ({len(values)} whole values in even regions), not an image; give the image that they "
        "were "
        "drawn on"
    )


def _is_flat(image: np.ndarray) -> bool:
    """Whether ``[H, W]`` has few, whole values, none negative, in even regions."""
    values = np.unique(image)
    if not 2 <= len(values) <= _MOST_LABELS or not np.isfinite(values).all():
        return False
    if values[0] < 0 or (values != np.floor(values)).any():
        return False
    if len(values) == 2 and values[0] != 0:  # two values of which none is background: a pattern rather than labels
        return False
    alike = pairs = 0
    for first, second in ((image[1:], image[:-1]), (image[:, 1:], image[:, :-1])):
        foreground = (first > 0) | (second > 0)
        pairs += int(foreground.sum())
        alike += int((foreground & (first == second)).sum())
    return pairs > 0 and alike >= _ALIKE * pairs
